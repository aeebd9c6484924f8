"""AnythingLLM's worst moment: many processes upload first into workspaces that were never used.

There the server makes a workspace whose slug is taken under another slug, and a vector table that
is made twice loses what was in it; every answer says success all the same.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from consumer.anythingllm.sentinel import is_sentinel
from consumer.kafka.connection import KafkaConnection
from consumer.kafka.publisher import OutgoingRecord, Publisher
from consumer.sandbox.kafka import LocalKafka
from consumer.sandbox.simulator import Simulator
from consumer.sandbox.simulator import simulator as running_simulator
from tests.e2e.support import (
    CANARY,
    Json,
    Process,
    Programs,
    Stage,
    chunk_ids,
    settings_for,
    stored,
    topics_of,
    until,
    uploads,
)
from tests.staging import document, texts

pytestmark = [pytest.mark.release, pytest.mark.timeout(240)]

PROCESSES, CHUNKS = 4, 6
SLUGS = [f"fresh-{number:02}" for number in range(20)]
RACE_SECONDS = 0.5  # how long the server takes to make a table: ten times as long as usual


@pytest.fixture
async def stage(
    kafka: LocalKafka, unique_name: Callable[[str], str], programs: Programs
) -> AsyncIterator[Stage]:
    """One partition a process, and a server in which the races are wide open."""
    async with running_simulator(api_key=CANARY, creation_seconds=RACE_SECONDS) as server:
        settings = settings_for(unique_name, kafka.bootstrap_servers, server)
        settings["KAFKA_SESSION_TIMEOUT_SECONDS"] = "6"
        async with topics_of(settings, PROCESSES):
            yield Stage(settings, KafkaConnection(kafka.bootstrap_servers), server, programs)
            await programs.close()


def holds_one(stage: Stage, process: Process) -> bool:
    """Whether it has one partition of the documents topic, as it says itself."""
    topic = stage.settings["KAFKA_DOCUMENTS_TOPIC"]
    said = process.logged("assignment.received")
    return bool(said) and sum(each.startswith(topic) for each in said[-1]["partitions"]) == 1


async def publish(stage: Stage, partition: int, events: Sequence[Json]) -> None:
    """Documents for the process that has this partition."""
    publisher = Publisher(stage.connection, give_up=True)
    topic = stage.settings["KAFKA_DOCUMENTS_TOPIC"]
    await publisher.start()
    try:
        for each in events:
            value = json.dumps(each).encode()
            await publisher.publish(
                OutgoingRecord(topic, each["id"].encode(), value, (), partition)
            )
    finally:
        await publisher.stop()


def sentinels(server: Simulator) -> list[str]:
    """Files, rows and vectors of test documents."""
    left = [f.name for f in server.state.files.values() if is_sentinel(f.metadata["docSource"])]
    for slug in server.state.workspaces:
        left += [source for source, _, _ in server.chunks(slug) if is_sentinel(source)]
        table = server.tables.get(slug)
        vectors = [each for some in table.by_document.values() for each in some] if table else []
        left += [v.doc_id for v in vectors if is_sentinel(v.file.metadata["docSource"])]
    return left


async def test_four_processes_and_twenty_fresh_workspaces(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    """A document of 6 chunks from each process for each workspace: 24 of 24 chunks, 20 times.

    One workspace a slug; nothing of what it took to get there is left. The processes are in one
    consumer group, each with a partition of its own, and all of them are about to create all
    workspaces when the server begins to answer: so they race for each one, and for its table.
    """
    server = stage.simulator
    gate = server.faults.add("hold", path="*/workspace/new")
    processes = [await stage.run() for _ in range(PROCESSES)]
    await until(
        lambda: all(holds_one(stage, each) for each in processes), "a partition for each process"
    )
    names = [f"of-{process}-for-{{}}" for process in range(PROCESSES)]
    portions = [
        [document(n.format(slug), texts(n.format(slug), CHUNKS), technology=slug) for slug in SLUGS]
        for n in names
    ]
    await asyncio.gather(*(publish(stage, n, portion) for n, portion in enumerate(portions)))
    events = [event for portion in portions for event in portion]
    await server.journal.wait_for("request.held", len(events), seconds=60)
    gate.released = True
    results = await stage.until_results(len(events), seconds=120)
    for process in processes:
        process.signal(signal.SIGTERM)
    assert [await process.ended() for process in processes] == [0] * PROCESSES

    strays = server.journal.count("workspace.created") - len(SLUGS)
    wiped = server.journal.count("vectors.wiped")
    lost = server.journal.count("embedding.failed")
    with capsys.disabled():
        print(f" [workspaces too many: {strays}, tables wiped: {wiped}, not made: {lost}]", end="")
    assert strays > 0, "nobody raced for a workspace"
    assert wiped > 0, "nobody raced for a table"
    assert Counter(result.status for result in results) == {"succeeded": len(events)}
    copies = stored(server)
    assert Counter((copy.document_id, copy.chunk_id) for copy in copies) == Counter(
        chunk_ids(events)
    )
    assert all(copy.searchable for copy in copies)
    assert Counter(uploads(server)) == Counter(chunk_ids(events)), "and none was uploaded twice"
    assert sorted(server.state.workspaces) == SLUGS
    assert sentinels(server) == []
    assert len(server.state.files) == server.tables.total == len(copies) == 480
    assert set((await stage.unsettled()).values()) == {0}
