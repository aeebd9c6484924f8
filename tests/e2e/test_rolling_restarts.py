"""Restarts one after the other, as every release brings them: how much is answered twice."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.support import Json, Process, Stage, write_events

pytestmark = [pytest.mark.release, pytest.mark.timeout(400)]

RESTARTS, DOCUMENTS, SLOW_EVERY = 20, 400, 25
SETTINGS = {"UPLOAD_TIMEOUT_SECONDS": "8", "SHUTDOWN_DRAIN_SECONDS": "1"}


def documents(first: int, count: int) -> list[Json]:
    """Events of two chunks each; of some one chunk takes long."""
    return [
        {
            "id": f"doc-{number}",
            "title": f"Number {number}",
            "technology": "rolling",
            "source_url": f"https://docs.example/{number}",
            "created_at": "2026-03-01T00:00:00Z",
            "chunks": [
                {"id": f"doc-{number}-{n}", "content": f"{word} {n} of {number}, like no other."}
                for n in range(2)
            ],
        }
        for number in range(first, first + count)
        for word in ("SLOW" if number % SLOW_EVERY == 0 else "Text",)
    ]


async def test_what_was_settled_is_not_answered_again(stage: Stage, tmp_path: Path) -> None:
    """Whatever a slow document holds back: each event is answered once, or once more at most."""
    stage.simulator.faults.embedder_latency = 0.02
    stage.simulator.faults.add("delay", path="*/raw-text", contains="SLOW", seconds=2.5)
    stage = Stage(stage.settings | SETTINGS, stage.connection, stage.simulator, stage.programs)
    members = [await _started(stage), await _started(stage)]
    for restart in range(RESTARTS):
        some = documents(restart * DOCUMENTS // RESTARTS, DOCUMENTS // RESTARTS)
        await stage.publish(write_events(tmp_path / f"{restart}.ndjson", some))
        await asyncio.sleep(0.5)  # traffic of a moment; nothing is waited for
        await _restart(stage, members, restart % 2)
    await stage.until_results(DOCUMENTS)
    await stage.until_committed()
    for member in members:
        member.signal(signal.SIGTERM)
        assert await member.ended() == 0

    answers = Counter(result.event_id for result in await stage.results())
    repeated = sum(answers.values()) - len(answers)
    print(f"{RESTARTS} restarts: {len(answers)} events, {repeated} more results than events")
    assert len(answers) == DOCUMENTS
    assert max(answers.values()) <= 2
    assert repeated == 0


async def _restart(stage: Stage, members: list[Process], number: int) -> None:
    members[number].signal(signal.SIGTERM)
    assert await members[number].ended() == 0
    members[number] = await _started(stage)


async def _started(stage: Stage) -> Process:
    process = await stage.run()
    await process.until_logged("service.started")
    return process
