"""Standing aside: places given up and taken, and who is told to do so."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

from consumer.model.fault import Failure, Fault
from consumer.model.names import Identity, Slug
from consumer.model.version import DocumentVersion
from consumer.pipeline.in_flight import InFlightBounds, InFlightLimit
from consumer.pipeline.key_queues import KeyQueues
from consumer.pipeline.pauses import Pauses
from consumer.resilience.retry import RetryPolicy
from consumer.telemetry.metrics import PREFIX, Metrics

A = Identity("a")
DOCS = Slug("docs")

ROOM = 20 * 1024  # bytes aside that are enough for one small document and not for two


def _version(day: int) -> DocumentVersion:
    return DocumentVersion(datetime(2026, 3, 1, tzinfo=UTC) + timedelta(days=day), 0, day)


async def _soon() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


# -- the in-flight limit ---------------------------------------------------------------------------


def _shown(metrics: Metrics, name: str) -> float:
    return metrics.registry.get_sample_value(f"{PREFIX}_{name}") or 0.0


async def test_what_comes_back_from_aside_needs_no_ordinary_place() -> None:
    """Those who hold all of them may be waiting for just that one."""
    metrics = Metrics()
    limit = InFlightLimit(InFlightBounds(1, 1_000, 2 * ROOM), metrics)
    place = await limit.place()
    await place.fill(100)
    async with place.aside():
        other = await limit.place()  # the only one
        await other.fill(100)
        assert _shown(metrics, "documents_aside") == 1
    assert _shown(metrics, "documents_aside") == 0
    assert _shown(metrics, "bytes_in_flight") == 200
    await place.leave()
    await other.leave()
    assert _shown(metrics, "bytes_in_flight") == 0


def _free(limit: InFlightLimit) -> bool:
    return limit.has_room


async def test_room_aside_is_kept_until_the_place_is_left() -> None:
    """Its bytes are in memory until then; without room one waits in its place."""
    limit = InFlightLimit(InFlightBounds(1, 1_000, ROOM), Metrics())
    place = await limit.place()
    async with place.aside():
        other = await limit.place()
    async with other.aside():
        assert not _free(limit)
    await place.leave()
    async with other.aside():
        assert _free(limit)
    await other.leave()


async def test_as_many_come_back_at_once_as_the_limit_has_places() -> None:
    """A thousand documents that a healed workspace lets go are not all in work at once."""
    limit = InFlightLimit(InFlightBounds(2, 1_000, 4 * ROOM), Metrics())
    healed, back = asyncio.Event(), []

    async def wait(number: int, done: asyncio.Event) -> None:
        place = await limit.place()
        async with place.aside():
            await healed.wait()
        back.append(number)
        await done.wait()
        await place.leave()

    done = [asyncio.Event() for _ in range(4)]
    async with AsyncExitStack() as stack:
        tasks = [asyncio.create_task(wait(n, each)) for n, each in enumerate(done)]
        stack.callback(lambda: [task.cancel() for task in tasks])
        await _soon()
        healed.set()
        await _soon()
        assert back == [0, 1]
        done[0].set()
        await _soon()
        assert back == [0, 1, 2]


# -- the queues of keys ----------------------------------------------------------------------------


async def test_who_waits_behind_one_that_stands_aside_is_told() -> None:
    """Those who wait already, and those who come later; not those who come when it is over."""
    queues = KeyQueues()
    first = queues.enter(A, DOCS, _version(5))
    older = queues.enter(A, DOCS, _version(1))
    assert await first.come_or_stall()
    told = asyncio.create_task(older.come_or_stall())
    await _soon()
    assert not told.done()
    with first.stalling():
        assert await told is False
        tombstone = queues.enter(A, DOCS, _version(6), removes=True)
        assert await tombstone.come_or_stall() is False
    later = queues.enter(A, Slug("more"), _version(2))
    waiting = asyncio.create_task(later.come_or_stall())
    await _soon()
    assert not waiting.done()
    for turn in (first, older, tombstone):
        turn.leave()

    assert await waiting is True


# -- pauses ----------------------------------------------------------------------------------------


class _Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_who_waits_in_its_place_hears_when_the_workspace_is_paused() -> None:
    """It has to stand aside then; who does so already waits on. Others are told as well, once."""
    clock, told = _Clock(), list[str]()
    pauses = Pauses(
        RetryPolicy(2, 1.0, 1.0),
        recovery=60.0,
        well_at=lambda: clock.now,
        rng=random.Random(1),
        clock=clock,
        metrics=Metrics(),
    )
    pauses.when_paused(told.append)
    failure = Failure("it takes nothing", fault=Fault.THEIRS)
    pauses.failed(DOCS, failure)
    clock.now += 2
    assert await pauses.clear(DOCS, aside=False), "this one tries"
    waiting = asyncio.create_task(pauses.clear(DOCS, aside=False))
    await _soon()
    assert told == []
    pauses.failed(DOCS, failure)

    assert await waiting is False
    assert told == ["docs"]
    assert await pauses.clear(DOCS, aside=False) is False
    aside = asyncio.create_task(pauses.clear(DOCS))
    await _soon()
    assert not aside.done()
    pauses.excuse()
    assert await aside
    assert await pauses.clear(DOCS, aside=False)
