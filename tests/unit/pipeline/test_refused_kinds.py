"""Refused kinds: a text whose controls fail as well is compared with plain ones."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from consumer.model.fault import Failure
from consumer.model.names import Identity, Slug
from consumer.pipeline.plan import make_plan
from consumer.pipeline.poison_probe import CutShort, PoisonProbe, Suspect
from consumer.pipeline.refused_kinds import RefusedKinds
from consumer.pipeline.request_slots import RequestSlots
from consumer.pipeline.right_to_work import AssignmentRight
from consumer.pipeline.upload_state import Compared, PendingUnit
from consumer.pipeline.watched_unit import watched
from consumer.resilience.blame import Comparison, Tally
from consumer.resilience.fence import Fence
from tests.unit.pipeline.doubles import TRACE, Clock, Storage, document, gates_of, version

DOCS = Slug("docs")
THAI = "".join(chr(0xE01 + n) for n in range(40))
UNCLEAR = Failure("answered 500", http_status=500)
BOTH_FAIL = Comparison(0.0, 2, 0, 0, Tally(2, 2), failed_in_a_row=2)

Embedding = Callable[[str], Failure | None]


class Scene:
    """One unit, and an embedder that answers as it is told."""

    def __init__(self, embedding: Embedding = lambda text: None, *, text: str = THAI) -> None:
        self.storage = Storage(embedding=embedding)
        self.clock = Clock()
        slots = RequestSlots(asyncio.Semaphore(1), gates_of(self.storage, clock=self.clock))
        probe = PoisonProbe(self.storage, slots, random.Random(1))
        self.kinds = RefusedKinds(probe, self.clock)
        self.suspect = Suspect(DOCS, text, AssignmentRight(Fence("assignment")), TRACE)
        (unit,) = make_plan(DOCS, document("a", text), version(), ()).missing
        upload = self.storage.upload("docs", unit, trace_id=TRACE, check=lambda: None)
        self.pending = PendingUnit(unit, upload, watched(unit, Identity("a"), DOCS))

    async def compare(self, pair: Comparison = BOTH_FAIL) -> bool:
        return await self.kinds.compare(self.pending, self.suspect, pair)

    def sent(self) -> list[str]:
        """The plain texts."""
        return [each.removeprefix("embed ") for each in self.storage.calls]


async def test_plain_texts_that_pass_are_counted_beside_its_own_failures() -> None:
    """They are English, no two are the same, and longer: its characters may cost more tokens."""
    scene = Scene()
    for _ in range(5):
        assert await scene.compare()

    found = scene.pending.of_kind
    assert found is not None
    assert (found.own_failures, found.controls.failures) == (5, 0)
    assert 5 < found.controls.attempts == len(set(scene.sent())) <= 10
    assert all(len(text) == 4 * len(THAI) and text.isascii() for text in scene.sent())


@pytest.mark.parametrize("text", ["plain words that say nothing of note, and go on"])
async def test_a_plain_text_has_plain_controls_already(text: str) -> None:
    """What those show is all that can be shown."""
    scene = Scene(text=text)
    assert not await scene.compare()
    assert scene.sent() == []


@pytest.mark.parametrize("row", [0, 1])
async def test_one_control_that_fails_is_chance(row: int) -> None:
    """Where one passed, the text is compared with those of its kind."""
    scene = Scene()
    assert not await scene.compare(Comparison(0.0, 1, 0, 0, Tally(1, row), failed_in_a_row=row))
    assert scene.sent() == []


@pytest.mark.parametrize(
    ("stage", "stored"),
    [(Compared.EMBEDDING, False), (Compared.STORING, True), (Compared.UPLOADING, None)],
)
async def test_plain_texts_go_the_way_that_is_compared(
    stage: Compared, stored: bool | None
) -> None:
    """What refuses the kind may stand before uploads only; one whose controls passed is no kind."""
    scene = Scene()
    scene.pending.stage = stage
    assert await scene.compare() is (stored is not None)
    assert (len(scene.storage.controls) > 0) is (stored is True)


async def test_a_control_of_its_kind_that_passes_ends_the_comparison() -> None:
    """The embedder takes the kind."""
    scene = Scene()
    await scene.compare()
    await scene.compare(Comparison(0.0, 3, 0, 0, Tally(3, 2), failed_in_a_row=0))

    assert scene.pending.of_kind is None


async def test_an_outage_of_plain_texts_too_says_nothing_and_begins_anew() -> None:
    """However long it takes."""
    scene = Scene(lambda text: UNCLEAR)
    for _ in range(50):
        assert not await scene.compare()
        assert scene.pending.of_kind is not None
        assert not scene.pending.of_kind.blames(1e9, 0.0)


async def test_a_rest_leaves_what_was_found() -> None:
    """It says nothing of any text."""
    scene = Scene()
    await scene.compare()
    before = scene.pending.of_kind
    gone = Failure("a rest", http_status=429)
    gone.pending = True
    scene.storage.embedding = lambda text: gone
    with pytest.raises(CutShort):
        await scene.compare()

    assert scene.pending.of_kind is before


async def test_it_is_told_early_and_then_once_an_hour_with_what_can_be_done() -> None:
    """Every ten minutes a pair: somebody may mend it before it is given up."""
    scene = Scene()
    with capture_logs() as logs:
        for _ in range(12):
            await scene.compare()

    told = [log for log in logs if log["event"] == "chunk.kind_refused"]
    assert len(told) == 2
    assert "control texts of its characters failed too" in told[0]["evidence"]
    assert "without this chunk" in told[0]["what_to_do"]
    assert THAI not in str(told)
