"""Giving up: proven over minutes, or not at all."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from consumer.model.fault import Failure, Fault
from consumer.model.names import Identity, Slug
from consumer.model.outcome import FailureReason
from consumer.pipeline.evidence import consequence_of, evidence_of
from consumer.pipeline.gates import Gates
from consumer.pipeline.giving_up import UnitStep
from consumer.pipeline.plan import make_plan
from consumer.pipeline.request_slots import RequestSlots
from consumer.pipeline.right_to_work import AssignmentRight
from consumer.pipeline.upload_state import Compared, PendingUnit, UploadState
from consumer.pipeline.watched_unit import watched
from consumer.resilience.blame import Comparison, Tally
from consumer.resilience.fence import Fence
from consumer.resilience.fuse import FuseRules
from consumer.resilience.lengths import MANY
from tests.unit.pipeline.doubles import (
    TRACE,
    Clock,
    Storage,
    document,
    gates_of,
    giving_up_of,
    version,
)

DOCS = Slug("docs")
RECOVERY = 60.0
PAUSE = RECOVERY / 4

TEXT = "the text of a chunk"
UNCLEAR = Failure("answered 500", http_status=500)
AMBIGUOUS = Failure("no answer", ambiguous=True)

Embedding = Callable[[str], Failure | None]


def _between() -> Failure:
    failure = Failure("answered a web page", fault=Fault.THEIRS, http_status=200)
    failure.by_intermediary = True
    return failure


class Scene:
    """Units that failed, each of a document of its own, over an embedder and a workspace."""

    def __init__(
        self,
        embedding: Embedding = lambda text: None,
        storing: Embedding = lambda text: None,
        *,
        units: int = 1,
        text: str = TEXT,
    ) -> None:
        self.storage = Storage(embedding=embedding, storing_control=storing)
        self.clock = Clock()
        rules = FuseRules(share=0.5, window=20, minimum=1)
        self.gates: Gates = gates_of(self.storage, clock=self.clock, fuse=rules)
        slots = RequestSlots(asyncio.Semaphore(1), self.gates)
        self.giving_up = giving_up_of(
            self.storage, self.gates, slots, recovery=RECOVERY, clock=self.clock, many=MANY
        )
        self.works = [self._work(f"d{n}", text) for n in range(units)]
        self.work = self.works[0]
        self.pending = self.work.pending[0]

    def _work(self, id: str, text: str = TEXT) -> UploadState:
        plan = make_plan(DOCS, document(id, text), version(), ())
        (unit,) = plan.missing
        upload = self.storage.upload("docs", unit, trace_id=TRACE, check=lambda: None)
        pending = PendingUnit(unit, upload, watched(unit, Identity(id), DOCS))
        return UploadState(
            plan, Identity(id), AssignmentRight(Fence("assignment")), TRACE, [pending]
        )

    async def round(
        self,
        failure: Failure = UNCLEAR,
        *,
        work: UploadState | None = None,
        attempts: int = 1,
        later: float = PAUSE,
        took: float = 0.0,
    ) -> UnitStep:
        """A round of a document, some time after the last one."""
        self.clock.now += later
        work = work or self.work
        (pending,) = work.pending
        work.used_up = False
        step = await self.giving_up.before(pending, work)
        if step is not UnitStep.TRY:
            return step
        pending.attempts += attempts
        self.giving_up.sends(pending)
        self.clock.now += took
        given_up = await self.giving_up.after(pending, failure, work)
        return UnitStep.GIVE_UP if given_up else UnitStep.TRY

    async def until_given_up(self, failure: Failure = UNCLEAR, *, most: int = 40) -> int:
        """Rounds that it took."""
        for n in range(1, most + 1):
            if await self.round(failure) is UnitStep.GIVE_UP:
                return n
        raise AssertionError(f"not given up after {most} rounds")


def _own(text: str) -> Failure | None:
    return UNCLEAR if text == TEXT else None


def _every(text: str) -> Failure | None:
    return UNCLEAR


async def test_a_poison_text_is_given_up_after_three_minutes_and_within_five() -> None:
    """With what it is given up for, in the dead letter."""
    scene = Scene(_own)
    begun = scene.clock.now
    await scene.until_given_up()

    assert 180 <= scene.clock.now - begun <= 300
    (failed,) = scene.pending.given_up
    assert (failed.chunk_id, failed.reason) == ("d0_0", FailureReason.EXHAUSTED)
    assert "answered 500; failed 1 times; the embedder refused its text 1" in failed.message
    assert "control texts of its length passed" in failed.message
    assert scene.work.used_up


async def test_while_controls_pass_and_its_text_does_not_nothing_of_it_is_uploaded() -> None:
    """Another upload would only cost; and between two pairs it asks nothing at all."""
    scene = Scene(_own)
    assert await scene.round() is UnitStep.TRY
    asked = len(scene.storage.calls)

    assert [await scene.round(later=1.0) for _ in range(10)] == [UnitStep.WAIT] * 10
    assert len(scene.storage.calls) == asked
    assert scene.giving_up.due_in(scene.work) == pytest.approx(PAUSE - 10)
    assert await scene.round(later=5.0) is UnitStep.WAIT
    assert len(scene.storage.calls) == asked + 2


async def test_where_controls_fail_it_is_tried_again_and_never_given_up() -> None:
    """An outage that only texts of its length meet; the fuse need not stop the others."""
    scene = Scene(_every)
    for _ in range(200):
        assert await scene.round(later=RECOVERY) is UnitStep.TRY
        assert not scene.work.used_up


async def test_after_such_an_outage_poison_still_falls_soon() -> None:
    """What was counted meanwhile is forgotten."""
    texts: list[Embedding] = [_every]
    scene = Scene(lambda text: texts[0](text))
    for _ in range(120):
        await scene.round(later=RECOVERY)
    texts[0] = _own
    begun = scene.clock.now
    await scene.until_given_up()

    assert scene.clock.now - begun <= 8 * RECOVERY


async def test_a_length_that_is_refused_is_tried_by_one_document_a_recovery_period() -> None:
    """Three hundred that wait for the same would take all slots from those that work."""
    scene = Scene(_every, units=10, text=TEXT * 100)
    for work in scene.works:
        await scene.round(work=work, later=0)
    scene.clock.now += RECOVERY
    scene.storage.calls.clear()
    steps = [await scene.round(work=work, later=0.1) for work in scene.works]

    assert steps.count(UnitStep.WAIT) == 9
    assert len(scene.storage.calls) == 2


async def test_what_many_documents_of_a_size_share_is_held_until_one_is_stored() -> None:
    """Controls may miss what documents meet."""
    scene = Scene(_own, units=MANY)
    for _ in range(30):
        for work in scene.works:
            await scene.round(work=work, later=RECOVERY / MANY)
    assert [work.pending[0].given_up for work in scene.works] == [[]] * MANY
    assert scene.works[-1].used_up

    scene.giving_up.stored(scene._work("other").pending[0])
    scene.clock.now += RECOVERY
    assert await scene.round() is UnitStep.GIVE_UP


async def test_fewer_documents_are_given_up_each_for_itself() -> None:
    """Four poison texts on an idle system are four poison texts."""
    scene = Scene(_own, units=MANY - 1)
    for _ in range(20):
        for work in scene.works:
            if not work.pending[0].given_up:
                await scene.round(work=work, later=PAUSE / 3)

    assert all(work.pending[0].given_up for work in scene.works)


async def test_while_the_fuse_is_blown_nobody_is_given_up_or_even_compared() -> None:
    """It hears that the attempts were used up; the document may be its trial, so it is tried."""
    scene = Scene(_own)
    await scene.round()
    scene.gates.document_done(used_up=True, is_trial=False)
    scene.storage.calls.clear()

    assert await scene.round() is UnitStep.TRY
    assert (scene.storage.calls, scene.pending.given_up) == ([], [])
    assert scene.work.used_up


async def test_ambiguous_failures_are_looked_into_only_in_a_long_row() -> None:
    """One that got no answer may be stored."""
    scene = Scene(_own)
    for _ in range(5):
        await scene.round(AMBIGUOUS)
    assert scene.storage.calls == []
    await scene.round(AMBIGUOUS)

    assert len(scene.storage.calls) == 2


async def test_a_pair_that_an_outage_cut_short_says_nothing_about_the_document() -> None:
    """A few outages would blow the fuse."""
    scene = Scene(_own)
    scene.gates.note(Failure("429", fault=Fault.BUSY, retry_after=60))
    assert await scene.round(later=0) is UnitStep.TRY

    assert scene.pending.comparison is None
    assert not scene.work.used_up


async def test_a_text_that_passes_has_its_uploads_compared_with_those_of_controls() -> None:
    """Where it alone fails on and on, it is at fault in a way that its text does not show."""
    scene = Scene()
    rounds = await scene.until_given_up()

    assert rounds == 13
    assert scene.storage.distrusted == []
    message = scene.pending.given_up[0].message
    assert "its text can be embedded, and 13 of 13 uploads of it failed while the work" in message


async def test_a_text_that_is_not_stored_even_as_a_test_document_is_uploaded_no_more() -> None:
    """Each upload may stay in doubt for minutes; a test document is in no doubt that matters."""
    scene = Scene(storing=_own)
    assert await scene.round() is UnitStep.TRY
    uploads = scene.pending.attempts
    await scene.until_given_up()

    assert scene.pending.attempts == uploads
    assert "uploads of it failed while the workspace took" in scene.pending.given_up[0].message


@pytest.mark.parametrize("seed", range(20))
async def test_a_workspace_that_fails_nine_uploads_of_ten_makes_no_dead_letter(seed: int) -> None:
    """Its test documents fail as often as the chunk does; and it has to prove itself."""
    rng = random.Random(seed)
    scene = Scene(storing=lambda text: UNCLEAR if rng.random() < 0.9 else None)
    for _ in range(40):
        assert await scene.round(later=RECOVERY) is not UnitStep.GIVE_UP

    assert "docs" in scene.storage.distrusted


async def test_what_answers_between_us_and_anythingllm_is_named() -> None:
    """And the embedder is not, which nobody asked."""
    scene = Scene(lambda text: _between() if text == TEXT else None)
    await scene.until_given_up(_between())

    message = scene.pending.given_up[0].message
    assert message.startswith("something between us and AnythingLLM answers for it (")
    assert "the embedder refused" not in message


async def test_what_is_blocked_for_uploads_only_is_named_as_well() -> None:
    """Its text passes where nobody blocks it, and test documents are stored."""
    scene = Scene()
    await scene.round(_between())
    assert scene.storage.calls == []
    assert await scene.round(_between()) is UnitStep.TRY
    assert scene.pending.last is None or not scene.pending.met_outage
    assert scene.pending.fails_alone
    await scene.until_given_up(_between())

    message = scene.pending.given_up[0].message
    assert "something between us and AnythingLLM answers for it" in message
    assert "test documents of its length" in message


async def test_what_is_blocked_is_compared_while_its_upload_is_in_doubt() -> None:
    """Each upload may stay in doubt for minutes; the text need not wait for that."""
    looked_for = Failure("it is looked for", fault=Fault.THEIRS, ambiguous=True)
    looked_for.pending = True
    scene = Scene(storing=lambda text: _between() if text == TEXT else None)
    await scene.round(_between())
    begun = scene.clock.now
    await scene.until_given_up(looked_for)

    assert scene.clock.now - begun <= 300
    assert "answered a web page" in scene.pending.given_up[0].message


async def test_a_gateway_that_answers_late_is_no_firewall() -> None:
    """It lost the answer; a text that is slow to embed would be compared after each restart."""
    scene = Scene(lambda text: _between() if text == TEXT else None)
    for _ in range(20):
        assert await scene.round(_between(), took=11.0) is UnitStep.TRY

    assert scene.storage.calls == []


async def test_a_firewall_that_takes_its_time_is_one_after_half_an_hour() -> None:
    """What it blocks would be sent for ever; controls tell it from a server that restarts."""
    scene = Scene(lambda text: _between() if text == TEXT else None)
    begun = scene.clock.now
    while await scene.round(_between(), took=11.0) is not UnitStep.GIVE_UP:
        assert scene.clock.now - begun < 2400

    assert scene.clock.now - begun > 1800
    assert "something between us and AnythingLLM" in scene.pending.given_up[0].message


async def test_one_answer_of_a_gateway_that_restarts_is_not_looked_into() -> None:
    """The next round goes well; and where controls meet it as well, nobody waits for a pair."""
    scene = Scene(lambda text: _between())
    for _ in range(5):
        assert await scene.round(_between(), later=0.1) is UnitStep.TRY
        assert scene.giving_up.due_in(scene.work) is None


@pytest.mark.parametrize(
    ("proof", "stage", "evidence"),
    [
        (
            Comparison(0, 12, 0, 0, Tally(12, 1)),
            Compared.EMBEDDING,
            "the embedder refused its text 12 of 12 times while 11 of 12 control texts of its"
            " length passed",
        ),
        (
            Comparison(0, 12, 12, 0, Tally(12, 0)),
            Compared.EMBEDDING,
            "something between us and AnythingLLM answers for it (12 of 12 requests with its text)"
            " while 12 of 12 control texts of its length passed",
        ),
        (
            Comparison(0, 12, 2, 3, Tally(12, 0)),
            Compared.EMBEDDING,
            "12 of 12 requests with its text failed (2 answered by something between us and"
            " AnythingLLM, 3 answered by nobody) while 12 of 12 control texts of its length passed",
        ),
        (
            Comparison(0, 9, 0, 1, Tally(14, 0)),
            Compared.UPLOADING,
            "its text can be embedded, and 9 of 9 uploads of it failed (1 answered by nobody) while"
            " the workspace took 14 of 14 test documents of its length",
        ),
    ],
)
def test_the_evidence_can_be_read_at_night(
    proof: Comparison, stage: Compared, evidence: str
) -> None:
    """In the dead letter: what failed how often, beside what, and who said so."""
    assert evidence_of(proof, stage) == evidence


def test_a_verdict_says_what_comes_next_and_where_to_look() -> None:
    """A text that fails alone is waited for; where its controls fail as well, it is an outage."""
    alone, outage = Comparison(0, 2, controls=Tally(2, 0)), Comparison(0, 2, 0, 0, Tally(2, 2), 2)

    assert "compared again" in consequence_of("undecided", alone)
    assert "the limits of its embedder" in consequence_of("undecided", outage)
    assert "dead letter" in consequence_of("blamed", alone)
    assert "tried again" in consequence_of("acquitted", alone)
