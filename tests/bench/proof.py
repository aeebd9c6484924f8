"""What proof by a search costs, where a vector database refuses vectors without a word.

Measured on the simulated AnythingLLM with a pgvector whose searches take as long as the real one's
did, in turns with the same service told that it is LanceDB, where the file itself tells.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import orjson

from tests.bench import catalog, topics
from tests.bench.catalog import REPOSITORY, environment
from tests.bench.contestants.work import Event
from tests.bench.program import WORKSPACE, made_topics, new_task, started

_KEY = "bench-key"
_DOCUMENTS, _CHUNKS_A_DOCUMENT = 30, 10
_SLOTS = 5
_UPLOAD_COST = 0.052  # seconds of the server's only thread

SEARCH_COSTS = {2_300: 0.040, 22_000: 0.069, 102_000: 0.355}
"""Seconds by vectors of all workspaces, measured on AnythingLLM 1.16 with pgvector 0.6.2."""


@dataclass(frozen=True, slots=True)
class ProofFigures:
    """What proof by search costs: ``ratio`` is by search over by ``cached``."""

    vectors: int
    cached_chunks_per_second: float
    search_chunks_per_second: float
    ratio: float
    searches_per_chunk: float


async def measure_proof(vectors: int, kafka: str, settings: Mapping[str, str]) -> ProofFigures:
    """Run the service on pgvector's ways, believing ``cached`` and not believing it.

    Args:
        vectors: of all workspaces, one of `SEARCH_COSTS`.
        kafka: ``host:port``.
        settings: of the service, besides its defaults.
    """
    chunks = _DOCUMENTS * _CHUNKS_A_DOCUMENT
    rates, searches = [], 0
    for believed in ("lancedb", ""):  # with the second it asks what there is
        with tempfile.TemporaryDirectory() as folder:
            journal = Path(folder) / "journal"
            async with _simulated(SEARCH_COSTS[vectors], journal) as endpoint:
                told = {**settings, "ANYTHINGLLM_VECTOR_DB": believed}
                await _all_stored(kafka, endpoint, told)
            times, searches = sorted(_embedded(journal)), _searches(journal)
        rates.append(chunks / (times[-1] - times[0]))
    return ProofFigures(
        vectors=vectors,
        cached_chunks_per_second=round(rates[0], 1),
        search_chunks_per_second=round(rates[1], 1),
        ratio=round(rates[1] / rates[0], 2),
        searches_per_chunk=round(searches / chunks, 2),
    )


async def _all_stored(kafka: str, endpoint: str, settings: Mapping[str, str]) -> None:
    """Have the service store all documents."""
    contestant = catalog.service(settings=settings)
    async with topics.documents(kafka, map(_event, range(_DOCUMENTS))) as topic:
        task = new_task(kafka, endpoint, topic, name="proof", slots=_SLOTS)
        async with made_topics(task, contestant), started(contestant, task) as running:
            await running.until_results(_DOCUMENTS)


@asynccontextmanager
async def _simulated(search_cost: float, journal: Path) -> AsyncIterator[str]:
    """A simulated server whose workspace has its table already; its endpoint."""
    costs = ("--upload-cost", str(_UPLOAD_COST), "--search-cost", str(search_cost))
    words = ("--json", "--api-key", _KEY, "--vector-db", "pgvector", "--journal", str(journal))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "consumer", "simulate", *words, *costs),
        cwd=REPOSITORY,
        env=environment({}),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        endpoint = orjson.loads(await process.stdout.readline())["endpoint"]
        headers = {"Authorization": f"Bearer {_KEY}"}
        async with aiohttp.ClientSession(endpoint, headers=headers) as session:
            async with session.post("/api/v1/workspace/new", json={"name": WORKSPACE}):
                pass
            await _upload(session, "first")
        yield endpoint
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _upload(session: aiohttp.ClientSession, text: str) -> None:
    body = {
        "textContent": text,
        "addToWorkspaces": WORKSPACE,
        "metadata": {"title": "bench", "docSource": text[:20]},
    }
    async with session.post("/api/v1/document/raw-text", json=body) as answer:
        location = (await answer.json())["documents"][0]["location"]
    async with session.get(f"/api/v1/document/{location.rpartition('/')[2]}") as answer:
        if not (await answer.json())["document"]["cached"]:
            raise RuntimeError("the simulated server did not embed")


def _event(number: int) -> Event:
    first = number * _CHUNKS_A_DOCUMENT
    return {
        "id": f"bench-{number}",
        "title": f"Bench {number}",
        "technology": "bench",
        "source_url": f"https://example.com/{number}",
        "chunks": [
            {"id": f"bench-{number}_{n}", "content": _text(first + n)}
            for n in range(_CHUNKS_A_DOCUMENT)
        ],
    }


def _text(number: int) -> str:
    lamp = number // _CHUNKS_A_DOCUMENT
    return f"chunk number {number:06d}. " + f"Lamp {lamp:05d} is trimmed before sunrise. " * 22


def _embedded(journal: Path) -> list[float]:
    entries = [orjson.loads(line) for line in journal.read_bytes().splitlines(keepends=True)[:-1]]
    ours = {
        entry["location"]
        for entry in entries
        if entry["action"] == "document.stored" and '"alc":1' in entry["doc_source"]
    }
    return [
        entry["at"]
        for entry in entries
        if entry["action"] == "document.embedded" and entry["location"] in ours
    ]


def _searches(journal: Path) -> int:
    """How many searches were answered since the first upload of ours."""
    entries = [orjson.loads(line) for line in journal.read_bytes().splitlines()]
    first = next(n for n, entry in enumerate(entries) if '"alc":1' in entry.get("doc_source", ""))
    return sum(
        "vector-search" in entry.get("path", "")
        for entry in entries[first:]
        if entry["action"] == "request.answered"
    )
