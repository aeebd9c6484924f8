"""Kafka's own troubles: brokers that go and come back, topics that are missing, and rebalances."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import orjson
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from consumer.kafka.topics import open_admin
from consumer.sandbox.kafka import LocalKafka
from consumer.wiring.topics import topic_specs
from tests.integration.service_fixtures import MakeStage, Running, Stage, open_stage
from tests.staging import document, eventually, texts


def _events(count: int, chunks: int = 4) -> list[dict[str, object]]:
    return [document(f"doc-{n}", texts(f"doc-{n}", chunks)) for n in range(count)]


def _wanted(count: int, chunks: int = 4) -> dict[str, list[str]]:
    return {f"doc-{n}": sorted(texts(f"doc-{n}", chunks)) for n in range(count)}


async def test_a_broker_that_dies_in_mid_work_costs_nothing(
    own_kafka: LocalKafka, unique_name: Callable[[str], str]
) -> None:
    """After a power cut and a restart every event is answered, and every chunk stored once.

    What is repeated carries the same event id.
    """
    settings = {"KAFKA_DELIVERY_TIMEOUT_SECONDS": "3"}
    async with open_stage(own_kafka, unique_name, settings) as stage:
        stage.simulator.faults.embedder_latency = 0.02
        await stage.publish_all(_events(40))
        await stage.start()
        await stage.wait_results(5)
        await own_kafka.stop(hard=True)
        await stage.simulator.journal.wait_for("document.embedded", 40)
        await own_kafka.start()
        await stage.wait_results(40, seconds=90)
        await stage.finish()

        assert stage.stored() == _wanted(40)
        assert stage.dead_letters == []
        assert len({result["event_id"] for result in stage.results}) == 40


@pytest.mark.parametrize("purpose", ["results out", "dead letters out"])
async def test_while_an_output_topic_is_missing_nothing_is_committed(
    make_stage: MakeStage, purpose: str
) -> None:
    """The service waits, not ready, and goes on by itself once the topic is there."""
    stage = await make_stage({"KAFKA_DELIVERY_TIMEOUT_SECONDS": "1"})
    await stage.publish_all(_events(3))
    await stage.publish(b"{", key="bad")
    missing = next(s for s in topic_specs(stage.settings, 3) if s.purpose == purpose)
    await _delete(stage, missing.name)
    running = await stage.start(ready=False)
    await _not_ready_for(running, missing.name)
    committed = await stage.committed()
    assert sum(committed.values()) < 4
    await stage.create_topics(purpose)
    await stage.wait_results(3)
    await stage.wait_dead_letters(1)
    await running.ready()
    await stage.finish()


async def _delete(stage: Stage, topic: str) -> None:
    await stage.unfollow(topic)
    async with open_admin(stage.connection) as admin:
        await admin.delete([topic])
        async with asyncio.timeout(20):
            while await admin.partitions(topic):  # noqa: ASYNC110
                await asyncio.sleep(0.05)  # nobody tells when a topic is gone


async def _not_ready_for(running: Running, topic: str) -> None:
    await eventually(lambda: any(topic in reason for reason in running.service.condition.ready()))


async def test_an_output_topic_that_vanishes_in_mid_work_is_waited_for(stage: Stage) -> None:
    """Nothing is committed that Kafka has not acknowledged the result of."""
    stage.env["KAFKA_DELIVERY_TIMEOUT_SECONDS"] = "1"
    running = await stage.start()
    results = stage.settings.kafka.results_topic
    await _delete(stage, results)
    await stage.publish_all(_events(3))
    await _not_ready_for(running, results)
    committed = await stage.committed()
    assert sum(committed.values()) == 0
    await stage.create_topics("results out")
    await stage.wait_results(3)
    await running.ready()
    await stage.finish()

    assert stage.stored() == _wanted(3)


async def test_members_join_and_leave_in_mid_work(stage: Stage) -> None:
    """Every chunk is stored once and every event answered, whoever has its partition when."""
    stage.simulator.faults.embedder_latency = 0.02
    await stage.publish_all(_events(60))
    first = await stage.start()
    await stage.wait_results(5)
    second = await stage.start(ready=False)
    await eventually(lambda: second.service._source.assigned)
    await stage.wait_results(20)
    third = await stage.start(ready=False)
    await eventually(lambda: third.service._source.assigned)
    await first.stop()
    await stage.wait_results(60)
    await stage.finish()

    assert stage.stored() == _wanted(60)
    assert stage.dead_letters == []
    assert len({result["event_id"] for result in stage.results}) == 60


async def test_a_rebalance_in_an_outage_does_not_wait_for_its_end(stage: Stage) -> None:
    """Documents that wait are dropped at once: the newcomer gets its partitions, and works them."""
    first = await stage.start()
    stage.simulator.faults.add("status", status=503, path="*/raw-text")
    await stage.publish_all(_events(20))
    await first.has_open(20)
    second = await stage.start(ready=False)
    await eventually(lambda: second.service._source.assigned)
    stage.simulator.faults.clear()
    await stage.wait_results(20)
    await stage.finish()

    assert stage.stored() == _wanted(20)
    assert stage.uploads() == 80


class _NotUtf8(str):
    """A header name that goes out as bytes no UTF-8 text has."""

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return b"\xff\xfe"


async def _publish_unreadable(stage: Stage, partition: int) -> None:
    """A record with such a header name, past aiokafka's own checks."""
    async with AIOKafkaProducer(bootstrap_servers=stage.kafka.bootstrap_servers) as producer:
        batch = producer.create_batch()
        batch._builder = _DefaultRecordBatchBuilderPy(2, 0, 0, -1, -1, 0, 16_384)
        batch.append(timestamp=None, key=b"x", value=b"{}", headers=[(_NotUtf8("x"), b"")])
        batch.close()
        await (await producer.send_batch(batch, stage.documents, partition=partition))


async def test_a_record_that_the_client_cannot_read_is_stepped_past(stage: Stage) -> None:
    """Those before and behind it are stored; it is dead-lettered by its place, and counted."""
    await stage.publish(document("before", ["one"]), partition=0)
    await _publish_unreadable(stage, partition=0)
    await stage.publish(document("behind", ["one"]), partition=0)
    for number in range(3):
        await stage.publish(document(f"other-{number}", ["one"]), partition=1)
    running = await stage.start()
    await stage.wait_results(5)
    (letter,) = await stage.wait_dead_letters(1)
    await stage.wait_committed()
    unreadable = running.service._metrics.unreadable_records._value.get()
    await running.stop()

    headers = dict(letter.headers)
    assert headers["dlq.reason"] == b"undecodable"
    place = (headers["__connect.errors.partition"], headers["__connect.errors.offset"])
    assert place == (b"0", b"1")
    reference = orjson.loads(letter.value or b"")
    assert (reference["partition"], reference["offset"]) == (0, 1)
    assert reference["value_sha256"] is None
    assert unreadable == 1
    assert {"before", "behind"} <= set(stage.stored())


async def test_a_bomb_is_dead_lettered_without_being_unfolded(stage: Stage) -> None:
    """261 kB of gzip would unfold to 256 MiB; the records behind it are worked."""
    producer = AIOKafkaProducer(
        bootstrap_servers=stage.kafka.bootstrap_servers,
        compression_type="gzip",
        max_request_size=200 * 1024 * 1024,
    )
    async with producer:
        bomb = b"a" * (80 * 1024 * 1024)
        await producer.send_and_wait(stage.documents, key=b"bomb", value=bomb, partition=0)
    await stage.publish(document("behind", ["one"]), partition=0)
    await stage.start()
    await stage.wait_results(1)
    (letter,) = await stage.wait_dead_letters(1)

    assert dict(letter.headers)["dlq.reason"] == b"oversized"
    assert "behind" in stage.stored()


async def test_a_compacted_or_transactional_gap_is_stepped_over(
    stage: Stage, kafka: LocalKafka
) -> None:
    """Offsets of transaction markers are never received, and the commit goes past them.

    Records of an aborted transaction are nobody's.
    """
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap_servers, transactional_id=stage.documents
    )
    await producer.start()
    try:
        for kept, name in ((True, "kept"), (False, "aborted"), (True, "kept-too")):
            await producer.begin_transaction()
            value = orjson.dumps(document(name, ["one"]))
            await producer.send_and_wait(stage.documents, value, key=name.encode(), partition=0)
            await (producer.commit_transaction() if kept else producer.abort_transaction())
    finally:
        await producer.stop()
    await stage.publish(document("last", ["one"]), partition=0)
    await stage.start()
    results = await stage.wait_results(3)
    await stage.finish()

    assert Counter(r["document_id"] for r in results) == Counter(["kept", "kept-too", "last"])
    committed = await stage.committed()
    assert committed[0] == 7
