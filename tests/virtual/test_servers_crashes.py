"""Several servers, and processes that die: what was published is stored exactly once, somewhere."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from tests.virtual.loop import virtually
from tests.virtual.servers_world import ServersWorld, servers_world
from tests.virtual.world import event

SLUGS = ["w0", "w1", "w2", "w3"]
AMBIGUITY = 120.0


def wanted(newest: dict[str, tuple[str, int]]) -> dict[str, Counter[str]]:
    """The chunk ids that each workspace has to hold, by the newest event of each document."""
    chunks: dict[str, Counter[str]] = {slug: Counter() for slug in SLUGS}
    for id, (slug, count) in newest.items():
        chunks[slug].update(f"{id}_{n}" for n in range(count))
    return chunks


async def _trouble(w: ServersWorld, chance: random.Random) -> None:
    """Something that happens to processes and servers."""
    sim = w.sims[chance.choice(["a", "b"])]
    match chance.randrange(4):
        case 0:
            w.taken_over_at = w.loop.time()
            await w.crash(commit=False)  # what a commit says of doubts is not played here
            await w.start()
        case 1:
            sim.faults.add("status", status=500, path="*/remove-documents", times=2)
        case 2:
            await sim.stop()
            await w.idle(chance.uniform(1, 200))
            await sim.start()
        case _:
            sim.faults.add("reset", path="*/raw-text", times=2, apply=True, late=20.0)


@pytest.mark.parametrize("seed", range(6))
@virtually
async def test_every_chunk_is_stored_once_on_one_server(seed: int) -> None:
    chance = random.Random(seed)
    newest: dict[str, tuple[str, int]] = {}
    async with servers_world(
        "a", "b", ANYTHINGLLM_AMBIGUITY_SECONDS=f"{AMBIGUITY:g}", UPLOAD_TIMEOUT_SECONDS="60"
    ) as w:
        for day in range(3):
            for n in range(12):
                slug, count = SLUGS[n % len(SLUGS)], chance.randrange(1, 5)
                texts = [f"text {k} of {n}, {chance.choice('xyz')}" for k in range(count)]
                w.publish(event(f"d{n}", texts, day=day, technology=slug))
                newest[f"d{n}"] = (slug, count)
                if chance.random() < 0.15:
                    w.publish(None, key=f"d{n}", workspace=chance.choice([slug, None]))
                    newest[f"d{n}"] = (slug, 0)
                await w.idle(chance.uniform(0, 1))
                if chance.random() < 0.2:
                    await _trouble(w, chance)
        await w.settled(within=7200)
        await w.idle(4 * AMBIGUITY)

        found = {slug: w.at("a", slug) + w.at("b", slug) for slug in SLUGS}
        assert found == wanted(newest)
        assert all(not w.at("a", slug) or not w.at("b", slug) for slug in SLUGS)
        assert w.homeless == {}
