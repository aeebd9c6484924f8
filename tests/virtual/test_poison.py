"""Whose fault is it: poison documents fall, sick workspaces wait, and nobody else notices."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from tests.virtual.loop import virtually
from tests.virtual.world import HOUR, RECOVERY, World, event, on_each_database_slowly, world

POISON = "a text that the embedder can't take"


def _texts(id: str, *, chunks: int = 4, poison: bool = False) -> list[str]:
    texts = [f"text {n} of {id}" for n in range(chunks)]
    if poison:
        texts[1] = f"{POISON}, in {id}"
    return texts


def _dead(w: World) -> set[str]:
    return {letter["dlq.document-id"] for letter in w.letters}


def _reasons(w: World) -> set[str]:
    return {letter["dlq.reason"] for letter in w.letters}


@on_each_database_slowly
@virtually
async def test_a_single_poison_document_on_an_idle_system_is_settled_within_five_minutes(
    vector_db: str,
) -> None:
    """P2: it is told from an outage without any other traffic, and its siblings are stored."""
    async with world(vector_db=vector_db) as w:
        w.sim.faults.latency = 0.05
        w.sim.faults.embedder_poison = [POISON]
        w.publish(event("a", _texts("a", poison=True)))
        await w.settled(within=300)

        assert w.statuses() == {"partial": 1}
        assert w.stored() == {"a_0": 1, "a_2": 1, "a_3": 1}
        assert _reasons(w) == {"exhausted"}
        assert w.breaker == []
        # Named once, and of what would come next there is nothing: nothing comes.
        (letter,) = w.letters
        told = letter["__connect.errors.exception.message"]
        assert told.startswith("a_1: the text is stored but AnythingLLM could not embed it; failed")
        assert told.count("a_1") == 1
        assert "further try" not in told


@virtually
async def test_one_percent_of_poison_slows_nobody_down_and_is_exactly_what_falls() -> None:
    """P2: the breaker never opens, and the others keep at least 90 % of their rate."""
    rates = []
    for poisoned in (False, True):
        async with world() as w:
            begun = w.loop.now
            w.sim.faults.latency = 0.05
            w.sim.faults.embedder_poison = [POISON]
            bad = set(random.Random(3).sample(range(400), 4)) if poisoned else set[int]()
            for n in range(400):
                w.publish(event(f"d{n}", _texts(f"d{n}", poison=n in bad)))
            await w.settled()
            rates.append((400 - len(bad)) / (w.last("succeeded") - begun))

            assert _dead(w) == {f"d{n}" for n in bad}
            assert w.breaker == []
            assert w.copies() == {1: 1600 - len(bad)}

    assert rates[1] >= 0.9 * rates[0]


@on_each_database_slowly
@virtually
async def test_forty_poison_documents_in_a_row_stall_nothing(vector_db: str) -> None:
    """P2: each one is settled, and what comes behind them as well; the fuse stays whole."""
    async with world(vector_db=vector_db) as w:
        w.sim.faults.latency = 0.05
        w.sim.faults.embedder_poison = [POISON]
        for n in range(40):
            w.publish(event(f"bad{n}", _texts(f"bad{n}", poison=True)))
        for n in range(20):
            w.publish(event(f"good{n}", _texts(f"good{n}")))
        await w.settled(within=900)

        assert w.statuses() == {"partial": 40, "succeeded": 20}
        assert w.breaker == []


@virtually
async def test_poison_during_an_outage_is_still_told_apart() -> None:
    """P2: only the poison documents fall, before, during and after an outage of everything."""
    async with world() as w:
        w.sim.faults.latency = 0.1
        w.sim.faults.embedder_poison = [POISON]
        bad = {f"d{n}" for n in range(0, 60, 12)}
        for n in range(60):
            w.publish(event(f"d{n}", _texts(f"d{n}", poison=f"d{n}" in bad)))
            if n == 20:
                await w.idle(3)
                w.sim.faults.embedder_down = True
        await w.idle(2 * HOUR)
        w.sim.faults.embedder_down = False
        await w.settled(within=1200)

        assert _dead(w) == bad
        assert w.copies() == {1: 240 - len(bad)}


@virtually
async def test_poison_while_the_embedder_fails_half_its_calls_is_still_told_apart() -> None:
    """P2: chance is not guilt, and guilt does not hide behind chance."""
    async with world() as w:
        w.sim.faults.latency = 0.05
        w.sim.faults.embedder_poison = [POISON]
        w.sim.faults.embedder_fails_share = 0.5
        bad = {f"d{n}" for n in range(0, 40, 10)}
        for n in range(40):
            w.publish(event(f"d{n}", _texts(f"d{n}", poison=f"d{n}" in bad)))
        await w.idle(2 * HOUR)
        assert _dead(w) <= bad
        w.sim.faults.embedder_fails_share = 0.0
        await w.settled(within=1200)

        assert _dead(w) == bad
        assert w.copies() == {1: 160 - len(bad)}


@pytest.mark.slow
@virtually
async def test_one_of_twenty_workspaces_whose_dimension_changed_is_paused_alone() -> None:
    """P2: 0 dead letters; it is paused and named, stands aside, and comes back by itself."""
    async with world() as w:
        w.sim.faults.latency = 0.02
        for n in range(20):
            w.publish(event(f"first{n}", _texts(f"first{n}"), technology=f"ws-{n}"))
        await w.settled()
        w.sim.faults.workspace_dimensions = {"ws-7": 12}
        for n in range(400):
            w.publish(event(f"d{n}", _texts(f"d{n}"), technology=f"ws-{n % 20}"))
        await w.has_results(20 + 380, within=300)
        await w.idle(HOUR)

        assert w.letters == []
        assert set(w.pipeline.gates.pauses.paused) == {"ws-7"}
        assert w.open == 20
        assert w.breaker == []
        w.sim.faults.workspace_dimensions = {}
        await w.settled(within=RECOVERY + 60)

        assert w.letters == []
        assert w.statuses() == {"succeeded": 420}
        assert w.copies() == {1: 1680}
        assert w.pipeline.gates.pauses.paused == {}


@on_each_database_slowly
@virtually
async def test_a_chunk_that_fails_though_its_text_passes_does_not_wait_for_ever(
    vector_db: str,
) -> None:
    """P2: where the embedder takes the text and the workspace works, the chunk falls as well."""
    async with world(vector_db=vector_db) as w:
        w.sim.faults.latency = 0.05
        w.sim.faults.add("pretend", path="*/raw-text", contains="never stored")
        w.sim.faults.add("status", status=500, path="*/raw-text", contains="answers 500")
        w.publish(event("a", ["one", "two is never stored", "three"]))
        w.publish(event("b", ["one b", "two answers 500", "three b"]))
        w.publish(event("c", ["one c", "two c"]))
        await w.has_results(2, within=900)
        # Each upload that is answered and not stored might still come for ten minutes.
        await w.settled(within=24 * HOUR)

        assert w.statuses() == {"succeeded": 1, "partial": 2}
        assert _dead(w) == {"a", "b"}
        assert _reasons(w) == {"exhausted"}


@pytest.mark.slow
@virtually
async def test_most_documents_failing_blows_the_fuse_and_it_heals_by_itself() -> None:
    """The fuse: a whole topic is not given up, and goes on three good trials after the mend."""
    async with world() as w:
        w.sim.faults.latency = 0.02
        w.sim.faults.embedder_poison = [POISON]
        for n in range(150):
            w.publish(event(f"d{n}", [f"{POISON}, {n}"]))
        await w.idle(HOUR)
        fallen = len(w.letters)

        assert w.fuse_blown()
        assert fallen <= 50 + 32
        await w.idle(HOUR)
        assert len(w.letters) == fallen
        w.sim.faults.embedder_poison = []
        await w.settled(within=4 * RECOVERY + 120)

        assert not w.fuse_blown()
        assert w.statuses() == Counter(failed=fallen, succeeded=150 - fallen)
