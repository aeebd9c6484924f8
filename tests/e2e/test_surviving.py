"""What a Kafka operator takes for granted, at full length: minutes of work with all that goes on.

Members of the group come and go, brokers restart, one document is huge, thousands are small. What
is stored, answered and committed is the same as on a quiet day.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import pytest

from consumer.contract.received_result import ReceivedResult
from consumer.kafka.connection import KafkaConnection
from consumer.sandbox.kafka import LocalKafka
from consumer.sandbox.samples import sample_documents
from consumer.sandbox.simulator import Simulator
from tests.e2e.crew import Crew, Event, Instance, publishing, trespasses
from tests.e2e.support import (
    Json,
    Process,
    Programs,
    Stage,
    chunk_ids,
    settings_for,
    stored,
    topics_of,
    uploads,
)

pytestmark = [pytest.mark.release, pytest.mark.timeout(240)]

MIB = 2**20
WORKSPACES = ("lanterns", "looms", "bells")
TOLD = ("assignment.received", "assignment.revoked", "document.settled", "document.dropped")
FLAT = 60 * MIB  # bytes above what it has with nothing to do


@pytest.fixture
async def wide_stage(bare_stage: Stage) -> AsyncIterator[Stage]:
    """Topics of 12 partitions."""
    async with topics_of(bare_stage.settings, 12):
        yield bare_stage
        await bare_stage.programs.close()


def by_identity(documents: Sequence[Json]) -> list[Event]:
    return [(document["id"], document) for document in documents]


def uploaded(stage: Stage) -> int:
    """How many texts AnythingLLM took so far, those of fresh workspaces too."""
    return stage.simulator.journal.count("document.stored")


async def until_uploaded(stage: Stage, more: int) -> None:
    """Wait until so many more texts were taken."""
    wanted = uploaded(stage) + more
    await stage.simulator.journal.wait_for("document.stored", wanted, seconds=90)


async def stopped(*processes: Process) -> None:
    """Stop in the orderly way."""
    for process in processes:
        process.signal(signal.SIGTERM)
    assert [await process.ended() for process in processes] == [0] * len(processes)


async def all_is_well(stage: Stage, documents: Sequence[Json]) -> list[ReceivedResult]:
    """Each document uploaded once, answered and committed; a second answer is the same event's."""
    results = await stage.results()
    by_event: dict[str, set[tuple[str, int, int]]] = {}
    for result in results:
        at = result.source
        by_event.setdefault(result.event_id, set()).add((at.topic, at.partition, at.offset))
    assert len(by_event) == len(documents)
    assert all(len(places) == 1 for places in by_event.values())
    assert len(set.union(*by_event.values())) == len(documents)
    assert {result.status for result in results} == {"succeeded"}
    copies = stored(stage.simulator)
    found = Counter((copy.document_id, copy.chunk_id) for copy in copies)
    wanted = Counter(chunk_ids(documents))
    assert (wanted - found, found - wanted) == (Counter(), Counter())  # lost, too many
    # Not even for a while: doubles that were removed again have been uploaded.
    assert Counter(uploads(stage.simulator)) == wanted
    assert all(copy.searchable for copy in copies)
    assert set((await stage.unsettled()).values()) == {0}
    return results


async def test_members_come_and_go(wide_stage: Stage) -> None:
    """Two instances share the work; a third joins and leaves all the time, killed every third time.

    Nobody uploads a chunk of a partition that is not theirs (any more), and so each is stored once.
    """
    stage = wide_stage
    documents = sample_documents(2000, seed=17, technologies=WORKSPACES, max_chunks=2)
    portions = [documents[start : start + 250] for start in range(0, 2000, 250)]
    instances: list[Instance] = []
    async with AsyncExitStack() as doors, publishing(stage) as publish:
        crew = Crew(stage, doors)
        instances += [await crew.join(), await crew.join()]
        first, second = instances
        await publish(by_identity(portions[0]))
        await until_uploaded(stage, 100)  # the workspaces are there and ready
        stage.simulator.faults.latency = 0.05
        for turn, portion in enumerate(portions[1:]):
            await publish(by_identity(portion[:125]))
            third = await crew.join()
            instances.append(third)
            await publish(by_identity(portion[125:]))
            await third.door.until_used()
            if turn % 3 == 2:
                await third.process.kill()
            else:
                await stopped(third.process)
        await stage.until_results(len(documents), seconds=90)
        await stopped(first.process, second.process)

        results = await all_is_well(stage, documents)
        partition_of = {
            str(result.document_id): f"{result.source.topic}-{result.source.partition}"
            for result in results
        }
        assert trespasses(instances, partition_of) == []
        logs = [line for instance in instances for line in instance.process.logged()]
        print("seen", Counter(line["event"] for line in logs if line["event"] in TOLD))
        print("repeated", len(results) - len(documents))


async def test_brokers_restart(
    own_kafka: LocalKafka,
    unique_name: Callable[[str], str],
    simulated: Simulator,
    programs: Programs,
) -> None:
    """Five clean restarts and five power cuts in mid-work, and the process goes on by itself."""
    documents = sample_documents(1_000, seed=19, technologies=WORKSPACES, max_chunks=4)
    settings = settings_for(unique_name, own_kafka.bootstrap_servers, simulated)
    settings["KAFKA_DELIVERY_TIMEOUT_SECONDS"] = "5"
    stage = Stage(settings, KafkaConnection(own_kafka.bootstrap_servers), simulated, programs)
    async with topics_of(settings, 12):
        async with publishing(stage) as publish:
            await publish(by_identity(documents))
        simulated.faults.latency = 0.02
        service = await stage.run()
        for turn in range(10):
            await until_uploaded(stage, 100)
            await own_kafka.stop(hard=turn % 2 == 1)
            await own_kafka.start()
        assert uploaded(stage) < len(chunk_ids(documents))  # all of them were in mid-work
        await stage.until_results(len(documents), seconds=90)
        assert len(service.logged("service.started")) == 1
        await stopped(service)
        results = await all_is_well(stage, documents)
        print("repeated", len(results) - len(documents))


def large_document(chunks: int) -> Json:
    (document,) = sample_documents(1, seed=23, technologies=WORKSPACES, max_chunks=1)
    texts = [f"Entry {number} of the log book: {'calm sea. ' * 20}" for number in range(chunks)]
    document["chunks"] = [
        {"id": f"log_{number}", "content": text, "chunk_index": number, "total_chunks": chunks}
        for number, text in enumerate(texts)
    ]
    return document


async def test_a_huge_document_starves_nobody(wide_stage: Stage) -> None:
    """1,000 small documents that come behind one of 10,000 chunks are answered long before it is.

    Its memory goes by what is in flight: the huge one costs at most 60 MB.
    """
    stage = wide_stage
    huge = large_document(10_000)
    small = sample_documents(1000, seed=29, technologies=WORKSPACES, max_chunks=2)
    service = await stage.run(KAFKA_SESSION_TIMEOUT_SECONDS="6")
    await service.until_ready()
    idle = service.memory()
    async with publishing(stage) as publish:
        await publish(by_identity([huge]))
        await until_uploaded(stage, 50)
        await publish(by_identity(small))
    await stage.until_results(len(small), seconds=90)
    of_the_huge_one = uploaded(stage) - len(chunk_ids(small))
    assert of_the_huge_one < 3000
    assert huge["id"] not in {result.document_id for result in await stage.results()}
    await stage.until_results(len(small) + 1, seconds=150)
    peak = service.peak_memory()
    print("chunks before the small ones", of_the_huge_one)
    print("MiB above idle", round((peak - idle) / MIB, 1))
    assert peak - idle < FLAT
    await stopped(service)
    await all_is_well(stage, [huge, *small])


def versions(document: Json, count: int) -> list[Json]:
    """A page as it was published again and again, minute by minute; each text has its number."""
    day = datetime(2026, 3, 1, tzinfo=UTC)
    (chunk,) = document["chunks"]
    return [
        {
            **document,
            "created_at": (day + timedelta(minutes=number)).isoformat(),
            "chunks": [
                {**chunk, "id": f"part_{part}", "content": f"Part {part} of version {number}."}
                for part in range(3)
            ],
        }
        for number in range(count)
    ]


async def test_32_documents_of_one_identity(wide_stage: Stage) -> None:
    """As many as the window holds, published at once: the newest one's chunks are stored.

    While the first one hangs in AnythingLLM the others wait for it, and nobody waits for them:
    what a newer one overtakes is answered at once, and all other identities are worked.
    """
    stage = wide_stage
    first, *others = sample_documents(61, seed=37, technologies=WORKSPACES, max_chunks=1)
    page = versions(first, 32)
    hanging = stage.simulator.faults.add("hold", path="*/raw-text", contains="of version 0.")
    service = await stage.run()
    async with publishing(stage) as publish:
        await publish(by_identity([*page, *others]))
    waiting = 2  # the one that hangs and the newest one
    early = await stage.until_results(len(page) + len(others) - waiting, seconds=90)
    assert hanging.fired
    hanging.released = True
    results = await stage.until_results(len(page) + len(others))
    await stopped(service)

    about_the_page = [result for result in early if result.document_id == first["id"]]
    assert {result.status for result in about_the_page} == {"superseded"}
    statuses = Counter(result.status for result in results if result.document_id == first["id"])
    assert statuses == {"succeeded": 2, "superseded": 30}
    found = Counter(
        copy.text for copy in stored(stage.simulator) if copy.document_id == first["id"]
    )
    assert found == {f"Part {part} of version 31.": 1 for part in range(3)}
    assert {result.document_id for result in early} >= {other["id"] for other in others}
    assert set((await stage.unsettled()).values()) == {0}


def portion(number: int, document: Json) -> list[Event]:
    """A thousand events: new documents, the same again as of later, tombstones of older ones."""
    day = datetime(2026, 3, 1, tzinfo=UTC)

    def named(index: int, of: int, later: int = 0) -> Event:
        name = f"small_{of}_{index}"
        (chunk,) = document["chunks"]
        text = f"{name}: {chunk['content']}"
        created = (day + timedelta(minutes=later)).isoformat()
        chunks = [{**chunk, "id": f"{name}_chunk_0", "content": text}]
        url = f"https://docs.example/{name}"
        return name, {
            **document, "id": name, "source_url": url, "chunks": chunks, "created_at": created,
        }  # fmt: skip

    new = [named(index, number) for index in range(150)]
    again = [named(index, number, later) for later in range(1, 5) for index in range(150)]
    before: list[Event] = [(f"small_{number - 1}_{index}", None) for index in range(150)]
    unknown: list[Event] = [(f"unknown_{number}_{index}", None) for index in range(100)]
    return new + again + before + unknown


async def test_memory_does_not_go_by_history(wide_stage: Stage) -> None:
    """After 50,000 small events the process is as small as after the first 4,000."""
    stage = wide_stage
    (document,) = sample_documents(1, seed=31, technologies=("flat",), max_chunks=1)
    service = await stage.run(ROUTING_WORKSPACE="flat", KAFKA_SESSION_TIMEOUT_SECONDS="6")
    await service.until_ready()
    sizes = []
    async with publishing(stage) as publish:
        for number in range(50):
            await publish(portion(number, document))
            await service.until_metrics(settled_are((number + 1) * 1000), "the portion is settled")
            sizes.append(service.memory())
    print("MiB after each thousand", [round(size / MIB) for size in sizes])
    assert sizes[-1] - sizes[3] < FLAT / 2
    await stopped(service)
    assert set((await stage.unsettled()).values()) == {0}
    results = await stage.results()
    assert len({result.event_id for result in results}) == 50_000
    assert {result.status for result in results} <= {"succeeded", "superseded", "deleted"}
    assert len(stored(stage.simulator)) == 150


def settled_are(count: int) -> Callable[[dict[str, float]], bool]:
    """Whether so many events are settled, whatever became of them."""

    def are(metrics: dict[str, float]) -> bool:
        return count <= sum(n for name, n in metrics.items() if name.startswith("documents_total"))

    return are
