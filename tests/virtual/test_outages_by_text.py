"""Outages that depend on the text: what is long fails, what is short passes. Nobody is blamed."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from consumer.sandbox.simulator import Faults
from tests.virtual.loop import virtually
from tests.virtual.world import HOUR, RECOVERY, World, event, world

POISON = "a text that the embedder can't take"
LONG = 6_000  # characters
THRESHOLD = 3_000
SHORT = 1_000
WORDS = ["plain", "words", "of", "a", "page", "about", "nothing", "much", "that", "goes", "on"]


def _text(length: int, seed: str) -> str:
    rng = random.Random(seed)
    words = (rng.choice(WORDS) for _ in range(length // 2))
    return f"{seed} {' '.join(words)}"[:length]


def _out_of_tokens(faults: Faults) -> None:
    faults.embedder_longest = THRESHOLD


def _few_tokens(faults: Faults) -> None:
    faults.embedder_per_minute = 2 * LONG


def _slow(faults: Faults) -> None:
    faults.embedder_pace = 40.0
    faults.embedder_longest = THRESHOLD


SHAPES = {"out of tokens": _out_of_tokens, "few tokens": _few_tokens, "slow": _slow}


def _two_lengths(n: int) -> int:
    return LONG if n % 2 else 300


def _mixed(n: int) -> int:
    return (200, 900, 1_900, 3_500, 5_000, 6_000, 9_000, 14_000)[n % 8]


def _mend(w: World) -> None:
    w.sim.faults.update({"embedder_longest": 0, "embedder_per_minute": 0, "embedder_pace": 0.0})


@pytest.mark.parametrize(
    ("shape", "length_of", "count", "recovered"),
    [
        pytest.param("out of tokens", _two_lengths, 300, 120, marks=pytest.mark.slow),
        pytest.param("out of tokens", _mixed, 300, 120, marks=pytest.mark.slow),
        pytest.param("few tokens", _mixed, 100, 300, marks=pytest.mark.slow),
        pytest.param("slow", _two_lengths, 300, 1200, marks=pytest.mark.slow),
        pytest.param("slow", _mixed, 300, 1200, marks=pytest.mark.slow),
    ],
    ids=["tokens", "tokens, mixed", "a minute's tokens, mixed", "slow", "slow, mixed"],
)
def test_two_hours_in_which_long_texts_fail_cost_nobody_anything(
    shape: str, length_of: Callable[[int], int], count: int, recovered: float
) -> None:
    """0 of 300 documents are dead-lettered, the short ones go on, and all are stored afterwards."""

    @virtually
    async def run() -> None:
        async with world() as w:
            w.sim.faults.latency = 0.05
            w.publish(event("before", [_text(300, "before")]))
            await w.settled()
            SHAPES[shape](w.sim.faults)
            for n in range(count):
                w.publish(event(f"d{n}", [_text(length_of(n), f"d{n}")]))
            await w.idle(2 * HOUR)
            short = sum(length_of(n) < SHORT for n in range(count))

            assert w.letters == []
            assert not w.fuse_blown()
            assert w.statuses()["succeeded"] >= short
            _mend(w)
            await w.settled(within=recovered)

            assert w.letters == []
            assert w.statuses() == {"succeeded": count + 1}
            assert w.copies() == {1: count + 1}

    run()


@virtually
async def test_poison_of_any_length_falls_before_and_after_an_outage_of_long_texts() -> None:
    """And not during it: nobody can tell then."""
    async with world() as w:
        w.sim.faults.latency = 0.05
        w.sim.faults.embedder_poison = [POISON]
        w.publish(event("before", [f"{POISON} {_text(LONG, 'before')}"]))
        await w.settled(within=300)
        assert len(w.letters) == 1
        _out_of_tokens(w.sim.faults)
        w.publish(event("during", [f"{POISON} {_text(LONG, 'during')}"]))
        w.publish(event("short", [f"{POISON}, short"]))
        for n in range(20):
            w.publish(event(f"d{n}", [_text(LONG, f"d{n}")]))
        await w.idle(2 * HOUR)
        assert {letter["dlq.document-id"] for letter in w.letters} == {"before", "short"}
        _mend(w)
        await w.settled(within=600)

        assert len(w.letters) == 3
        assert w.statuses() == {"failed": 3, "succeeded": 20}


@pytest.mark.parametrize("length", [300, LONG, 60_000])
def test_a_single_poison_text_on_an_idle_system_is_settled_within_five_minutes(
    length: int,
) -> None:
    """However long it is, and not before three minutes: what lasts shorter proves nothing."""

    @virtually
    async def run() -> None:
        async with world() as w:
            w.sim.faults.latency = 0.2
            w.sim.faults.embedder_poison = [POISON]
            w.publish(event("a", [f"{POISON} {_text(length, 'a')}"]))
            await w.idle(3 * RECOVERY)
            assert w.letters == []
            await w.settled(within=300 - 3 * RECOVERY)

            assert len(w.letters) == 1

    run()


@virtually
async def test_texts_that_nothing_so_long_passes_beside_are_held_though_controls_pass() -> None:
    """The controls may miss what the documents meet: many of a size are an outage all the same."""
    async with world() as w:
        w.sim.faults.latency = 0.05
        w.sim.faults.embedder_poison = [POISON]
        for n in range(10):
            w.publish(event(f"bad{n}", [f"{POISON} {_text(LONG, f'bad{n}')}"]))
            w.publish(event(f"short{n}", [f"a short text, {n}"]))
        await w.idle(HOUR)

        assert w.letters == []
        assert w.statuses() == {"succeeded": 10}
        w.publish(event("good", [_text(2 * LONG, "good")]))
        await w.settled(within=300)

        assert w.statuses() == {"succeeded": 11, "failed": 10}


@virtually
async def test_a_burst_of_failures_that_is_over_within_two_minutes_blames_nobody() -> None:
    """Five documents were once dead-lettered within 2.2 seconds."""
    async with world() as w:
        w.sim.faults.latency = 0.05
        w.sim.faults.embedder_poison = [POISON]
        for n in range(5):
            w.publish(event(f"d{n}", [f"{POISON}, {n}"]))
        await w.idle(150)
        w.sim.faults.embedder_poison = []
        await w.settled(within=60)

        assert w.letters == []
