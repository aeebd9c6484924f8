"""A kind of text that the embedder takes none of: told soon, settled in the end, no outage."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from consumer.sandbox.simulator import Faults
from tests.virtual.loop import virtually
from tests.virtual.world import HOUR, World, event, world

LETTERS = [chr(0xE01 + n) for n in range(46)]
KIND = "".join(LETTERS[:40])
PAGE = {"Content-Type": "text/html"}


def _refused(faults: Faults) -> None:
    faults.embedder_poison = LETTERS


def _blocked(faults: Faults) -> None:
    for letter in LETTERS:
        faults.add("status", status=403, headers=PAGE, body="<html>", contains=letter)


def _mend(w: World) -> None:
    w.sim.faults.clear()
    w.sim.faults.embedder_poison = []
    w.sim.faults.latency = 0.05


@pytest.mark.parametrize("length", [40, 4_000])
@pytest.mark.parametrize(
    ("shape", "why"),
    [(_refused, "the embedder refused its text"), (_blocked, "something between us and")],
)
def test_a_text_of_a_kind_that_is_never_taken_falls_after_six_hours(
    shape: Callable[[Faults], None], why: str, length: int
) -> None:
    """It waited for ever: its controls failed as well. Others as long do not wait with it."""

    @virtually
    async def run() -> None:
        async with world() as w:
            w.sim.faults.latency = 0.05
            shape(w.sim.faults)
            w.publish(event("a", ["one", KIND * (length // 40), "three"]))
            for n in range(35):
                await w.idle(600)
                w.publish(event(f"d{n}", [f"{n} " + "a plain text, " * (length // 14)]))
                await w.has_results(n + 1, within=60)
            assert w.letters == []
            await w.settled(within=HOUR)

            assert w.statuses() == {"succeeded": 35, "partial": 1}
            (letter,) = w.letters
            message = letter["__connect.errors.exception.message"]
            assert why in message
            assert "control texts of its characters failed too" in message

    run()


@pytest.mark.parametrize("path", ["*", "*/raw-text"])
@pytest.mark.parametrize(("signs", "within"), [("--", 300), ("../", 300), (";", 7 * HOUR)])
def test_signs_that_a_firewall_dislikes_are_no_outage(signs: str, within: float, path: str) -> None:
    """Those in a row stand in no control. One of them stands in each, and then plain ones tell."""

    @virtually
    async def run() -> None:
        async with world() as w:
            w.sim.faults.latency = 0.05
            w.publish(event("before", ["up"]))
            await w.settled()
            w.sim.faults.add("html", path=path, contains=signs)
            w.publish(event("a", ["one", "for (x, y) in z: a.b(c); {} " * 40 + signs]))
            await w.settled(within=within)

            assert w.statuses() == {"succeeded": 1, "partial": 1}
            (letter,) = w.letters
            message = letter["__connect.errors.exception.message"]
            assert "something between us and AnythingLLM answers for it" in message

    run()


@pytest.mark.parametrize("shape", [_refused, pytest.param(_blocked, marks=pytest.mark.slow)])
@pytest.mark.slow
def test_five_hours_in_which_a_kind_is_refused_cost_nobody_anything(
    shape: Callable[[Faults], None],
) -> None:
    """An outage of one kind of text is one as well; it ends within minutes of its mending."""

    @virtually
    async def run() -> None:
        async with world() as w:
            w.sim.faults.latency = 0.05
            shape(w.sim.faults)
            for n in range(20):
                w.publish(event(f"a{n}", ["one", KIND * (n + 1), "three"]))
                w.publish(event(f"d{n}", [f"{n} " + "a plain text, " * 70]))
            await w.idle(5 * HOUR)
            assert w.letters == []
            assert w.statuses() == {"succeeded": 20}
            _mend(w)
            await w.settled(within=900)

            assert w.statuses() == {"succeeded": 40}
            assert w.copies() == {1: 80}

    run()


@virtually
async def test_a_day_in_which_everything_is_refused_says_nothing_of_a_kind() -> None:
    """Plain texts fail as well: nobody falls."""
    async with world() as w:
        w.sim.faults.latency = 0.05
        w.publish(event("before", ["up"]))
        await w.settled()
        w.sim.faults.embedder_down = True
        for n in range(5):
            w.publish(event(f"a{n}", ["one", KIND * (n + 1)]))
        await w.idle(24 * HOUR)
        assert w.letters == []
        w.sim.faults.embedder_down = False
        await w.settled(within=300)

        assert w.statuses() == {"succeeded": 6}
