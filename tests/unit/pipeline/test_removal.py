"""Removing: each request is followed to its known end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import nullcontext

import pytest

from consumer.model.event import DocumentEvent
from consumer.model.fault import Failure, Fault
from consumer.model.listing import FILE_STORE
from consumer.model.marker import StoredUnit
from consumer.model.names import Identity, Slug
from consumer.pipeline.backoff import Backoff
from consumer.pipeline.in_flight import InFlightBounds, InFlightLimit
from consumer.pipeline.removal import AT_ONCE, Remover
from consumer.pipeline.right_to_work import DocumentRight
from consumer.resilience.fence import Fence, FenceClosedError
from consumer.resilience.refusals import FOR_GOOD_SECONDS
from consumer.resilience.retry import RetryPolicy
from consumer.telemetry.metrics import Metrics
from tests.unit.pipeline.doubles import (
    AMBIGUITY,
    TRACE,
    Storage,
    document,
    doubts_of,
    gates_of,
    index_of,
    looks_of,
    stored,
    version,
)
from tests.virtual.loop import virtual_clock, virtually

DOCS, A = Slug("docs"), Identity("a")


def _lost() -> Failure:
    """No complete answer."""
    return Failure("reset", ambiguous=True)


def _unproven() -> Failure:
    failure = Failure("500")
    failure.unproven = True
    return failure


def _refused() -> Failure:
    return Failure("refused", fault=Fault.THEIRS)


class Scene:
    """A remover, and a document's right that can be overtaken or taken away."""

    def __init__(self, count: int) -> None:
        clock = virtual_clock()
        self.units = [stored("a", f"text {n}") for n in range(count)]
        self.storage = Storage(units=list(self.units))
        self.index = index_of(self.storage, max_age=10_000)
        self.index._clock = clock
        self.looks = looks_of(clock)
        self.doubts = doubts_of(self.looks, clock)
        self.clock = clock
        gates = gates_of(self.storage, clock=clock)
        policy, rng = RetryPolicy(3, 1.0, 30.0), random.Random(1)
        self.remover = Remover(
            self.storage,
            self.index,
            gates,
            Backoff(gates, policy, rng=rng, metrics=Metrics()),
            self.doubts,
            ambiguity=AMBIGUITY,
            clock=clock,
        )
        self.assignment, self.stop, self.overtaken = Fence("lost"), Fence("stop"), Fence("newer")

    async def remove(
        self,
        some: Sequence[StoredUnit] | None = None,
        *,
        rounds: int | None = None,
        slug: Slug = DOCS,
    ) -> int:
        limit = InFlightLimit(InFlightBounds(1, 1_000), Metrics())
        place = await limit.place()
        right = DocumentRight(self.assignment, self.stop, self.overtaken, place, nullcontext)
        listed = await self.index.units(DOCS, A, trace_id=TRACE)
        wanted = {unit.location for unit in (self.units if some is None else some)}
        units = [unit for unit in listed if unit.location in wanted]
        try:
            removed = await self.remover.remove(slug, units, right, trace_id=TRACE, rounds=rounds)
            return removed.chunks
        finally:
            await place.leave()

    async def known(self) -> int:
        """How many units the next version of the document would count on."""
        units = await self.index.units(DOCS, A, trace_id=TRACE)
        body = DocumentEvent(document("a", "next"), DOCS, A, version(9))
        return sum(bool(unit.digests) for unit in self.doubts.certain(body, units))

    def go(self, units: Sequence[StoredUnit]) -> None:
        """The server has removed them."""
        self.storage.units = [unit for unit in self.storage.units if unit not in units]

    @property
    def requests(self) -> int:
        return sum(call.startswith("remove") for call in self.storage.calls)

    @property
    def listings(self) -> int:
        return sum(call.startswith("listing") for call in self.storage.calls)


@virtually
async def test_a_removal_of_many_is_one_request_after_the_other() -> None:
    """Each takes seconds on a large workspace."""
    scene = Scene(2 * AT_ONCE + 3)

    assert await scene.remove() == 2 * AT_ONCE + 3
    assert scene.storage.calls[1:] == ["remove 10", "remove 10", "remove 3"]
    assert await scene.known() == 0


@virtually
async def test_the_right_is_asked_before_every_request() -> None:
    """What is under way is finished, and the index hears of it; nothing new begins."""
    scene = Scene(5 * AT_ONCE)
    scene.storage.removing.close()
    removing = asyncio.create_task(scene.remove())
    await scene.storage.removing.arrived.acquire()
    scene.assignment.close()
    scene.storage.removing.open()
    with pytest.raises(FenceClosedError):
        await removing

    assert scene.requests == 1
    assert await scene.known() == 4 * AT_ONCE
    await asyncio.sleep(2 * AMBIGUITY)
    assert scene.looks.due() == []


@pytest.mark.parametrize("failure", [_lost, _unproven], ids=["no answer", "a strange answer"])
@pytest.mark.parametrize("has_gone", [True, False])
def test_a_request_in_doubt_is_made_again_until_it_is_done(
    failure: Callable[[], Failure], has_gone: bool
) -> None:
    """A removal can be repeated; a listing may show that it need not be."""

    @virtually
    async def run() -> None:
        scene = Scene(3)
        scene.storage.removal_fails = [failure()]
        scene.storage.removing.close()
        removing = asyncio.create_task(scene.remove())
        await scene.storage.removing.arrived.acquire()
        if has_gone:
            scene.go(scene.units)
        scene.storage.removing.open()
        assert await removing == 3

        assert scene.requests == (1 if has_gone else 2)
        assert await scene.known() == 0

    run()


@virtually
async def test_an_overtaken_event_gives_up_what_was_not_sent() -> None:
    """Nothing is in doubt, so the next version can plan with all that is there."""
    scene = Scene(3)
    scene.storage.removal_fails = [_refused()] * 100
    removing = asyncio.create_task(scene.remove())
    await asyncio.sleep(1)
    scene.overtaken.close()
    with pytest.raises(FenceClosedError):
        await removing

    assert await scene.known() == 3
    assert scene.listings == 1


@pytest.mark.parametrize("failure", [_lost, _unproven], ids=["no answer", "a strange answer"])
@pytest.mark.parametrize("goes_at", [None, 200.0])
def test_an_overtaken_event_follows_what_was_sent(
    failure: Callable[[], Failure], goes_at: float | None
) -> None:
    """Until it is gone, or can go no more: the next version would count it as stored."""

    @virtually
    async def run() -> None:
        scene = Scene(3)
        scene.storage.removal_fails = [failure() for _ in range(100)]
        removing = asyncio.create_task(scene.remove())
        await asyncio.sleep(1)
        scene.overtaken.close()
        await asyncio.sleep(60)
        sent = scene.requests
        assert sent == 3, "a few more tries end most doubts sooner than time does"
        await asyncio.sleep(goes_at or 500)
        assert not removing.done()
        if goes_at is not None:
            scene.go(scene.units)
        await asyncio.sleep(150)
        with pytest.raises(FenceClosedError):
            await removing

        assert scene.requests == sent, "nothing more was sent"
        assert await scene.known() == (3 if goes_at is None else 0)
        assert scene.listings < 60

    run()


@virtually
async def test_a_stop_leaves_the_following_to_the_end_of_the_drain() -> None:
    """What comes behind it must not go on before that."""
    scene = Scene(3)
    scene.storage.removal_fails = [_lost() for _ in range(100)]
    removing = asyncio.create_task(scene.remove())
    await asyncio.sleep(1)
    scene.stop.close()
    await asyncio.sleep(15)
    assert not removing.done()
    scene.assignment.close()
    with pytest.raises(FenceClosedError):
        await removing


@virtually
async def test_with_the_partition_the_following_ends() -> None:
    """Then it is in doubt: the units count for nobody, and somebody looks later."""
    scene = Scene(AT_ONCE + 3)
    scene.storage.removal_fails = [_lost() for _ in range(100)]
    removing = asyncio.create_task(scene.remove())
    await asyncio.sleep(1)
    scene.assignment.close()
    with pytest.raises(FenceClosedError):
        await removing

    assert await scene.known() == 3, "the others were never asked for"
    assert scene.looks.due() == []
    await asyncio.sleep(AMBIGUITY + 30)
    assert scene.looks.due() == [DOCS]
    await scene.index.read_anew(DOCS, trace_id=TRACE)
    scene.doubts.looked(DOCS, scene.clock())
    assert await scene.known() == AT_ONCE + 3


@virtually
async def test_a_request_that_is_broken_off_is_in_doubt() -> None:
    """The drain is over, and the task is cancelled in the middle."""
    scene = Scene(3)
    scene.storage.removing.close()
    removing = asyncio.create_task(scene.remove())
    await scene.storage.removing.arrived.acquire()
    removing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await removing

    assert await scene.known() == 0
    await asyncio.sleep(AMBIGUITY + 30)
    assert scene.looks.due() == [DOCS]


@virtually
async def test_used_up_rounds_leave_in_doubt_only_what_was_sent() -> None:
    """The sweep gives the documents' turns back, and no plan counts on what may go."""
    scene = Scene(3)
    scene.storage.removal_fails = [_unproven(), _unproven(), _refused()]
    with pytest.raises(Failure, match="refused"):
        await scene.remove(rounds=3)
    assert await scene.known() == 0
    scene = Scene(3)
    scene.storage.removal_fails = [_refused()] * 3
    with pytest.raises(Failure, match="refused"):
        await scene.remove(rounds=3)

    assert await scene.known() == 3


@virtually
async def test_the_list_of_files_does_not_show_that_a_row_is_gone() -> None:
    """AnythingLLM removes the file first; where the rest fails, only doing it again ends that."""
    scene = Scene(2)
    scene.storage.removal_fails = [_unproven(), _unproven()]
    scene.storage.removing.close()
    removing = asyncio.create_task(scene.remove(slug=FILE_STORE))
    await scene.storage.removing.arrived.acquire()
    scene.go(scene.units)
    scene.storage.removing.open()

    assert await removing == 2
    assert scene.requests == 3


def _forbidden(units: Sequence[StoredUnit]) -> Failure:
    failure = Failure("403", http_status=403)
    failure.left = tuple(unit.location for unit in units)
    return failure


@virtually
async def test_what_is_refused_once_is_asked_for_again() -> None:
    """A proxy that is being set up, say: nothing stays."""
    scene = Scene(2)
    scene.storage.removal_fails = [_forbidden(scene.units) for _ in range(3)]

    assert await scene.remove() == 2
    assert scene.requests == 4


@virtually
async def test_what_is_refused_for_minutes_stays() -> None:
    """Asking again would change nothing, for the rest as well; how often is told."""
    scene = Scene(3 * AT_ONCE)
    scene.storage.removal_fails = [_refused()]
    scene.storage.forbids = scene.units
    began = scene.clock()

    assert await scene.remove() == 0
    assert FOR_GOOD_SECONDS <= scene.clock() - began < 2 * FOR_GOOD_SECONDS
    assert scene.requests < 50
    assert await scene.known() == 3 * AT_ONCE

    requests = scene.requests
    assert await scene.remove() == 0
    assert scene.requests == requests + 1, "all are refused: who follows does not wait anew"


@virtually
async def test_what_alone_is_refused_stays_although_others_go() -> None:
    """A firewall that dislikes one name would keep its event for ever."""
    scene = Scene(20)
    disliked, *others = scene.units
    scene.storage.forbids = [disliked]
    began = scene.clock()
    refused = asyncio.create_task(scene.remove([disliked]))
    for other in others:
        await asyncio.sleep(20)
        assert await scene.remove([other]) == 1

    assert await refused == 0
    assert FOR_GOOD_SECONDS <= scene.clock() - began < 2 * FOR_GOOD_SECONDS
    assert scene.storage.units == [disliked]


@virtually
async def test_a_refusal_on_the_way_back_counts_as_done_where_it_is() -> None:
    """A filter may dislike the answer to what was done: a listing shows that."""
    scene = Scene(2)
    refused = _forbidden(scene.units)
    refused.unproven = True
    scene.storage.removal_fails = [refused]
    scene.storage.removing.close()
    removing = asyncio.create_task(scene.remove())
    await scene.storage.removing.arrived.acquire()
    scene.go(scene.units)
    scene.storage.removing.open()

    assert await removing == 2
    assert scene.requests == 1
