"""Deathwatch: what is seen of AnythingLLM's deaths, and what becomes of the chunks meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import cast

import pytest
from structlog.testing import capture_logs

from consumer.model.death_count import DeathCount
from consumer.model.fault import Failure, Fault
from consumer.model.marker import Unit, unit_of
from consumer.model.names import Identity, Slug
from consumer.pipeline.others import Others
from consumer.pipeline.ports import Delivery
from consumer.pipeline.right_to_work import AssignmentRight
from consumer.pipeline.watched_unit import NotNow, WatchedUnit, to_wait_for, watched
from consumer.resilience.fence import Fence
from tests.unit.pipeline.doubles import (
    AMBIGUITY,
    TRACE,
    Storage,
    deathwatch_of,
    document,
    finishing,
    gates_of,
    version,
)
from tests.virtual.loop import virtual_clock, virtually

DOCS = Slug("docs")
A = Identity("a")


def _cut_off(beside: int = 0) -> Failure:
    failure = Failure("the connection broke", ambiguous=True)
    failure.not_there = failure.cut_off = True
    failure.beside = beside
    return failure


class Kept:
    """A delivery that keeps counts."""

    def __init__(self, **before: DeathCount) -> None:
        self.counts: dict[str, DeathCount | None] = dict(before)

    def deaths_of(self, what: str) -> DeathCount | None:
        return self.counts.get(what)

    def note_deaths(self, what: str, count: DeathCount | None) -> None:
        self.counts[what] = count


class Scene:
    """A watch over one unit, on a server that dies when it is told to; in virtual time."""

    def __init__(self, *, others: Others | None = None) -> None:
        self.clock = virtual_clock()
        self.storage = Storage(clock=self.clock)
        self.storage.last_answer = 0.0
        self.gates = gates_of(self.storage, clock=self.clock)
        self.watch = deathwatch_of(
            self.storage,
            self.gates,
            others=others,
            clock=self.clock,
            now=lambda: datetime.fromtimestamp(self.clock(), UTC),
        )
        self.unit = WatchedUnit("unit", A, DOCS, ("a_0",), 100)
        self.kept = Kept()
        self.fence = Fence("assignment")
        self.sent: list[float] = []

    async def attempt(
        self, answer: Callable[[], Awaitable[None]], unit: WatchedUnit | None = None
    ) -> Failure | None:
        """One attempt of which the upload ends as `answer` does; what it met."""
        unit = unit or self.unit

        async def send() -> None:
            self.watch.check(unit)
            self.sent.append(self.clock())
            await answer()

        try:
            await self.watch.attempt(unit, send, AssignmentRight(self.fence), TRACE)
        except Failure as failure:
            return failure
        return None

    async def dies(self) -> None:
        """The server dies of the upload."""
        await asyncio.sleep(1)
        self.storage.is_gone = True
        raise _cut_off()

    async def well(self) -> None:
        """The upload is answered."""
        self.storage.last_answer = self.clock()

    def back(self) -> None:
        """The server is there again, and answers."""
        self.storage.is_gone = False
        self.storage.last_answer = self.clock() + 0.001


@virtually
async def test_a_death_is_kept_and_the_unit_waits_and_goes_alone_after_a_control() -> None:
    """First the look, then the pause, then quiet, the control, the upload."""
    scene = Scene()
    await asyncio.sleep(1)
    scene.back()
    with scene.watch.carrying(A, cast(Delivery, scene.kept)), scene.watch.watching([scene.unit]):
        await scene.attempt(scene.dies)
        assert scene.kept.counts == {"unit": DeathCount(1, 2.0, 2.0)}
        scene.back()
        scene.storage.calls.clear()
        refused = await scene.attempt(scene.well)
        assert isinstance(refused, NotNow)
        assert refused.retry_after == pytest.approx(10)
        assert scene.storage.calls == []
        await asyncio.sleep(10)
        assert await scene.attempt(scene.well) is None

        assert scene.storage.calls == ["silent", "store control"]
        assert [len(text) for text in scene.storage.controls] == [100]
        assert scene.kept.counts == {"unit": None}
        assert len(scene.sent) == 2


@virtually
async def test_a_server_that_answers_has_not_died() -> None:
    """Something between us cut the upload off: nothing is held up."""
    scene = Scene()

    async def breaks() -> None:
        raise _cut_off()

    with scene.watch.watching([scene.unit]):
        await scene.attempt(breaks)
        assert not scene.watch.suspects(scene.unit)


@virtually
async def test_an_outage_that_was_there_before_is_no_death() -> None:
    """Nothing was answered since the last look found nobody."""
    scene = Scene()
    await asyncio.sleep(1)
    scene.back()
    with scene.watch.watching([scene.unit]), capture_logs() as logs:
        for _ in range(3):
            await scene.attempt(scene.dies)
            await asyncio.sleep(300)

    assert [log["event"] for log in logs].count("anythingllm.died") == 1


@virtually
async def test_what_a_server_that_lives_says_of_a_suspect_clears_it() -> None:
    """A refusal is an answer: the poison probe may have it again."""
    scene = Scene()
    await asyncio.sleep(1)
    scene.back()

    async def refuses() -> None:
        raise Failure("answered 500", http_status=500)

    with scene.watch.watching([scene.unit]):
        await scene.attempt(scene.dies)
        scene.back()
        await asyncio.sleep(60)
        await scene.attempt(refuses)

        assert not scene.watch.suspects(scene.unit)


def _between(status: int, *, fault: Fault = Fault.UNCLEAR, ambiguous: bool = False) -> Failure:
    failure = Failure(f"answered {status}", fault=fault, http_status=status, ambiguous=ambiguous)
    failure.by_intermediary = True
    failure.not_there = failure.cut_off = status == 503
    return failure


@pytest.mark.parametrize(
    ("failure", "answers"),
    [
        (Failure("refused key", fault=Fault.THEIRS, http_status=401), None),
        (Failure("429", fault=Fault.BUSY, http_status=429), None),
        (_between(403), 3),
        (_between(200, fault=Fault.THEIRS, ambiguous=True), 3),
        (_between(503, fault=Fault.THEIRS, ambiguous=True), 3),
        (_cut_off(), 3),
    ],
)
@virtually
async def test_what_kept_a_suspect_away_clears_it_only_again_and_again(
    failure: Failure, answers: int | None
) -> None:
    """Nobody looked at its text. Once between two kills, that would clear the killer for good."""
    scene = Scene()
    await asyncio.sleep(1)
    scene.back()

    async def ends() -> None:
        raise failure

    with scene.watch.watching([scene.unit]):
        await scene.attempt(scene.dies)
        scene.back()
        await asyncio.sleep(60)
        for n in range(1, 6):
            await scene.attempt(ends)
            assert scene.watch.suspects(scene.unit) == (answers is None or n < answers)


@virtually
async def test_what_an_intermediary_answered_for_is_no_suspect_of_the_next_death() -> None:
    """A text that a firewall blocks would share each death of one that kills."""
    scene = Scene()
    await asyncio.sleep(1)
    scene.back()
    blocked = WatchedUnit("blocked", A, DOCS, ("b_0",), 100)

    async def ends() -> None:
        raise _between(200, fault=Fault.THEIRS, ambiguous=True)

    with (
        scene.watch.carrying(A, cast(Delivery, scene.kept)),
        scene.watch.watching([scene.unit, blocked]),
    ):
        await scene.attempt(ends, blocked)
        await scene.attempt(scene.dies)

        assert not scene.watch.suspects(blocked)
        assert scene.kept.counts == {"unit": DeathCount(1, 2.0, 2.0)}


@pytest.mark.parametrize("others", ["partitions", "doubts", "owner that died"])
@virtually
async def test_nothing_counts_while_others_may_have_anything_under_way(others: str) -> None:
    """It is said in the log, with what can be done where it does not end by itself."""
    known = {
        "partitions": Others(lambda: False, lambda: None, lambda: 0.0, AMBIGUITY),
        "doubts": Others(lambda: True, lambda: None, lambda: 500.0, AMBIGUITY),
        "owner that died": Others(lambda: True, lambda: 0.0, lambda: 0.0, AMBIGUITY),
    }
    scene = Scene(others=known[others])
    await asyncio.sleep(1)
    scene.back()
    with (
        scene.watch.carrying(A, cast(Delivery, scene.kept)),
        scene.watch.watching([scene.unit]),
        capture_logs() as logs,
    ):
        await scene.attempt(scene.dies)

    (died,) = (log for log in logs if log["event"] == "anythingllm.died")
    assert died["chunk_ids"] == ["a_0"]
    assert died["others_silent"] is False
    assert (died["identities"], died["times"]) == (["a"], {"chunk a_0": 1})
    assert ("single" in died["what_to_do"]) == (others == "partitions")
    assert ("counts for nothing" in died["consequence"]) == (others == "partitions")
    assert scene.kept.counts == {}


@virtually
async def test_a_suspect_waits_until_others_can_have_nothing_under_way() -> None:
    """Sent earlier it would kill once more, and that would count for nothing."""
    scene = Scene(others=Others(lambda: True, lambda: 0.0, lambda: 0.0, AMBIGUITY))
    scene.kept.counts["unit"] = DeathCount(1, -1000.0, -1000.0)
    with scene.watch.carrying(A, cast(Delivery, scene.kept)), scene.watch.watching([scene.unit]):
        refused = await scene.attempt(scene.well)

        assert refused is not None
        assert refused.retry_after == AMBIGUITY
        assert scene.sent == []


@virtually
async def test_a_control_that_does_not_get_through_puts_the_upload_off() -> None:
    """Nothing could be concluded from another death."""
    scene = Scene()
    scene.kept.counts["unit"] = DeathCount(1, -1000.0, -1000.0)
    scene.storage.controls_fail = [Failure("answered 500", http_status=500)]
    with scene.watch.carrying(A, cast(Delivery, scene.kept)), scene.watch.watching([scene.unit]):
        refused = await scene.attempt(scene.well)
        assert isinstance(refused, NotNow)
        assert scene.sent == []
        assert await scene.attempt(scene.well) is None


@virtually
async def test_a_death_without_the_unit_is_seen_while_it_waits() -> None:
    """The server dies by itself: the count begins anew."""
    scene = Scene()
    scene.kept.counts["unit"] = DeathCount(4, -1000.0, 0.0)
    async with finishing(asyncio.create_task(scene.watch.watch())):
        with (
            scene.watch.carrying(A, cast(Delivery, scene.kept)),
            scene.watch.watching([scene.unit]),
        ):
            await asyncio.sleep(10)
            scene.storage.is_gone = True
            await asyncio.sleep(10)

            assert scene.kept.counts == {"unit": None}
            scene.back()
            scene.storage.calls.clear()
        await asyncio.sleep(100)

        # Nobody waits any more, so nobody looks.
        assert len(scene.storage.calls) <= 1


@virtually
async def test_the_evidence_is_told_when_it_falls() -> None:
    """Whoever reads the dead letter knows how often, when, and against what."""
    scene = Scene()
    scene.kept.counts["unit"] = DeathCount(5, 1_767_225_600.0, 1_767_227_400.0)
    with scene.watch.carrying(A, cast(Delivery, scene.kept)), scene.watch.watching([scene.unit]):
        why = scene.watch.why_it_falls(scene.unit)

    assert why is not None
    assert "died 5 times" in why
    assert "from 2026-01-01T00:00:00+00:00 to 2026-01-01T00:30:00+00:00" in why
    assert "100 characters" in why


@virtually
async def test_while_one_is_alone_no_other_upload_begins() -> None:
    """That would be under way when the server dies, and it would count for nothing."""
    scene = Scene()
    scene.kept.counts["unit"] = DeathCount(1, -1000.0, -1000.0)

    async def slow() -> None:
        await asyncio.sleep(30)
        assert scene.gates.alone.is_held
        await scene.well()

    with scene.watch.carrying(A, cast(Delivery, scene.kept)), scene.watch.watching([scene.unit]):
        alone = asyncio.create_task(scene.attempt(slow))
        await asyncio.sleep(5)
        assert scene.gates.holds(DOCS)
        assert await alone is None
        assert not scene.gates.holds(DOCS)


@pytest.mark.parametrize("dies", [True, False])
@virtually
async def test_a_suspect_without_an_answer_is_watched_alone_until_it_is_outlived(
    dies: bool,
) -> None:
    """Its client has left, and the server may still die of it; if it lives on, it did not."""
    scene = Scene()
    scene.kept.counts["unit"] = DeathCount(2, -2000.0, -1000.0)

    async def times_out() -> None:
        await asyncio.sleep(120)
        raise Failure("no answer within 120 s", ambiguous=True)

    with scene.watch.carrying(A, cast(Delivery, scene.kept)), scene.watch.watching([scene.unit]):
        attempt = asyncio.create_task(scene.attempt(times_out))
        await asyncio.sleep(300)
        assert scene.gates.holds(DOCS)
        scene.storage.is_gone = dies
        await attempt

        assert not scene.gates.holds(DOCS)
        assert scene.watch.suspects(scene.unit) == dies
        count = scene.kept.counts["unit"]
        assert (count.count if count else 0) == (3 if dies else 0)
        assert scene.clock() == pytest.approx(300 if dies else 120 + AMBIGUITY, abs=3)


def test_a_unit_is_known_again_by_its_texts() -> None:
    """Not by its version: a text that kills does so in the next version, too."""
    (first, second) = (watched(_unit(day), A, DOCS) for day in (0, 1))

    assert first.name == second.name
    assert first.size == 3  # an emoji takes two


def _unit(day: int) -> Unit:
    whole = document("a", "x\U0001f600")
    return unit_of(whole.chunks, whole, version(day))


def test_a_unit_that_waits_for_its_time_keeps_no_sibling_waiting() -> None:
    """The round ends with what the others say; alone, the soonest says when."""
    late, soon_ = NotNow("late", retry_after=600), NotNow("soon", retry_after=60)
    other = Failure("answered 500")

    assert to_wait_for([late, other, soon_]) == [other]
    assert to_wait_for([late, soon_]) == [soon_]
    assert to_wait_for([]) == []
