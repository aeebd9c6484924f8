"""A day of ordinary life in virtual time: what the service holds does not grow with it."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from dataclasses import dataclass

import pytest

from tests.virtual.loop import virtually
from tests.virtual.world import HOUR, World, event, world

pytestmark = pytest.mark.release

HOURS, SETTLING_HOURS = 24, 6
DOCUMENTS, CHUNKS = 40, 3
EVERY = 30.0  # seconds between two events
OUTAGE = 300.0  # seconds, once an hour
KEPT_BY_THE_TEST = frozenset({"Record", "Coordinates"})
"""The topic's records: Kafka would hold them."""


@dataclass(frozen=True, slots=True)
class Held:
    """What the process holds at the end of an hour in which all was settled."""

    objects: Counter[str]
    tasks: int

    @property
    def all_objects(self) -> int:
        return self.objects.total()


@virtually
async def test_a_day_leaves_nothing_behind() -> None:
    """Versions, tombstones, refused texts, an outage an hour, a rebalance every other hour."""
    held: list[Held] = []
    async with world() as here:
        here.sim.faults.add("status", path="*/raw-text", status=422, contains="REFUSED")
        for hour in range(HOURS):
            await _an_hour(here, hour)
            held.append(_look(here))
    settling, last = held[SETTLING_HOURS : HOURS // 2], held[-SETTLING_HOURS:]
    grown = last[-1].objects - settling[-1].objects
    print(
        f"objects of ours {[each.all_objects for each in held]}, tasks"
        f" {[each.tasks for each in held]}"
    )
    assert max(h.all_objects for h in last) <= 1.02 * max(h.all_objects for h in settling), grown
    assert max(h.tasks for h in last) <= max(h.tasks for h in settling)


async def _an_hour(here: World, hour: int) -> None:
    events = int(HOUR / EVERY)
    for number in range(events):
        turn = hour * events + number
        id = f"doc-{turn % DOCUMENTS}"
        here.publish(None if turn % 17 == 16 else _version(id, turn), key=id, workspace="docs")
        if number == events // 2:
            await here.sim.stop()
            await here.idle(OUTAGE)
            await here.sim.start()
        await here.idle(EVERY)
    await here.settled()
    if hour % 2:
        await here.rebalance()
        await here.settled()
    assert len(here.letters) == len([each for each in here.results if each["status"] == "partial"])
    assert here.letters
    assert set(here.copies()) == {1}


def _version(id: str, turn: int) -> dict[str, object]:
    word = "REFUSED" if turn % 60 == 7 else "Text"
    texts = [f"{word if n == 0 else 'Text'} {n} of {id}, {turn}." for n in range(CHUNKS)]
    return event(id, texts, day=turn / 10_000)


def _look(here: World) -> Held:
    """Count, and forget what the test itself keeps."""
    here.results.clear()
    here.letters.clear()
    here.sent.clear()
    here.breaker.clear()
    here.sim.journal.clear()
    gc.collect()
    kinds = Counter(
        kind.__qualname__
        for kind in map(type, gc.get_objects())
        if str(kind.__module__).startswith("consumer.") and ".sandbox." not in kind.__module__
    )
    ours = {name: found for name, found in kinds.items() if name not in KEPT_BY_THE_TEST}
    return Held(Counter(ours), len(asyncio.all_tasks()))
