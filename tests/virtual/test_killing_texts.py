"""A text that kills the server: it is found out with few kills, and everything else is stored."""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import count
from typing import Any

import pytest

from tests.tiers import quick_first
from tests.virtual.loop import soon, virtually
from tests.virtual.world import HOUR, World, event, world

MINUTE = 60.0
MOST_KILLS = 5
KILLER = "of which the server dies"
SECONDS = 20.0  # that a dead server is away
FRONTS: dict[str, dict[str, Any]] = {
    "bare": {},
    "behind 502": {"gateway": True, "status": 502},
    "behind 503": {"gateway": True, "status": 503},
}
"""What a client sees of a dead server: broken and refused connections, or a proxy's word."""

at_each_front = pytest.mark.parametrize("front", quick_first(FRONTS))


def _texts(id: str, *, chunks: int = 4, killer: int | None = None) -> list[str]:
    texts = [f"text {n} of {id}" for n in range(chunks)]
    if killer is not None:
        texts[killer] = f"a text {KILLER}, in {id}"
    return texts


def _kills(w: World) -> list[float]:
    """When the server was killed, epoch seconds."""
    killed = w.sim.journal.of("server.killed")
    return [entry["at"] for entry in killed]


def _kills_by(w: World, front: str, text: str = KILLER, **details: Any) -> None:
    fault = {"path": "*/raw-text", "contains": text, "seconds": SECONDS} | FRONTS[front] | details
    w.sim.faults.add("kill", **fault)


@pytest.mark.parametrize("chunks", [1, 4, 40])
@at_each_front
def test_a_killing_chunk_falls_after_five_kills_and_its_siblings_are_stored(
    front: str, chunks: int
) -> None:
    """Kind 3: five deaths over half an hour, the last ones minutes apart; then a dead letter."""

    @virtually
    async def run() -> None:
        async with world() as w:
            w.sim.faults.latency = 0.05
            _kills_by(w, front)
            w.publish(event("a", _texts("a", chunks=chunks, killer=chunks // 2)))
            await w.settled(within=HOUR)

            kills = _kills(w)
            assert len(kills) == MOST_KILLS
            assert kills[-1] - kills[0] >= 30 * MINUTE
            assert min(kills[3] - kills[2], kills[4] - kills[3]) >= 10 * MINUTE
            assert w.statuses() == {"partial" if chunks > 1 else "failed": 1}
            assert w.stored() == {f"a_{n}": 1 for n in range(chunks) if n != chunks // 2}
            (letter,) = w.letters
            assert letter["dlq.reason"] == "exhausted"
            assert "AnythingLLM died 5 times" in letter["__connect.errors.exception.message"]

    run()


@at_each_front
def test_the_count_survives_a_restart_of_ours_and_a_rebalance(front: str) -> None:
    """Kind 3: it stands beside the commit; a new process and a new owner go on counting."""

    @virtually
    async def run() -> None:
        async with world() as w:
            w.sim.faults.latency = 0.05
            _kills_by(w, front)
            w.publish(event("a", _texts("a", killer=1)))
            await soon(lambda: len(_kills(w)) == 2)
            await w.idle(5)
            await w.crash()
            await asyncio.sleep(SECONDS)
            w.taken_over_at = w.loop.now
            await w.start()
            await soon(lambda: len(_kills(w)) == 4)
            await w.idle(5)
            await w.rebalance()
            await w.settled(within=HOUR)

            kills = _kills(w)
            assert len(kills) <= MOST_KILLS
            assert kills[-1] - kills[0] >= 30 * MINUTE
            assert w.statuses() == {"partial": 1}
            assert w.stored() == {"a_0": 1, "a_2": 1, "a_3": 1}

    run()


@at_each_front
def test_a_restart_after_the_last_kill_kills_no_more(front: str) -> None:
    """The unit has fallen; that its event is not settled yet changes nothing."""

    @virtually
    async def run() -> None:
        async with world() as w:
            _kills_by(w, front)
            w.publish(event("a", _texts("a", killer=1)))
            await soon(lambda: len(_kills(w)) == MOST_KILLS)
            await w.idle(1)
            await w.crash()
            await w.start()
            await w.settled(within=HOUR)

            assert len(_kills(w)) == MOST_KILLS
            assert w.statuses() == {"partial": 1}

    run()


@at_each_front
def test_a_chunk_that_is_stored_before_it_kills_is_found_and_not_sent_again(front: str) -> None:
    """Kind 3, the variant: one kill, one copy, no dead letter."""

    @virtually
    async def run() -> None:
        async with world() as w:
            w.sim.faults.latency = 0.05
            _kills_by(w, front, apply=True)
            w.publish(event("a", _texts("a", killer=1)))
            await w.settled(within=HOUR)

            assert len(_kills(w)) == 1
            assert w.letters == []
            assert w.stored() == {f"a_{n}": 1 for n in range(4)}

    run()


@at_each_front
def test_a_killer_among_many_is_found_and_the_others_are_stored_meanwhile(front: str) -> None:
    """Whatever else was under way in the first death is cleared by getting through, alone."""

    @virtually
    async def run() -> None:
        async with world() as w:
            w.sim.faults.latency = 0.2
            w.sim.faults.embedder_latency = 1.0
            _kills_by(w, front)
            for n in range(60):
                w.publish(event(f"d{n}", _texts(f"d{n}", killer=2 if n == 30 else None)))
            await w.has_results(59, within=15 * MINUTE)
            await w.settled(within=HOUR)

            assert len(_kills(w)) <= MOST_KILLS
            assert w.statuses() == {"succeeded": 59, "partial": 1}
            assert w.copies() == {1: 239}

    run()


@pytest.mark.parametrize("front", quick_first(["bare", "behind 502"]))
@pytest.mark.parametrize("seconds", [30, 150])
def test_a_chunk_that_kills_late_is_found_too(front: str, seconds: float) -> None:
    """While others come and go, or when our upload has long been given up (after 120 s).

    The latter costs another kill where nobody saw what was under way.
    """

    @virtually
    async def run() -> None:
        async with world() as w:
            w.sim.faults.embedder_latency = 1.0
            w.sim.faults.add("delay", path="*/raw-text", contains=KILLER, seconds=seconds)
            _kills_by(w, front)
            for n in range(20):
                w.publish(event(f"d{n}", _texts(f"d{n}", killer=2 if n == 10 else None)))
            await w.has_results(19, within=15 * MINUTE)
            await w.settled(within=2 * HOUR)

            assert len(_kills(w)) <= MOST_KILLS + (seconds > 120)
            assert w.statuses() == {"succeeded": 19, "partial": 1}
            assert w.copies() == {1: 79}

    run()


@virtually
async def test_a_killer_whose_controls_are_refused_for_their_kind_falls_too() -> None:
    """Plain controls of its length get through instead; it killed three times an hour, for ever."""
    async with world() as w:
        letters = [chr(0xE01 + n) for n in range(46)]
        w.sim.faults.embedder_poison = letters
        _kills_by(w, "bare")
        w.publish(event("a", ["one", f"a text {KILLER}, {''.join(letters) * 5}", "three"]))
        await w.settled(within=HOUR)

        assert len(_kills(w)) <= MOST_KILLS
        assert "AnythingLLM died 5 times" in _only_error(w)


@pytest.mark.slow
@virtually
async def test_a_killer_is_found_while_the_embedder_refuses_what_is_long() -> None:
    """Long ones wait for its end and kill ever less often; short ones need no long controls."""
    async with world() as w:
        w.sim.faults.embedder_longest = 3_000
        _kills_by(w, "bare")
        for id, length in (("short", 20), ("long", 6_000)):
            w.publish(event(id, ["one", f"a text {KILLER}, {'in words ' * (length // 9)}"]))
        await w.idle(4 * HOUR)
        assert w.statuses() == {"partial": 1}
        kills = _kills(w)
        assert len(kills) <= 3 * MOST_KILLS
        assert kills[-1] - kills[-2] > HOUR / 2
        w.sim.faults.embedder_longest = 0
        await w.settled(within=2 * HOUR)

        assert w.statuses() == {"partial": 2}


BETWEEN: dict[str, dict[str, Any]] = {
    "429": {"kind": "status", "status": 429},
    "401": {"kind": "status", "status": 401},
    "a web page": {"kind": "html"},
}


def _has_more_kills(w: World, kills: int) -> bool:
    return len(_kills(w)) > kills


async def _answer_once_after_each_kill(w: World, fault: dict[str, Any]) -> None:
    for kills in count():
        await soon(partial(_has_more_kills, w, kills), within=2 * HOUR)
        w.sim.faults.add(**fault, path="*/raw-text", contains=KILLER, times=1)
        w.sim.faults.rules.insert(0, w.sim.faults.rules.pop())


@pytest.mark.parametrize("between", BETWEEN)
def test_what_a_proxy_answers_between_two_kills_clears_nobody(between: str) -> None:
    """The server never saw the text then: without this it was killed once a minute, for ever."""

    @virtually
    async def run() -> None:
        async with world() as w:
            _kills_by(w, "bare")
            answers = asyncio.create_task(_answer_once_after_each_kill(w, BETWEEN[between]))
            w.publish(event("a", _texts("a", killer=1)))
            await w.settled(within=HOUR)
            answers.cancel()

            assert len(_kills(w)) <= MOST_KILLS
            assert "AnythingLLM died 5 times" in _only_error(w)

    run()


def _only_error(w: World) -> str:
    (letter,) = w.letters
    return letter["__connect.errors.exception.message"]


@virtually
async def test_texts_that_kill_are_poison_and_are_blocked_disturb_nobody() -> None:
    """In one document: each falls for what it is, and the killer with five kills."""
    async with world() as w:
        w.sim.faults.latency = 0.05
        w.sim.faults.embedder_poison = ["poison"]
        w.sim.faults.add("html", contains="blocked")
        _kills_by(w, "bare")
        w.publish(event("a", ["one", f"a text {KILLER}", "poison", "blocked"]))
        await w.settled(within=HOUR)

        assert len(_kills(w)) <= MOST_KILLS
        for why in ("died 5 times", "the embedder refused", "something between us"):
            assert why in _only_error(w)


NEVER_ANSWERED: dict[str, dict[str, Any]] = {
    "a web page": {"kind": "html"},
    "cut off": {"kind": "reset"},
    "504": {"kind": "status", "status": 504, "seconds": 60},
}


@pytest.mark.parametrize("restarts", quick_first([1, 2]))
@pytest.mark.parametrize("answer", NEVER_ANSWERED)
def test_a_text_that_is_never_answered_and_met_restarts_does_not_wait_for_ever(
    answer: str, restarts: int
) -> None:
    """It was a suspect, and nothing that says more of it would ever have come."""

    @virtually
    async def run() -> None:
        async with world() as w:
            w.sim.faults.latency = 0.05
            w.publish(event("warm", ["it makes the workspace ready"]))
            await w.settled()
            w.sim.faults.add("hold", path="*/raw-text", contains="blocked")
            w.publish(event("a", ["one", "blocked", "three"]))
            for _ in range(restarts):
                await w.idle(100)
                w.sim.kill(SECONDS)
            await w.idle(SECONDS / 2)
            w.sim.faults.clear()
            w.sim.faults.latency = 0.05
            w.sim.faults.add(**NEVER_ANSWERED[answer], path="*/raw-text", contains="blocked")
            await w.settled(within=2 * HOUR)

            assert w.statuses() == {"succeeded": 1, "partial": 1}
            assert "died" not in _only_error(w)

    run()


@virtually
async def test_two_killers_excuse_each_other_for_nothing() -> None:
    """A death of which one of them was the only suspect says nothing for the other."""
    async with world() as w:
        _kills_by(w, "bare")
        texts = _texts("a", killer=1)
        texts[3] = f"another text {KILLER}"
        w.publish(event("a", texts))
        await w.settled(within=3 * HOUR)

        assert len(_kills(w)) <= 2 * MOST_KILLS + 1
        assert w.stored() == {"a_0": 1, "a_2": 1}


async def _restarts(w: World, front: str, *, every: float, times: int) -> None:
    """The platform restarts the server, whatever it does."""
    for _ in range(times):
        await asyncio.sleep(every)
        w.sim.kill(SECONDS, status=FRONTS[front].get("status"))


@pytest.mark.parametrize("upload", [3.0, 20.0, 100.0])
@at_each_front
def test_a_server_that_is_restarted_every_three_minutes_costs_no_dead_letter(
    front: str, upload: float
) -> None:
    """Beside kind 3: for two hours, and one long healthy document whose chunks take long."""

    @virtually
    async def run() -> None:
        async with world() as w:
            w.publish(event("warm", ["it makes the workspace ready"]))
            await w.settled()
            w.sim.faults.add("delay", path="*/raw-text", seconds=upload)
            restarts = asyncio.create_task(_restarts(w, front, every=3 * MINUTE, times=40))
            chunks = 200 if upload < 100 else 1
            w.publish(event("long", _texts("long", chunks=chunks)))
            for n in range(120):
                await w.idle(MINUTE)
                if upload == 100 and n % 10 == 0:
                    w.publish(event(f"later{n}", _texts(f"later{n}", chunks=1)))
            await restarts
            assert len(w.results) > 1
            w.sim.faults.clear()
            await w.settled(within=HOUR)

            assert w.letters == []
            assert set(w.statuses()) == {"succeeded"}
            assert set(w.copies()) == {1}

    run()


@at_each_front
def test_an_ordinary_restart_under_load_is_over_two_minutes_after_it(front: str) -> None:
    """What it met is a suspect once, and goes on with all others."""

    @virtually
    async def run() -> None:
        async with world() as w:
            w.publish(event("warm", ["it makes the workspace ready"]))
            await w.settled()
            w.sim.faults.add("delay", path="*/raw-text", seconds=2)
            for n in range(32):
                w.publish(event(f"d{n}", _texts(f"d{n}")))
            await asyncio.sleep(3)
            w.sim.kill(SECONDS, status=FRONTS[front].get("status"))
            await w.settled(within=SECONDS + 2 * MINUTE)

            assert w.statuses() == {"succeeded": 33}
            assert w.copies() == {1: 129}

    run()


@pytest.mark.slow
@virtually
async def test_what_dies_of_every_text_of_a_length_is_an_outage() -> None:
    """The control of its length dies as well: the unit is not blamed, and kills seldom."""
    async with world() as w:
        _kills_by(w, "bare", "", longer=400)
        w.publish(event("a", ["Its text is like any other of that length. " * 10]))
        await w.idle(4 * HOUR)

        assert w.letters == []
        assert w.open == 1
        assert len(_kills(w)) <= 4 * HOUR / (10 * MINUTE) + 4
        w.sim.faults.clear()
        await w.settled(within=30 * MINUTE)
        assert w.statuses() == {"succeeded": 1}


@pytest.mark.slow
@virtually
async def test_deaths_count_for_nothing_while_others_have_partitions() -> None:
    """What they have under way is not known: no dead letter, and kills up to an hour apart."""
    async with world() as w:
        w.has_others = True
        _kills_by(w, "bare")
        w.publish(event("a", _texts("a", killer=1)))
        await w.idle(24 * HOUR)

        assert w.letters == []
        assert w.stored() == {"a_0": 1, "a_2": 1, "a_3": 1}
        assert MOST_KILLS < len(_kills(w)) <= 24 + 8
        w.has_others = False
        await w.settled(within=1.5 * HOUR)
        assert w.statuses() == {"partial": 1}
