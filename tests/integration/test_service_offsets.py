"""Offsets that are no events, and what is settled behind an open one, on a real broker."""

from __future__ import annotations

import asyncio
import functools
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from structlog.testing import capture_logs

from tests.integration.kafka_support import delete_records
from tests.integration.service_fixtures import MakeStage, Running, Stage
from tests.staging import document, eventually, header, texts


def value(id: str) -> bytes:
    return orjson.dumps(document(id, texts(id, 1)))


@asynccontextmanager
async def transactions(stage: Stage, id: str) -> AsyncIterator[AIOKafkaProducer]:
    async with AIOKafkaProducer(
        **stage.connection.client_options(), transactional_id=f"{stage.documents}-{id}"
    ) as producer:
        yield producer


async def send(stage: Stage, producer: AIOKafkaProducer, *ids: str) -> None:
    for id in ids:
        await producer.send_and_wait(stage.documents, value(id), key=id.encode(), partition=0)


async def lag(stage: Stage) -> int:
    """Partition 0 as Kafka's own tools count it: log end offset minus committed offset."""
    partition = TopicPartition(stage.documents, 0)
    async with AIOKafkaConsumer(**stage.connection.client_options()) as plain:
        ends = await plain.end_offsets([partition])
    return int(ends[partition]) - (await stage.committed())[0]


async def lag_is_gone(stage: Stage) -> None:
    async with asyncio.timeout(20):
        while await lag(stage):  # noqa: ASYNC110 - Kafka tells nobody
            await asyncio.sleep(0.05)


async def test_a_transaction_leaves_no_lag(stage: Stage) -> None:
    """Neither a marker nor what was aborted is an event: autoscalers and alerts come to rest."""
    await stage.start()
    async with transactions(stage, "t") as producer:
        async with producer.transaction():
            await send(stage, producer, "d0", "d1", "d2")
        await stage.wait_results(3)
        await lag_is_gone(stage)
        with suppress(ZeroDivisionError):
            async with producer.transaction():
                await send(stage, producer, *(f"x{n}" for n in range(20)))
                raise ZeroDivisionError
        await lag_is_gone(stage)

    await stage.stop()
    assert await lag(stage) == 0
    assert len(stage.results) == 3


async def test_a_restart_passes_markers_that_were_never_committed(stage: Stage) -> None:
    """A member of an older version stopped in front of the marker."""
    async with transactions(stage, "t") as producer, producer.transaction():
        await send(stage, producer, "d0")
    first = await stage.start()
    await stage.wait_results(1)
    await lag_is_gone(stage)
    await first.stop()
    await commit(stage, 1)
    second = await stage.start()
    await lag_is_gone(stage)
    await second.stop()

    assert len(stage.results) == 1


async def commit(stage: Stage, offset: int, metadata: str = "") -> None:
    """Set the group's offset in partition 0 while nobody is in it, as operators do."""
    partition = TopicPartition(stage.documents, 0)
    async with AIOKafkaConsumer(
        stage.documents,
        **stage.connection.client_options(),
        group_id=stage.settings.kafka.group_id,
        enable_auto_commit=False,
    ) as consumer:
        await consumer.commit({partition: (offset, metadata)})


@pytest.mark.parametrize("setting", ["latest", "earliest"])
async def test_a_marker_that_retention_takes_skips_nothing(
    make_stage: MakeStage, setting: str
) -> None:
    """The committed offset lay in front of it, out of range, and `latest` skipped new events."""
    stage = await make_stage({"KAFKA_AUTO_OFFSET_RESET": setting})
    running = await stage.start()
    async with transactions(stage, "t") as producer, producer.transaction():
        await send(stage, producer, "d0", "d1", "d2")
    await stage.wait_results(3)
    await lag_is_gone(stage)
    await running.stop()
    await delete_records(stage.connection, stage.documents, {0: 4})
    for n in range(5):
        await stage.publish(document(f"new{n}", texts(f"new{n}", 1)), partition=0)
    with capture_logs() as logs:
        again = await stage.start()
        await stage.wait_results(8)
        await again.stop()

    assert not [line for line in logs if line["event"] == "offset.out_of_range"]


async def test_a_transaction_that_nobody_ends_is_seen(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said once, named on the pages, counted apart from our own lag, and no starving."""
    monkeypatch.setattr("consumer.kafka.lag_watch._HELD_BACK_SECONDS", 1.0)
    monkeypatch.setattr("consumer.app.service._OBSERVE_SECONDS", 0.2)
    with capture_logs() as logs:
        running = await stage.start()
        source = running.service._source
        async with transactions(stage, "t") as producer:
            await producer.begin_transaction()
            await send(stage, producer, "open")
            for n in range(4):
                await stage.publish(document(f"behind{n}", texts(f"behind{n}", 1)), partition=0)
            await eventually(source.held_back)
            reasons = " ".join(running.service.condition.degraded())
            at_end, stable = (await source.lags())[stage.documents, 0], source.stable_lags
            starved = source.starved_seconds
            assert (at_end, stable[stage.documents, 0]) == (5, 0)
            assert f"holds back {stage.documents}-0 at offset 0" in reasons
            assert starved < 1.0
            assert running.service.condition.ready() == []
            await producer.abort_transaction()
            await stage.wait_results(4)
            await eventually(lambda: not source.held_back())
        await running.stop()

    said = [line for line in logs if line["event"] == "partition.held_back"]
    assert [(line["partition"], line["offset"]) for line in said] == [(0, 0)]


async def test_a_record_that_left_the_clients_buffer_is_not_lost(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Instrumentation wraps the client's poll and may raise with the record in its hands."""
    raised = Counter[int]()
    original = AIOKafkaConsumer.getmany

    async def wrapped(self: AIOKafkaConsumer, *partitions: Any, **options: Any) -> Any:
        batch = await original(self, *partitions, **options)
        for records in batch.values():
            for record in records:
                if record.topic == stage.documents and not raised[record.offset]:
                    raised[record.offset] += 1
                    raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "a header that is no UTF-8")
        return batch

    monkeypatch.setattr(AIOKafkaConsumer, "getmany", wrapped)
    monkeypatch.setattr("consumer.kafka.source._FAILED_SECONDS", 0.01)
    for n in range(6):
        await stage.publish(document(f"d{n}", texts(f"d{n}", 1)), partition=n % 2)
    await stage.start()
    await stage.wait_results(6)
    await stage.wait_committed()
    await stage.stop()

    assert raised == Counter({0: 1, 1: 1, 2: 1})
    assert len(stage.results) == 6


@pytest.mark.parametrize("wrapped", [True, False])
async def test_a_record_on_which_every_poll_raises_holds_nobody_up(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, wrapped: bool
) -> None:
    """It is taken from the client itself; where that raises, it is dead-lettered by its place."""
    group, original = stage.settings.kafka.group_id, AIOKafkaConsumer.getmany

    async def raising(self: AIOKafkaConsumer, *partitions: Any, **options: Any) -> Any:
        batch = await original(self, *partitions, **options)
        for record in (record for records in batch.values() for record in records):
            if self._group_id == group and record.offset == 1:
                raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "a header that is no UTF-8")
        return batch

    if wrapped:
        raising = functools.wraps(original)(raising)
    monkeypatch.setattr(AIOKafkaConsumer, "getmany", raising)
    monkeypatch.setattr("consumer.kafka.source._FAILED_SECONDS", 0.01)
    for n in range(4):
        await stage.publish(document(f"d{n}", texts(f"d{n}", 1)), partition=0)
    await stage.start()
    results = await stage.wait_results(4 if wrapped else 3)
    await stage.wait_committed()
    await stage.stop()

    letters = [header(letter, "__connect.errors.offset") for letter in stage.dead_letters]
    assert letters == ([] if wrapped else ["1"])
    assert {result["status"] for result in results} == {"succeeded"}


async def _settled_behind_an_open_one(stage: Stage, count: int) -> Running:
    """A service in which one document waits and so many behind it are answered."""
    stage.simulator.faults.add("status", path="*/raw-text", contains="of slow", status=503)
    running = await stage.start()
    await stage.publish(document("slow", texts("slow", 1)), partition=0)
    await running.has_open(1)
    for n in range(count):
        await stage.publish(document(f"d{n}", texts(f"d{n}", 1)), partition=0)
    await stage.wait_results(count)
    return running


async def test_what_was_answered_behind_an_open_document_is_not_answered_again(
    stage: Stage,
) -> None:
    """The offset can't be committed; the metadata beside it says which events are done."""
    running = await _settled_behind_an_open_one(stage, 12)
    await running.stop()
    assert (await stage.committed())[0] == 0
    stage.simulator.faults.clear()
    again = await stage.start()
    await stage.wait_results(13)
    await stage.wait_committed()
    await again.stop()

    assert len(stage.results) == 13
    assert stage.uploads() == 13


@pytest.mark.parametrize("metadata", ["", "somebody's own text", "alc3.AAAA", "alc2.AAAA"])
async def test_what_others_committed_beside_the_offset_is_dropped(
    stage: Stage, metadata: str
) -> None:
    """Reset by hand, by an older version, by one to come: worked again, by equal event ids."""
    running = await _settled_behind_an_open_one(stage, 3)
    await running.stop()
    await commit(stage, 0, metadata)
    stage.simulator.faults.clear()
    again = await stage.start()
    await stage.wait_committed()
    await again.stop()

    repeats = Counter(result["event_id"] for result in stage.results)
    assert sorted(repeats.values()) == [1, 2, 2, 2]
    assert stage.uploads() == 4
