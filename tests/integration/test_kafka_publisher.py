"""What leaves through the publisher, as it lies in Kafka: codecs, headers, refusals."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import aiokafka
import pytest
import wrapt
from aiokafka import AIOKafkaProducer
from structlog.testing import capture_logs

from consumer.kafka.connection import KafkaConnection, KafkaUnavailableError
from consumer.kafka.publisher import OutgoingRecord, Publisher
from consumer.kafka.reader import open_reader
from consumer.model.record import Record
from consumer.operations.trial_writing import try_writing
from consumer.sandbox.kafka import LocalKafka
from consumer.wiring.kafka import kafka_clients
from tests.commands import Commands
from tests.conftest import MakeTopic
from tests.integration.picky_broker import picky_broker
from tests.integration.service_fixtures import MakeStage

PARENT = ("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
LONG = b"many times the same, so that it becomes smaller. " * 40


@pytest.fixture
def connection(kafka: LocalKafka) -> KafkaConnection:
    return KafkaConnection(kafka.bootstrap_servers)


async def _records(connection: KafkaConnection, topic: str) -> list[Record]:
    async with open_reader(connection) as reader:
        ranges = await reader.offset_ranges(topic)
        assert ranges is not None
        return [record async for record in reader.records(topic, ranges)]


@pytest.mark.parametrize("compression", ["none", "gzip", "lz4", "snappy", "zstd"])
async def test_every_codec_arrives(
    connection: KafkaConnection, make_topic: MakeTopic, compression: str
) -> None:
    """As KAFKA_COMPRESSION has it; the record is read back byte for byte."""
    topic = await make_topic()
    publisher = Publisher(replace(connection, compression=compression), give_up=True)
    await publisher.start()
    await publisher.publish(OutgoingRecord(topic, b"k", LONG, (("a", b"\xff"),)))
    await publisher.stop()

    (record,) = await _records(connection, topic)
    assert (record.key, record.value, record.headers) == (b"k", LONG, (("a", b"\xff"),))


@contextmanager
def _instrumented() -> Iterator[None]:
    """What OpenTelemetry's instrumentation for aiokafka, 0.66b1, does to ``send``; or itself."""
    try:
        from opentelemetry.instrumentation.aiokafka import (
            AIOKafkaInstrumentor,
        )
        from opentelemetry.sdk.trace import TracerProvider
    except ImportError:
        original = AIOKafkaProducer.send

        async def append(sent: Any, _: object, args: Any, kwargs: Any) -> Any:
            kwargs["headers"].append(
                ("traceparent", b"00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-01")
            )
            return await sent(*args, **kwargs)

        wrapt.wrap_function_wrapper(aiokafka.AIOKafkaProducer, "send", append)
        try:
            yield
        finally:
            AIOKafkaProducer.send = original
        return
    AIOKafkaInstrumentor().instrument(tracer_provider=TracerProvider())
    try:
        yield
    finally:
        AIOKafkaInstrumentor().uninstrument()


async def test_instrumentation_adds_nothing_to_the_headers_of_others(
    connection: KafkaConnection, make_topic: MakeTopic
) -> None:
    """What is dead-lettered and replayed keeps its headers byte for byte, its traceparent once.

    To what is wholly ours instrumentation adds its own, once.
    """
    topic = await make_topic()
    letter = (PARENT, ("a", b"\xff"), PARENT, ("dlq.reason", b"invalid"))
    with _instrumented():
        publisher = Publisher(connection, give_up=True)
        await publisher.start()
        await publisher.publish(OutgoingRecord(topic, b"k", b"letter", letter))
        await publisher.publish(OutgoingRecord(topic, b"k", b"bare", ()))
        ours = OutgoingRecord(topic, b"k", b"result", (("trace_id", b"1"),), open=True)
        await publisher.publish(ours)
        await publisher.stop()

    first, bare, result = await _records(connection, topic)
    assert first.headers == letter
    assert bare.headers == ()
    assert [name for name, _ in result.headers] == ["trace_id", "traceparent"]
    assert result.headers[0] == ("trace_id", b"1")


async def test_under_instrumentation_a_letter_and_its_replays_keep_one_traceparent(
    make_stage: MakeStage, commands: Commands
) -> None:
    """Dead-lettered, replayed, dead-lettered and parked: what the publisher gave is in each once.

    The trace ID is that of the event all along.
    """
    stage = await make_stage()
    kafka = stage.settings.kafka
    given = (PARENT, ("a", b"\xff"), ("a", b""))
    bad = b'{"id": "bad"}'
    with _instrumented():
        await stage.publish(bad, key="bad", headers=given)
        await stage.start()
        await stage.wait_dead_letters(1)
        replay = ("dlq", "replay", "--include-hopeless", "--yes")
        replayed = await commands.run(*replay, settings=stage.env)
        await stage.wait_dead_letters(2)
        again = await commands.run(*replay, settings=stage.env)
        await stage.wait_dead_letters(3)
        parked = await commands.run("dlq", "park", "--yes", settings=stage.env)
        await stage.finish()

    copies = [
        *stage.dead_letters,
        *await stage.everything(kafka.replay_topic),
        *await stage.everything(kafka.parked_topic),
    ]
    assert [ended.code for ended in (replayed, again, parked)] == [0, 0, 0]
    assert len(copies) == 3 + 2 + 1
    for copy in copies:
        names = [name for name, _ in copy.headers]
        assert copy.headers[: len(given)] == given
        assert names.count("traceparent") == 1
        ours = names[len(given) :]
        assert len(set(ours)) == len(ours)
    assert {result["trace_id"] for result in stage.results} == {PARENT[1].decode()[3:35]}
    for result in stage.result_records:
        assert [name for name, _ in result.headers] == ["trace_id", "traceparent"]


@pytest.mark.parametrize("code", [43, 76])
async def test_a_refused_codec_is_named_with_the_setting(
    connection: KafkaConnection, make_topic: MakeTopic, code: int
) -> None:
    """For a person who waits, and in the log of the service, which goes on when it is changed."""
    topic = await make_topic()
    record = OutgoingRecord(topic, b"k", LONG)
    async with picky_broker(connection.bootstrap_servers, code) as broker:
        there = replace(connection, bootstrap_servers=broker.address)
        waiting = Publisher(there, give_up=True)
        await waiting.start()
        with pytest.raises(KafkaUnavailableError, match="KAFKA_COMPRESSION") as told:
            await waiting.publish(record)
        await waiting.stop()
        assert f"compressed with lz4 (code {code})" in str(told.value)
        assert broker.refused == 1

        takes = Publisher(replace(there, compression="none"), give_up=True)
        await takes.start()
        await takes.publish(record)
        await takes.stop()
        assert broker.refused == 1


async def test_one_outage_of_many_records_is_one_line(
    connection: KafkaConnection, make_topic: MakeTopic, unique_name: Callable[[str], str]
) -> None:
    """Forty records that are refused, sent again and refused again: one line, with the cure."""
    topic = await make_topic()
    async with picky_broker(connection.bootstrap_servers, 76) as broker:
        publisher = Publisher(replace(connection, bootstrap_servers=broker.address))
        await publisher.start()
        record = OutgoingRecord(topic, b"k", LONG)
        with capture_logs() as logs:
            sending = [asyncio.create_task(publisher.publish(record)) for _ in range(40)]
            async with asyncio.timeout(40):
                while broker.refused < 3:  # noqa: ASYNC110 - a proxy tells nobody
                    await asyncio.sleep(0.05)
            lines = [line for line in logs if line["event"] == "publish.failed"]
            broker.takes = frozenset({0, 3})  # lz4
            async with asyncio.timeout(40):
                await asyncio.gather(*sending)
        await publisher.stop()

    assert len(lines) == 1
    assert "KAFKA_COMPRESSION" in lines[0]["what_to_do"]
    assert publisher.trouble is None


async def test_trying_to_write_finds_a_refused_codec(make_stage: MakeStage) -> None:
    """`check --try-writing` names each output topic and the setting, before anything is lost."""
    stage = await make_stage()
    async with picky_broker(stage.connection.bootstrap_servers, 76) as broker:
        settings = stage.with_settings(KAFKA_BOOTSTRAP_SERVERS=broker.address)
        clients = kafka_clients(settings)
        found = await try_writing(settings, clients, now=lambda: datetime.now(UTC))
        broker.takes |= {1}
        gzip = stage.with_settings(KAFKA_BOOTSTRAP_SERVERS=broker.address, KAFKA_COMPRESSION="gzip")
        mended = await try_writing(gzip, kafka_clients(gzip), now=lambda: datetime.now(UTC))

    assert [each.ok for each in found] == [False] * 3
    assert all("compressed with lz4 (code 76)" in each.text for each in found)
    assert all("KAFKA_COMPRESSION" in each.text for each in found)
    assert [each.ok for each in mended] == [True] * 3
