"""Giving up: proven, or not at all."""

from __future__ import annotations

import asyncio
import random

import pytest

from consumer.model.fault import Failure, Fault
from consumer.model.names import Identity, Slug
from consumer.model.outcome import FailureReason
from consumer.pipeline.gates import Gates
from consumer.pipeline.giving_up import GivingUp
from consumer.pipeline.plan import make_plan
from consumer.pipeline.poison_probe import CONTROL_TEXT, PoisonProbe
from consumer.pipeline.request_slots import RequestSlots
from consumer.pipeline.right_to_work import AssignmentRight
from consumer.pipeline.upload_state import PendingUnit, UploadState
from consumer.pipeline.watched_unit import watched
from consumer.resilience.fence import Fence
from consumer.resilience.fuse import FuseRules
from tests.unit.pipeline.doubles import (
    TRACE,
    Clock,
    Storage,
    document,
    gates_of,
    version,
)

DOCS = Slug("docs")

TEXT = "the text of a chunk"
UNCLEAR = Failure("answered 500", http_status=500)
AMBIGUOUS = Failure("no answer", ambiguous=True)
SICK = "it takes no documents"


class Scene:
    """A unit that failed, over an embedder that refuses some texts."""

    def __init__(self, *refused: str) -> None:
        self.storage = Storage(embedding=lambda text: UNCLEAR if text in refused else None)
        rules = FuseRules(share=0.5, window=20, minimum=1)
        self.gates: Gates = gates_of(self.storage, clock=Clock(), fuse=rules)
        slots = RequestSlots(asyncio.Semaphore(1), self.gates)
        poison_probe = PoisonProbe(self.storage, slots, random.Random(1))
        self.giving_up = GivingUp(self.storage, self.gates, poison_probe, attempts=3)
        plan = make_plan(DOCS, document("a", TEXT), version(), ())
        (unit,) = plan.missing
        upload = self.storage.upload("docs", unit, trace_id=TRACE, check=lambda: None)
        self.pending = PendingUnit(unit, upload, watched(unit, Identity("a"), DOCS))
        fence = Fence("assignment")
        self.work = UploadState(plan, AssignmentRight(fence), TRACE, [self.pending])

    async def round(self, failure: Failure = UNCLEAR, *, attempts: int = 3) -> bool:
        self.pending.attempts += attempts
        self.work.used_up = False
        return await self.giving_up.decide(self.pending, failure, self.work)


async def test_a_poison_text_is_given_up_after_one_round() -> None:
    """With what it is given up for, in the dead letter."""
    scene = Scene(TEXT)
    assert await scene.round()

    (failed,) = scene.pending.given_up
    assert (failed.chunk_id, failed.reason, failed.attempts) == ("a_0", FailureReason.EXHAUSTED, 3)
    assert "answered 500; failed 3 times; the embedder refused its text 11 of" in failed.message
    assert scene.work.used_up


async def test_while_the_fuse_is_blown_nobody_is_given_up_or_even_tested() -> None:
    """And it hears that the attempts were used up."""
    scene = Scene(TEXT)
    scene.gates.document_done(used_up=True, is_trial=False)
    assert not await scene.round()

    assert (scene.storage.calls, scene.pending.given_up) == ([], [])
    assert scene.work.used_up


async def test_ambiguous_failures_are_looked_into_only_in_a_long_row() -> None:
    """One that got no answer may be stored."""
    scene = Scene(TEXT)
    told = [await scene.round(AMBIGUOUS, attempts=1) for _ in range(6)]

    assert told == [False] * 5 + [True]


async def test_while_nobody_can_tell_it_is_not_given_up() -> None:
    """The embedder takes nothing; the fuse hears of it, for it may stay like that."""
    scene = Scene(TEXT, CONTROL_TEXT)
    assert not await scene.round()

    assert scene.work.used_up


async def test_a_test_that_an_outage_cut_short_says_nothing_about_the_document() -> None:
    """A few outages would blow the fuse."""
    scene = Scene(TEXT)
    scene.gates.note(Failure("429", fault=Fault.BUSY, retry_after=60))
    assert not await scene.round()

    assert not scene.work.used_up


async def test_an_acquitted_chunk_has_its_workspace_prove_itself() -> None:
    """Before the next attempt, and again after the next round."""
    scene = Scene()
    for n in range(1, 4):
        assert not await scene.round()
        assert scene.storage.distrusted == ["docs"] * n
    assert not scene.work.used_up


async def test_it_falls_when_the_workspace_proves_itself_again_and_again() -> None:
    """Where it alone fails on and on, it is at fault in a way that its text does not show."""
    scene = Scene()
    rounds = 1
    while not await scene.round():
        scene.gates.workspace_well(DOCS)
        rounds += 1
        assert rounds < 20

    assert rounds == 8
    assert "the workspace took 7 of 7 test documents" in scene.pending.given_up[0].message


@pytest.mark.parametrize("seed", range(20))
async def test_a_workspace_that_fails_nine_uploads_of_ten_makes_no_dead_letter(seed: int) -> None:
    """Its test documents fail as often as the chunk does, and that counts."""
    rng = random.Random(seed)
    scene = Scene()
    for _ in range(40):
        assert not await scene.round()
        while rng.random() < 0.9:
            scene.gates.note_workspace(DOCS, Failure(SICK, fault=Fault.THEIRS))
        scene.gates.workspace_well(DOCS)


async def test_proofs_for_others_before_it_was_acquitted_do_not_count() -> None:
    """Whatever happened then says nothing about what it fails by now."""
    scene = Scene()
    for _ in range(100):
        scene.gates.proofs.demand(DOCS)
        scene.gates.workspace_well(DOCS)

    assert not await scene.round(attempts=50)
    assert not await scene.round()
