"""Two versions side by side in one group, as every rolling update has them, on a real Kafka."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from consumer.anythingllm.sentinel import is_sentinel
from consumer.model.marker import decode_marker
from tests.e2e.conftest import bare_stage as bare_stage
from tests.e2e.conftest import simulated as simulated
from tests.e2e.conftest import stage as stage
from tests.e2e.crew import Event, Publish, publishing
from tests.e2e.support import Json, Process, Programs, Stage, until
from tests.programs_fixtures import programs as programs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SETTINGS = {
    "ANYTHINGLLM_AMBIGUITY_SECONDS": "6",
    "UPLOAD_TIMEOUT_SECONDS": "5",
    "SHUTDOWN_DRAIN_SECONDS": "1",
    "KAFKA_SESSION_TIMEOUT_SECONDS": "6",
}
PACKS = {"UPLOAD_CHUNKS_PER_PACK": "10", "UPLOAD_PACKS_TRIAL": "true"}
"""What only the present code knows."""
DOCUMENTS, CHUNKS = 40, 4
SLOW_EVERY = 10  # documents; their chunks take long, and hold commits back
BEGINNING = datetime(2026, 3, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Update:
    """The same stage with the programs of either code."""

    before: Stage
    after: Stage


@pytest.fixture(params=["one by one", "packs"])
def present_settings(request: pytest.FixtureRequest) -> dict[str, str]:
    """Of the present code's processes alone."""
    return PACKS if request.param == "packs" else {}


@pytest.fixture(params=["upgrade", "rollback"])
async def update(
    request: pytest.FixtureRequest,
    stage: Stage,
    old_code: Path,
    present_settings: dict[str, str],
    tmp_path: Path,
) -> AsyncIterator[Update]:
    """Both directions."""
    folder = tmp_path / "old"
    folder.mkdir()
    programs = Programs(folder, old_code)
    shared = stage.settings | SETTINGS
    now = replace(stage, settings=shared | present_settings)
    then = replace(stage, settings=shared, programs=programs)
    yield Update(then, now) if request.param == "upgrade" else Update(now, then)
    await programs.close()


class Traffic:
    """Versions of some documents, one after the other, as long as it runs."""

    def __init__(self, publish: Publish) -> None:
        self._publish = publish
        self.newest: dict[str, Json | None] = {}
        self.events = 0
        self._is_over = asyncio.Event()

    async def flow(self) -> None:
        """Publish a few events a moment, until it is ended."""
        for turn in count():
            some = [self._next(turn, number) for number in range(turn % 7, DOCUMENTS, 7)]
            await self._publish(some)
            self.newest.update(some)
            self.events += len(some)
            with suppress(TimeoutError):  # the pace of a publisher
                await asyncio.wait_for(self._is_over.wait(), 0.3)
                return

    def end(self) -> None:
        """Publish nothing more."""
        self._is_over.set()

    def _next(self, turn: int, number: int) -> Event:
        id = f"doc-{number}"
        if (turn + number) % 11 == 10:
            return id, None
        return id, document(number, turn)


def document(number: int, turn: int) -> Json:
    """A version of a document: with each one chunk changes, the others stay."""
    word = "SLOW" if number % SLOW_EVERY == 0 else "Text"
    changed = turn % CHUNKS
    return {
        "id": f"doc-{number}",
        "title": f"Number {number}",
        "technology": "side by side",
        "source_url": f"https://docs.example/{number}",
        "updated_at": (BEGINNING + timedelta(seconds=turn)).isoformat(),
        "chunks": [
            {
                "id": f"doc-{number}-{n}",
                "content": f"{word} {n} of {number}, {turn if n == changed else 'as ever'}.",
            }
            for n in range(CHUNKS)
        ],
    }


async def test_nothing_is_lost_and_nothing_is_doubled(update: Update) -> None:
    """Each member is replaced under traffic, one in the orderly way and one by SIGKILL."""
    simulator = update.before.simulator
    simulator.faults.embedder_latency = 0.02
    simulator.faults.add("delay", path="*/raw-text", contains="SLOW", seconds=1.0)
    async with publishing(update.before) as publish:
        traffic = Traffic(publish)
        first, second = await started(update.before), await started(update.before)
        flowing = asyncio.create_task(traffic.flow())
        await settled(first, second)
        first.signal(signal.SIGTERM)
        assert await first.ended() == 0
        third = await started(update.after)
        await settled(second, third)  # side by side
        await second.kill()
        fourth = await started(update.after)
        await settled(third, fourth)
        traffic.end()
        await flowing
    results = await update.after.until_results(traffic.events)
    await update.after.until_committed()
    await until(
        lambda: held(update.after) == wanted(traffic), "the newest versions, each chunk once"
    )
    for member in (third, fourth):
        member.signal(signal.SIGTERM)
        assert await member.ended() == 0

    answers = Counter(result.event_id for result in results)
    print(f"{len(answers)} events, {len(results) - len(answers)} more results than events")
    assert len(answers) == traffic.events
    assert held(update.after) == wanted(traffic)


async def started(stage: Stage) -> Process:
    """A member that has joined."""
    process = await stage.run()
    await process.until_logged("assignment.received")
    return process


async def settled(*members: Process) -> None:
    """Wait until each of them has settled some more."""
    for member in members:
        done = len(member.logged("document.settled"))
        await member.until_logged("document.settled", done + 20)


def held(stage: Stage) -> Counter[tuple[str, str, str]]:
    """Every chunk in AnythingLLM as often as it is there: document, id, text; packs are opened."""
    found: Counter[tuple[str, str, str]] = Counter()
    for slug in stage.simulator.state.workspaces:
        for source, text, _ in stage.simulator.chunks(slug):
            if is_sentinel(source):
                continue  # of a process that was killed; others remove it after ten minutes
            marker = decode_marker(source)
            assert marker is not None, f"left in {slug}: {source}"
            texts = [part.strip() for part in text.split("\n\n") if part.strip()]
            assert len(texts) == len(marker.chunks), f"not told apart: {text!r}"
            for chunk, part in zip(marker.chunks, texts, strict=True):
                found[marker.document_id, chunk.id, part] += 1
    return found


def wanted(traffic: Traffic) -> Counter[tuple[str, str, str]]:
    """What the newest events leave."""
    return Counter(
        (id, chunk["id"], chunk["content"])
        for id, event in traffic.newest.items()
        for chunk in (event or {"chunks": []})["chunks"]
    )
