"""The sweep: late copies go, and no text that is wanted goes with them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from consumer.model.document import ProcessedDocument
from consumer.model.fault import Failure, Fault
from consumer.model.marker import StoredUnit, unit_of
from consumer.model.names import Identity, Location, Slug
from consumer.pipeline.carried_out import CarriedOut
from consumer.pipeline.key_queues import KeyQueues
from consumer.pipeline.plan import make_plan
from consumer.resilience.refusals import FOR_GOOD_SECONDS
from tests.doubles.turns import watched
from tests.unit.pipeline.doubles import (
    Storage,
    document,
    doubts_of,
    finishing,
    gates_of,
    index_of,
    looks_of,
    sweep_of,
    version,
)
from tests.virtual.loop import virtual_clock, virtually

DOCS = Slug("docs")
A_IDENTITY = Identity("a")

AMBIGUITY = 600.0
SOON = 100.0  # virtual seconds in which a look that is due is over
FIRST = 160.0  # virtual seconds in which the first look of a process is over
DOWN = Failure("refused", fault=Fault.THEIRS)


def _unit(
    whole: ProcessedDocument, chunk: int, copy: str = "", *, day: float = 0, partition: int = 0
) -> StoredUnit:
    """A chunk of a document as it is stored; ``copy`` tells equal ones apart."""
    made = unit_of((whole.chunks[chunk],), whole, version(day, partition=partition))
    return StoredUnit(
        Location(f"custom-documents/{whole.id}-{chunk}-{day}{copy}.json"), made.marker
    )


A = document("a", "one", "two")
ONE, TWO = _unit(A, 0), _unit(A, 1)
ONE_AGAIN, TWO_AGAIN = _unit(A, 0, "-again"), _unit(A, 1, "-again")


class Scene:
    """A sweep over one workspace in memory."""

    def __init__(self, units: Iterable[StoredUnit], *, max_bytes: int = 2**30) -> None:
        self.storage = Storage(units=list(units))
        self.clock = virtual_clock()
        self.index = index_of(self.storage, max_bytes=max_bytes)
        self.gates = gates_of(self.storage, clock=self.clock)
        self.queues = KeyQueues()
        self.assigned = True
        self.permitted = True
        self.taken_over_at: float | None = None
        self.carried_out = CarriedOut()
        self.looks = looks_of(self.clock)
        self.doubts = doubts_of(self.looks, self.clock)
        self.look = sweep_of(
            self.storage,
            self.index,
            self.gates,
            self.queues,
            carried_out=self.carried_out,
            looks=self.looks,
            doubts=self.doubts,
            clock=self.clock,
            is_assigned=lambda: self.assigned,
            permits=lambda slug: self.permitted,
            taken_over_at=lambda: self.taken_over_at,
        )

    def stored(self, whole: ProcessedDocument, *, day: float = 0) -> None:
        """A document of this version was carried out."""
        plan = make_plan(DOCS, whole, version(day), ())
        self.carried_out.document(DOCS, Identity(whole.id), version(day), plan.digests)

    def deleted(self, slug: Slug | None, *, day: float) -> None:
        """A tombstone of document a was carried out."""
        self.carried_out.tombstone(slug, A_IDENTITY, version(day, partition=1))

    @property
    def locations(self) -> set[str]:
        return {unit.location for unit in self.storage.units}

    @property
    def listings(self) -> int:
        return sum(call.startswith("listing") for call in self.storage.calls)

    async def pass_by(self) -> None:
        await asyncio.sleep(AMBIGUITY + SOON)


@asynccontextmanager
async def looking(
    *units: StoredUnit, max_bytes: int = 2**30, rows_prove: bool = True, died: bool = False
) -> AsyncIterator[Scene]:
    scene = Scene(units, max_bytes=max_bytes)
    scene.storage.rows_are_proof = rows_prove
    scene.taken_over_at = scene.clock() if died else None
    task: asyncio.Task[object] = asyncio.create_task(scene.look.keep_looking())
    async with finishing(task):
        yield scene
        if task.done():
            task.result()


def _at(*units: StoredUnit) -> set[str]:
    return {unit.location for unit in units}


@virtually
async def test_of_what_is_there_twice_the_first_location_stays() -> None:
    """The service and whoever repairs keep the same copy, whatever order it was listed in."""
    async with looking(ONE_AGAIN, TWO, TWO_AGAIN, ONE) as scene:
        await scene.pass_by()

        assert scene.locations == {min(_at(ONE, ONE_AGAIN)), min(_at(TWO, TWO_AGAIN))}


@virtually
async def test_a_copy_that_no_search_has_found_is_not_the_one_that_stays() -> None:
    """AnythingLLM lists it, and its vectors were refused: the other one is the true copy."""
    async with looking(ONE_AGAIN, TWO, ONE) as scene:
        (first,) = _at(ONE_AGAIN)
        scene.storage.not_found = {min(first, ONE.location)}
        await scene.pass_by()

        assert scene.locations == {max(first, ONE.location), TWO.location}


@pytest.mark.parametrize("shown", [True, False], ids=["both are found", "one may be"])
def test_of_copies_that_nobody_has_seen_one_goes_where_both_are_found(shown: bool) -> None:
    """Otherwise the one that stays may be the one whose vectors were refused."""

    @virtually
    async def run() -> None:
        async with looking(ONE_AGAIN, ONE, rows_prove=False) as scene:
            scene.storage.not_found = _at(ONE, ONE_AGAIN)
            scene.storage.shown = _at(ONE, ONE_AGAIN) if shown else set()
            await scene.pass_by()

            both = _at(ONE, ONE_AGAIN)
            assert scene.locations == ({min(both)} if shown else both)
            assert scene.storage.calls.count("prove") <= scene.listings

    run()


@virtually
async def test_copies_that_can_not_be_searched_for_end_no_look() -> None:
    """They stay; what else is in that workspace is looked at, and its doubts end."""
    other = _unit(document("b", "three"), 0), _unit(document("b", "three"), 0, "-again")
    async with looking(ONE_AGAIN, ONE, *other, rows_prove=False) as scene:
        scene.storage.not_found = _at(ONE, ONE_AGAIN)
        scene.storage.proofs_fail = [Failure("a page of a firewall")] * 99
        await scene.pass_by()

        assert scene.locations == {*_at(ONE, ONE_AGAIN), min(_at(*other))}
        assert scene.storage.calls.count("prove") <= scene.listings


@virtually
async def test_the_same_text_of_two_chunks_is_no_double() -> None:
    """A document may say the same thing twice."""
    whole = document("a", "same", "same")
    units = (_unit(whole, 0), _unit(whole, 1))
    async with looking(*units) as scene:
        await scene.pass_by()

        assert scene.locations == _at(*units)


@virtually
async def test_what_a_plan_kept_no_sweep_takes() -> None:
    """A text that stands in a document twice, one of them stored twice: two copies stay for ever.

    The plan has one uploaded for the other chunk rather than count the double for it: a later owner
    would take the double away.
    """
    whole = document("a", "same", "same")
    stored = [_unit(whole, 0), _unit(whole, 0, "-again")]
    plan = make_plan(DOCS, whole, version(1), stored)
    uploaded = [
        StoredUnit(Location(f"new-{n}"), unit.marker) for n, unit in enumerate(plan.missing)
    ]
    left = [unit for unit in stored if unit not in plan.stale] + uploaded
    async with looking(*left) as scene:
        await scene.pass_by()

        assert len(scene.locations) == 2


@virtually
async def test_of_an_equal_chunk_of_two_events_the_newer_one_stays() -> None:
    """The newer event's was uploaded because nobody saw the older one, which came late."""
    newer = _unit(A, 0, day=1)
    async with looking(ONE, newer) as scene:
        await scene.pass_by()

        assert scene.locations == _at(newer)


@virtually
async def test_others_partitions_are_theirs_to_look_at() -> None:
    """Whoever owns them may be in the middle of it."""
    theirs = (_unit(A, 0, partition=7), _unit(A, 0, "-again", partition=7))
    async with looking(*theirs) as scene:
        await scene.pass_by()

        assert scene.locations == _at(*theirs)


@virtually
async def test_a_workspace_that_may_not_be_touched_is_not_even_listed() -> None:
    """``ROUTING_ALLOWED_WORKSPACES``."""
    async with looking(ONE, ONE_AGAIN) as scene:
        scene.permitted = False
        await scene.pass_by()

        assert (scene.listings, len(scene.locations)) == (0, 2)


@virtually
async def test_of_a_document_that_was_carried_out_everything_goes_that_it_does_not_want() -> None:
    """Late chunks of older versions, and copies of its own; newer ones stay."""
    newer = _unit(document("a", "three"), 0, day=5)
    late = _unit(document("a", "old"), 0, day=-1)
    async with looking(ONE, TWO, ONE_AGAIN, late, newer) as scene:
        scene.stored(A, day=1)
        await scene.pass_by()

        assert scene.locations == _at(TWO, newer) | {min(_at(ONE, ONE_AGAIN))}


@virtually
async def test_the_last_version_carried_out_is_the_one_that_counts() -> None:
    """Also when it is a smaller one."""
    async with looking(ONE, TWO) as scene:
        scene.stored(A, day=1)
        scene.stored(document("a", "two"), day=2)
        await scene.pass_by()

        assert scene.locations == _at(TWO)


@pytest.mark.parametrize("slug", [DOCS, None], ids=["of one workspace", "of every workspace"])
@pytest.mark.parametrize("noted", [True, False], ids=["stored before", "unheard of"])
def test_late_chunks_of_a_deleted_document_go(slug: Slug | None, noted: bool) -> None:
    """Whether or not we ever carried that document out."""

    @virtually
    async def run() -> None:
        async with looking(ONE, TWO) as scene:
            if noted:
                scene.stored(A)
            scene.deleted(slug, day=1)
            await scene.pass_by()

            assert scene.locations == set()

    run()


@pytest.mark.parametrize("slug", [DOCS, None], ids=["of one workspace", "of every workspace"])
def test_a_document_that_came_after_its_tombstone_stays(slug: Slug | None) -> None:
    """What it wants is asked, not what the tombstone ended."""

    @virtually
    async def run() -> None:
        async with looking(ONE, TWO) as scene:
            scene.deleted(slug, day=1)
            scene.stored(A, day=2)
            await scene.pass_by()

            assert scene.locations == _at(ONE, TWO)

    run()


@virtually
async def test_a_tombstone_of_every_workspace_ends_what_others_stored_later_nowhere() -> None:
    """What is newer than the tombstone outlives it."""
    newer = _unit(A, 0, day=5)
    async with looking(ONE, newer) as scene:
        scene.deleted(None, day=1)
        await scene.pass_by()

        assert scene.locations == _at(newer)


@virtually
async def test_a_document_in_work_is_looked_at_when_it_is_done() -> None:
    """Nobody plans with a copy that is about to go."""
    async with looking(ONE, ONE_AGAIN) as scene:
        turn = scene.queues.enter(A_IDENTITY, DOCS, version())
        await scene.pass_by()
        assert len(scene.locations) == 2
        turn.leave()
        await asyncio.sleep(SOON)

        assert len(scene.locations) == 1
        assert A_IDENTITY not in scene.queues


@virtually
async def test_documents_wait_while_their_copies_are_removed() -> None:
    """And only those, and they stand aside."""
    async with looking(ONE, ONE_AGAIN, _unit(document("b", "x"), 0)) as scene:
        scene.storage.removing.close()
        await scene.pass_by()
        turn = scene.queues.enter(A_IDENTITY, DOCS, version(1))
        assert Identity("b") not in scene.queues
        assert await turn.come_or_stall() is False
        scene.storage.removing.open()
        await turn.come()

        assert not turn.superseded
        assert len(scene.locations) == 2


@virtually
async def test_it_looks_when_the_time_has_passed_since_the_assignment() -> None:
    """Not since the start: Kafka may have been away, and the former owner at work until then."""
    async with looking(ONE) as scene:
        scene.assigned = False
        await asyncio.sleep(2 * AMBIGUITY)
        assert scene.listings == 0
        scene.assigned = True
        await asyncio.sleep(AMBIGUITY - 1)
        assert scene.listings == 1, "the first look"
        await asyncio.sleep(SOON)

        assert scene.listings == 2


@virtually
async def test_a_process_that_begins_looks_soon_at_what_others_left() -> None:
    """Members that restart every few minutes must not put the look off for ever."""
    async with looking(ONE, ONE_AGAIN) as scene:
        await asyncio.sleep(FIRST)

        assert len(scene.locations) == 1


@virtually
async def test_it_looks_soon_and_once_more() -> None:
    """A listing of a large workspace keeps AnythingLLM busy."""
    async with looking(ONE, ONE_AGAIN) as scene:
        await asyncio.sleep(20 * AMBIGUITY)

        assert scene.listings == 2


@virtually
async def test_a_new_assignment_is_looked_at_in_its_time_and_puts_off_no_other_look() -> None:
    """A group that rebalances every few minutes has its doubles removed all the same."""
    async with looking(ONE) as scene:
        await asyncio.sleep(AMBIGUITY - 50)
        scene.storage.units.append(ONE_AGAIN)
        scene.look.begin()
        await asyncio.sleep(SOON + 50)
        assert (len(scene.locations), scene.listings) == (1, 2), "of the first assignment"
        await asyncio.sleep(AMBIGUITY - SOON - 100)
        assert scene.listings == 2
        await asyncio.sleep(SOON + 50)

        assert scene.listings == 3


@virtually
async def test_while_nothing_is_ours_nothing_is_looked_at() -> None:
    """And what was due by then is looked at with the next partitions."""
    async with looking(ONE, ONE_AGAIN) as scene:
        await asyncio.sleep(FIRST)
        scene.storage.units.append(ONE_AGAIN)
        scene.assigned = False
        scene.look.begin()
        await scene.pass_by()
        assert scene.listings == 1
        scene.assigned = True
        await asyncio.sleep(SOON)

        assert (len(scene.locations), scene.listings) == (1, 2)


@virtually
async def test_a_revocation_while_it_lists_has_nothing_removed() -> None:
    """What comes after belongs to the next owner, and if that is us it is looked at anew."""
    async with looking(ONE, ONE_AGAIN) as scene:
        scene.storage.listing_gate.close()
        await asyncio.sleep(FIRST)
        assert scene.listings == 1
        scene.assigned = False
        scene.look.begin()
        scene.storage.listing_gate.open()
        await asyncio.sleep(SOON)
        assert len(scene.locations) == 2
        scene.assigned = True
        await asyncio.sleep(SOON)

        assert len(scene.locations) == 1


@virtually
async def test_a_revocation_while_it_removes_lets_the_request_finish() -> None:
    """Nobody would know of one that was broken off; until then its documents wait."""
    async with looking(ONE, ONE_AGAIN) as scene:
        scene.storage.removing.close()
        await asyncio.sleep(FIRST)
        scene.look.begin()
        await asyncio.sleep(1)
        assert A_IDENTITY in scene.queues
        scene.storage.removing.open()
        await asyncio.sleep(1)
        assert A_IDENTITY not in scene.queues
        assert len(scene.locations) == 1
        assert scene.listings == 1
        await asyncio.sleep(SOON)

        assert scene.listings == 2, "what was interrupted is looked at anew"


@pytest.mark.parametrize("died", [True, False])
@pytest.mark.parametrize("rows_prove", [True, False])
def test_where_rows_prove_nothing_a_removal_of_one_who_died_is_waited_for(
    rows_prove: bool, died: bool
) -> None:
    """By what it had seen it may have sent the removal of the other copy."""

    @virtually
    async def run() -> None:
        async with looking(ONE, ONE_AGAIN, rows_prove=rows_prove, died=died) as scene:
            await asyncio.sleep(FIRST)
            early = len(scene.locations)
            await scene.pass_by()

            assert early == (1 if rows_prove or not died else 2)
            assert len(scene.locations) == 1

    run()


@virtually
async def test_a_removal_that_outlives_its_assignment_leaves_the_next_one_alone() -> None:
    """Two workspaces were left to look at; the next assignment begins with none."""
    async with looking(ONE, ONE_AGAIN) as scene:
        scene.storage.slugs.append("other")
        turn = scene.queues.enter(A_IDENTITY, DOCS, version())
        await asyncio.sleep(FIRST)
        turn.leave()
        scene.storage.removing.close()
        await asyncio.sleep(SOON)
        assert "remove 1" in scene.storage.calls
        scene.look.begin()
        scene.storage.removing.open()
        before = scene.listings
        await asyncio.sleep(SOON)

        assert scene.listings == before + 2, "both are looked at anew"


@virtually
async def test_a_removal_that_fails_is_tried_again_later_from_a_new_listing() -> None:
    """Until then the documents are not kept waiting."""
    async with looking(ONE, ONE_AGAIN) as scene:
        scene.storage.removal_fails = [Failure("500")] * 3
        await asyncio.sleep(FIRST)
        assert len(scene.locations) == 2
        assert A_IDENTITY not in scene.queues
        await asyncio.sleep(400)

        assert len(scene.locations) == 1
        assert scene.listings == 2


@virtually
async def test_where_nothing_may_be_removed_no_removal_is_told() -> None:
    """That it is forbidden was told already."""
    forbidden = Failure("403")
    forbidden.left = (min(_at(ONE, ONE_AGAIN)), max(_at(ONE, ONE_AGAIN)))
    async with looking(ONE, ONE_AGAIN) as scene:
        scene.storage.removal_fails = [forbidden] * 99
        with capture_logs() as logs:
            await asyncio.sleep(FIRST + 2 * FOR_GOOD_SECONDS)

        assert len(scene.locations) == 2
        told = {line["event"] for line in logs}
        assert "removal.forbidden" in told
        assert "second_look.removed" not in told


@virtually
async def test_a_listing_that_fails_is_read_again_later() -> None:
    """Whatever is wrong with it."""
    async with looking(ONE, ONE_AGAIN) as scene:
        scene.storage.listing_fails = [DOWN]
        await asyncio.sleep(FIRST)
        assert len(scene.locations) == 2
        await asyncio.sleep(400)

        assert len(scene.locations) == 1


@virtually
async def test_a_workspace_that_went_out_of_memory_meanwhile_is_looked_at_again() -> None:
    """What is not in memory looks as if there were nothing."""
    units = [_unit(document(f"d{n}", "x"), 0) for n in range(2_000)]
    async with looking(*units, ONE, ONE_AGAIN) as scene:
        scene.storage.listing_gate.close()
        await asyncio.sleep(FIRST)
        scene.storage.listing_gate.open()
        while DOCS not in scene.index:  # noqa: ASYNC110 - time stands still meanwhile
            await asyncio.sleep(0)
        scene.index.forget()  # in the middle of the look
        await asyncio.sleep(1)
        assert len(scene.locations) == 2_002
        await asyncio.sleep(2 * SOON)

        assert len(scene.locations) == 2_001


@virtually
async def test_a_doubt_has_its_workspace_looked_at_when_it_is_over() -> None:
    """Long after the assignment, and for each doubt once."""
    async with looking(ONE, TWO) as scene:
        await scene.pass_by()
        scene.looks.doubt(DOCS)
        scene.stored(document("a", "one"), day=1)
        await asyncio.sleep(AMBIGUITY - 1)
        assert scene.locations == _at(ONE, TWO)
        await asyncio.sleep(SOON)
        assert scene.locations == _at(ONE)
        before = scene.listings
        await asyncio.sleep(10 * AMBIGUITY)

        assert scene.listings == before


@virtually
async def test_doubts_in_a_row_put_the_look_off_for_nobody() -> None:
    """Each is seen to soon after it is over, however many come meanwhile."""
    async with looking(ONE, ONE_AGAIN) as scene:
        for _ in range(30):
            scene.looks.doubt(DOCS)
            await asyncio.sleep(60)
        assert len(scene.locations) == 1
        scene.storage.units.append(ONE_AGAIN)
        scene.index.forget()
        await asyncio.sleep(AMBIGUITY + SOON)

        assert len(scene.locations) == 1


@virtually
async def test_while_partitions_are_going_nothing_is_begun_and_what_is_under_way_is_awaited() -> (
    None
):
    """The next owner would count as stored what is about to go."""
    async with looking(ONE, ONE_AGAIN) as scene:
        scene.storage.removing.close()
        await asyncio.sleep(FIRST)
        ending = asyncio.create_task(scene.look.end())
        await asyncio.sleep(5)
        under_way = ending.done()
        scene.storage.removing.open()
        await asyncio.wait_for(ending, 1)
        calls = len(scene.storage.calls)
        await scene.pass_by()

        assert not under_way
        assert len(scene.locations) == 1
        assert len(scene.storage.calls) == calls


@virtually
async def test_a_copy_that_a_removal_may_still_take_is_not_the_one_that_stays() -> None:
    """Else both would be gone; it is looked at again when that is over."""
    newer = _unit(A, 0, day=1)
    async with looking(ONE, newer) as scene:
        scene.doubts.note_removal(DOCS, A_IDENTITY, [newer.location])
        await asyncio.sleep(FIRST)
        assert scene.locations == _at(ONE, newer)
        await scene.pass_by()

        assert scene.locations == _at(newer)


@virtually
async def test_what_is_left_over_of_a_huge_document_holds_the_loop_for_no_time() -> None:
    """Compared pair by pair, 20,000 units beside 20,000 that stay would hold it for minutes."""
    new = document("a", *(f"new {n}" for n in range(3_000)))
    old = document("a", *(f"old {n}" for n in range(3_000)))
    units = [_unit(new, n, day=1) for n in range(3_000)] + [_unit(old, n) for n in range(3_000)]
    async with looking(*units) as scene:
        scene.stored(new, day=1)
        with watched() as turns:
            await scene.pass_by()

        assert scene.locations == _at(*units[:3_000])
    assert turns.longest < 0.3, turns
