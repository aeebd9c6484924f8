"""Under traffic for long on a real Kafka: memory, file descriptors and threads stay as they are.

A minute of it is in `make test-slow`; `make soak MINUTES=30` is as long as it is told to be.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median

import pytest

from consumer.sandbox.simulator import Simulator
from tests.e2e.crew import Event, publishing
from tests.e2e.support import Json, Process, Stage, stored, until

MINUTES = float(os.environ.get("SOAK_MINUTES", "1"))

pytestmark = [pytest.mark.release, pytest.mark.timeout(MINUTES * 60 + 240)]

DOCUMENTS, CHUNKS = 100, 2
A_TURN = 5  # events
TURN, LOOK = 0.5, 1.0  # seconds
OUTAGE_EVERY, OUTAGE = 20.0, 2.0  # seconds
REFUSED_EVERY = 37  # events
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Sight:
    """What the process has at a moment: bytes resident, open file descriptors, threads."""

    memory: int
    files: int
    threads: int


async def test_nothing_grows_under_traffic(stage: Stage) -> None:
    """Versions, tombstones, refused texts and outages; at the end each newest chunk is there."""
    stage.simulator.faults.add("status", path="*/raw-text", status=422, contains="REFUSED")
    service = await stage.run(ANYTHINGLLM_AMBIGUITY_SECONDS="6", UPLOAD_TIMEOUT_SECONDS="5")
    await service.until_logged("assignment.received")
    newest: dict[str, Json | None] = {}
    is_over = asyncio.Event()
    looking = asyncio.create_task(_look(service, is_over))
    breaking = asyncio.create_task(_break(stage.simulator, is_over))
    async with publishing(stage) as publish:
        end = time.monotonic() + MINUTES * 60
        for turn in count():
            some = [_event(turn * A_TURN + n) for n in range(A_TURN)]
            await publish(some)
            newest.update(some)
            stage.simulator.journal.clear()
            if time.monotonic() > end:
                break
            await asyncio.sleep(TURN)  # the pace of a publisher
    is_over.set()
    sights = await looking
    await breaking
    await stage.until_committed()
    await until(
        lambda: _held(stage, newest) == _wanted(newest), "the newest versions, each chunk once"
    )
    service.signal(signal.SIGTERM)
    assert await service.ended() == 0
    _assert_flat(sights)


def _event(number: int) -> Event:
    id = f"doc-{number % DOCUMENTS}"
    if number % 23 == 22:
        return id, None
    word = "REFUSED" if number % REFUSED_EVERY == 0 else "Text"
    return id, {
        "id": id,
        "title": f"The title of {id}",
        "technology": "soak",
        "source_url": f"https://docs.example/{id}",
        "chunks": [
            {"id": f"{id}-{n}", "content": f"{word if n == 0 else 'Text'} {n} of {id}, {number}."}
            for n in range(CHUNKS)
        ],
    }


async def _look(service: Process, is_over: asyncio.Event) -> list[Sight]:
    folder = Path(f"/proc/{service.pid}")
    sights = []
    while not is_over.is_set():
        files, threads = (
            len(list((folder / "fd").iterdir())),
            len(list((folder / "task").iterdir())),
        )
        sights.append(Sight(service.memory(), files, threads))
        with suppress(TimeoutError):
            await asyncio.wait_for(is_over.wait(), LOOK)
    return sights


async def _break(simulator: Simulator, is_over: asyncio.Event) -> None:
    """AnythingLLM is away for a moment, again and again."""
    while not is_over.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(is_over.wait(), OUTAGE_EVERY)
        rule = simulator.faults.add("status", status=503)
        await asyncio.sleep(OUTAGE)  # the length of the outage
        rule.times = 0


def _held(stage: Stage, newest: Mapping[str, Json | None]) -> list[tuple[str, str, str]]:
    """What is stored, but of documents a chunk of which is refused: their former texts stay."""
    return sorted(
        (each.document_id, each.chunk_id, each.text)
        for each in stored(stage.simulator)
        if not _is_refused(newest[each.document_id])
    )


def _wanted(newest: Mapping[str, Json | None]) -> list[tuple[str, str, str]]:
    return sorted(
        (id, chunk["id"], chunk["content"])
        for id, event in newest.items()
        if event is not None and not _is_refused(event)
        for chunk in event["chunks"]
    )


def _is_refused(event: Json | None) -> bool:
    return event is not None and any("REFUSED" in chunk["content"] for chunk in event["chunks"])


def _assert_flat(sights: Sequence[Sight]) -> None:
    third = len(sights) // 3
    early, late = sights[third : 2 * third], sights[2 * third :]
    told = {
        what: (median(getattr(s, what) for s in early), median(getattr(s, what) for s in late))
        for what in ("memory", "files", "threads")
    }
    for what, (before, after) in told.items():
        unit = MIB if what == "memory" else 1
        print(f"{what}: {before / unit:.1f} in the second third, {after / unit:.1f} in the last")
    assert told["memory"][1] <= told["memory"][0] + 4 * MIB
    assert told["files"][1] <= told["files"][0] + 3
    assert told["threads"][1] <= told["threads"][0] + 1
