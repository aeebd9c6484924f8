"""How fast the journey is, beside a bare loop over the same server: `make bench`.

Each scenario runs against a simulated AnythingLLM in a process of its own, first the bare loop
(aiohttp: upload, then the proof, nothing else), then the service as a process on a real Kafka.
Both have as many requests in flight. The last line of output is JSON.

Where a vector database refuses vectors without a word, a search has to find each chunk. What that
costs is measured on a simulated pgvector, in turns with the same service told that it is LanceDB.

Figures are from the first upload to the last; start and readiness are left out. ``busy`` is the
share of the slots' time in which an upload was under way, by the service's own metrics.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from consumer.kafka.publisher import OutgoingRecord, Publisher
from consumer.kafka.topics import open_admin
from consumer.model.names import Identity
from consumer.operations.publish import Publishable, publish_all
from consumer.sandbox.kafka import LocalKafka, local_kafka
from consumer.sandbox.kafka.broker import free_ports
from consumer.settings import load_settings
from consumer.wiring.kafka import kafka_connection
from consumer.wiring.topics import topic_specs

KEY = "bench-key"
WORKSPACE = "bench"
CHUNKS_A_DOCUMENT = 10


@dataclass(frozen=True, slots=True)
class Scenario:
    """What the server is like, and how much is sent to it.

    Args:
        name: for the output.
        chunks: how many are stored.
        slots: requests in flight.
        latency: seconds before every answer.
        upload_cost: seconds of the server's only thread an upload takes.
        search_cost: seconds of it a search takes.
        vector_db: what the server has.
        believed: what the service is told that it has; "" has it ask.
    """

    name: str
    chunks: int
    slots: int
    latency: float = 0.0
    upload_cost: float = 0.0
    search_cost: float = 0.0
    vector_db: str = "lancedb"
    believed: str = ""


_REAL = Scenario("cost of the real server, 5 in flight", chunks=300, slots=5, upload_cost=0.052)
SCENARIOS = (Scenario("20 ms latency, 20 in flight", chunks=2_000, slots=20, latency=0.02), _REAL)

SEARCH_COSTS = {2_300: 0.040, 22_000: 0.069, 102_000: 0.355}
"""Seconds by vectors of all workspaces, measured on AnythingLLM 1.16 with pgvector 0.6.2."""


@dataclass(frozen=True, slots=True)
class Figures:
    """One scenario's outcome; ``ratio`` is journey over bare loop."""

    scenario: str
    chunks: int
    bare_chunks_per_second: float
    journey_chunks_per_second: float
    ratio: float
    busy: float
    peak_memory_mb: float


@dataclass(frozen=True, slots=True)
class ProofFigures:
    """What proof by search costs: ``ratio`` is by search over by ``cached``."""

    vectors: int
    cached_chunks_per_second: float
    search_chunks_per_second: float
    ratio: float
    searches_per_chunk: float


async def measure_proof(vectors: int, kafka: LocalKafka, rng: random.Random) -> ProofFigures:
    """Run the service on pgvector's ways, believing ``cached`` and not believing it."""
    here = replace(_REAL, vector_db="pgvector", search_cost=SEARCH_COSTS[vectors])
    rates, searches = [], 0
    for believed in ("lancedb", ""):
        scenario = replace(here, believed=believed)
        with tempfile.TemporaryDirectory() as folder:
            journal = Path(folder) / "journey"
            async with _server(scenario, journal) as (endpoint, _):
                seconds, _, _ = await _journey(scenario, kafka, endpoint, journal, rng)
            searches = _searches(journal)
        rates.append(scenario.chunks / seconds)
    return ProofFigures(
        vectors=vectors,
        cached_chunks_per_second=round(rates[0], 1),
        search_chunks_per_second=round(rates[1], 1),
        ratio=round(rates[1] / rates[0], 2),
        searches_per_chunk=round(searches / here.chunks, 2),
    )


async def measure(scenario: Scenario, kafka: LocalKafka, rng: random.Random) -> Figures:
    """Run one scenario, bare and whole."""
    with tempfile.TemporaryDirectory() as folder:
        async with _server(scenario, Path(folder) / "bare") as (_, session):
            bare = await _bare(scenario, session)
        journal = Path(folder) / "journey"
        async with _server(scenario, journal) as (endpoint, _):
            seconds, busy, memory = await _journey(scenario, kafka, endpoint, journal, rng)
    whole = scenario.chunks / seconds
    return Figures(
        scenario=scenario.name,
        chunks=scenario.chunks,
        bare_chunks_per_second=round(bare, 1),
        journey_chunks_per_second=round(whole, 1),
        ratio=round(whole / bare, 2),
        busy=round(busy, 3),
        peak_memory_mb=round(memory, 1),
    )


@asynccontextmanager
async def _server(
    scenario: Scenario, journal: Path
) -> AsyncIterator[tuple[str, aiohttp.ClientSession]]:
    """A simulated server whose workspace has its table already."""
    costs = ("--upload-cost", str(scenario.upload_cost), "--search-cost", str(scenario.search_cost))
    words: tuple[str, ...] = ("--json", "--api-key", KEY, "--vector-db", scenario.vector_db, *costs)
    words = (*words, "--journal", str(journal))
    async with _process("simulate", *words, env={}) as process:
        assert process.stdout is not None
        endpoint = orjson.loads(await process.stdout.readline())["endpoint"]
        headers = {"Authorization": f"Bearer {KEY}"}
        connector = aiohttp.TCPConnector(limit=scenario.slots + 2)
        async with aiohttp.ClientSession(endpoint, headers=headers, connector=connector) as session:
            async with session.post("/api/v1/workspace/new", json={"name": WORKSPACE}):
                pass
            await _upload(session, "first")
            async with session.put("/_sim/faults", json={"latency": scenario.latency}) as answer:
                answer.raise_for_status()
            yield endpoint, session


async def _bare(scenario: Scenario, session: aiohttp.ClientSession) -> float:
    """Chunks a second of a loop that does the least that proves anything."""
    left = iter(range(scenario.chunks))

    async def work() -> None:
        for number in left:
            await _upload(session, _text(number))

    started = time.monotonic()
    await asyncio.gather(*(work() for _ in range(scenario.slots)))
    return scenario.chunks / (time.monotonic() - started)


async def _upload(session: aiohttp.ClientSession, text: str) -> None:
    body = {
        "textContent": text,
        "addToWorkspaces": WORKSPACE,
        "metadata": {"title": "bench", "docSource": text[:20], "published": 1_700_000_000_000},
    }
    async with session.post("/api/v1/document/raw-text", json=body) as answer:
        location = (await answer.json())["documents"][0]["location"]
    async with session.get(f"/api/v1/document/{location.rpartition('/')[2]}") as answer:
        if not (await answer.json())["document"]["cached"]:
            raise RuntimeError("the simulated server did not embed")


async def _journey(
    scenario: Scenario,
    kafka: LocalKafka,
    endpoint: str,
    journal: Path,
    rng: random.Random,
) -> tuple[float, float, float]:
    """Seconds, busy share of the slots, and peak memory in MB of the service."""
    (port,) = free_ports(1, rng)
    env = _environment(scenario, kafka, endpoint, port, f"test-bench-{rng.getrandbits(32):08x}")
    settings = load_settings(env)
    connection = kafka_connection(settings)
    async with open_admin(connection) as admin:
        await admin.create(topic_specs(settings), 1)
    await _publish(scenario, connection, settings.kafka.documents_topic)
    async with _process("run", env=env) as process:
        stored = await _all_stored(scenario, journal)
        async with aiohttp.request("GET", f"http://127.0.0.1:{port}/metrics") as answer:
            metrics = _metrics(await answer.text())
        memory = _peak_memory_mb(process.pid)
    async with open_admin(connection) as admin:
        await admin.delete([spec.name for spec in topic_specs(settings)])
    seconds = stored[-1] - stored[0]
    uploading = metrics["anythingllm_consumer_upload_seconds_sum"]
    return seconds, uploading / (seconds * scenario.slots), memory


def _environment(
    scenario: Scenario, kafka: LocalKafka, endpoint: str, port: int, prefix: str
) -> dict[str, str]:
    topics = ("DOCUMENTS", "REPLAY", "RESULTS", "DEAD_LETTERS", "PARKED")
    return {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "KAFKA_GROUP_ID": f"{prefix}-group",
        **{f"KAFKA_{name}_TOPIC": f"{prefix}-{name.lower()}" for name in topics},
        "ANYTHINGLLM_ENDPOINT": endpoint,
        "ANYTHINGLLM_API_KEY": KEY,
        "ANYTHINGLLM_VECTOR_DB": scenario.believed,
        "ROUTING_WORKSPACE": WORKSPACE,
        "UPLOAD_MAX_CHUNKS_IN_FLIGHT": str(scenario.slots),
        "ADMIN_PORT": str(port),
        "LOG_LEVEL": "warning",
    }


async def _publish(scenario: Scenario, connection: Any, topic: str) -> None:
    publisher = Publisher(connection, give_up=True)
    await publisher.start()

    async def send(key: bytes, value: bytes) -> None:
        await publisher.publish(OutgoingRecord(topic, key, value))

    events = [_event(number) for number in range(scenario.chunks // CHUNKS_A_DOCUMENT)]
    try:
        await publish_all(
            [Publishable(Identity(f"bench-{n}"), event) for n, event in enumerate(events)], send
        )
    finally:
        await publisher.stop()


def _event(number: int) -> bytes:
    first = number * CHUNKS_A_DOCUMENT
    chunks = [
        {"id": f"bench-{number}_{n}", "content": _text(first + n)} for n in range(CHUNKS_A_DOCUMENT)
    ]
    event = {
        "id": f"bench-{number}",
        "title": f"Bench {number}",
        "technology": "bench",
        "source_url": f"https://example.com/{number}",
        "chunks": chunks,
    }
    return orjson.dumps(event)


def _text(number: int) -> str:
    lamp = number // CHUNKS_A_DOCUMENT
    return f"chunk number {number:06d}. " + f"Lamp {lamp:05d} is trimmed before sunrise. " * 22


async def _all_stored(scenario: Scenario, journal: Path) -> list[float]:
    """When each of our chunks was embedded, once all are."""
    async with asyncio.timeout(300):
        while True:
            times = await asyncio.to_thread(_embedded, journal)
            if len(times) >= scenario.chunks:
                return sorted(times)
            await asyncio.sleep(1.0)


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


def _metrics(page: str) -> dict[str, float]:
    lines = (line.rpartition(" ") for line in page.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines if "{" not in name}


def _peak_memory_mb(pid: int) -> float:
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        (line,) = [line for line in status if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


@asynccontextmanager
async def _process(*words: str, env: dict[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "consumer", *words),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE if words[0] == "simulate" else asyncio.subprocess.DEVNULL,
        env=env or {name: os.environ[name] for name in ("PATH",) if name in os.environ},
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def main() -> None:
    """All scenarios, one after the other."""
    rng = random.Random()
    async with AsyncExitStack() as rooms:
        kafka = await rooms.enter_async_context(local_kafka())
        figures: list[Figures | ProofFigures] = []
        for scenario in SCENARIOS:
            one = await measure(scenario, kafka, rng)
            figures.append(one)
            print(
                f"{one.scenario}: bare {one.bare_chunks_per_second}/s, "
                f"journey {one.journey_chunks_per_second}/s, ratio {one.ratio}, "
                f"slots busy {one.busy:.1%}, peak memory {one.peak_memory_mb} MB"
            )
        for vectors in SEARCH_COSTS:
            proof = await measure_proof(vectors, kafka, rng)
            figures.append(proof)
            print(
                f"pgvector with {vectors:,} vectors: proof by cached "
                f"{proof.cached_chunks_per_second}/s, by search "
                f"{proof.search_chunks_per_second}/s, ratio {proof.ratio}, "
                f"searches a chunk {proof.searches_per_chunk}"
            )
        print(orjson.dumps([asdict(each) for each in figures]).decode())


if __name__ == "__main__":
    asyncio.run(main())
