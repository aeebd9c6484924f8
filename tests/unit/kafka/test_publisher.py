"""What is said while records are not acknowledged, and for how long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError, KafkaError, for_code
from aiokafka.structs import RecordMetadata
from structlog.testing import capture_logs

from consumer.kafka import publisher as module
from consumer.kafka.connection import KafkaConnection
from consumer.kafka.publisher import OutgoingRecord, Publisher
from tests.virtual.loop import virtual_clock, virtually

RESULT, LETTER = OutgoingRecord("results", b"k", b"v"), OutgoingRecord("letters", b"k", b"v")
FORBIDDEN: KafkaError = for_code(29)()


class _Broker:
    """What the producers of a test are answered: by topic, or that nobody is there."""

    def __init__(self) -> None:
        self.refuses: dict[str, KafkaError] = {}
        self.away: KafkaError | None = None

    def producer(self, **options: object) -> _Producer:
        return _Producer(self)


class _Producer:
    def __init__(self, broker: _Broker) -> None:
        self._broker = broker

    async def start(self) -> None:
        if self._broker.away is not None:
            raise self._broker.away

    async def stop(self) -> None:
        pass

    async def send(self, topic: str, **record: object) -> Awaitable[RecordMetadata]:
        error = self._broker.away or self._broker.refuses.get(topic)
        if error is not None:
            raise error
        acknowledged = asyncio.get_running_loop().create_future()
        acknowledged.set_result(RecordMetadata(topic, 0, TopicPartition(topic, 0), 0, 0, 0, 0))
        return acknowledged


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> _Broker:
    broker = _Broker()
    monkeypatch.setattr(module, "AIOKafkaProducer", broker.producer)
    return broker


async def _publisher() -> Publisher:
    publisher = Publisher(KafkaConnection("localhost:9092"), clock=virtual_clock())
    await publisher.start()
    return publisher


@virtually
async def test_what_one_topic_takes_does_not_hide_that_another_refuses(broker: _Broker) -> None:
    """Results go on while no dead letter can be written: not ready for as long as one waits."""
    publisher = await _publisher()
    broker.refuses["letters"] = FORBIDDEN
    waiting = asyncio.create_task(publisher.publish(LETTER))
    seen = []
    for _ in range(5):
        await asyncio.sleep(1)
        await publisher.publish(RESULT)
        seen.append(publisher.trouble)
    broker.refuses.clear()
    await waiting

    assert all(each is not None and "letters: TopicAuthorization" in each for each in seen)
    assert publisher.trouble is None


@virtually
async def test_what_nobody_waits_for_any_more_is_no_trouble(broker: _Broker) -> None:
    """Its partition went: it would be told until the next letter, which may be never."""
    publisher = await _publisher()
    broker.refuses["letters"] = FORBIDDEN
    waiting = asyncio.create_task(publisher.publish(LETTER))
    await asyncio.sleep(0.5)
    assert publisher.trouble is not None
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    assert publisher.trouble is None


@virtually
async def test_each_line_has_the_reason_of_each_topic(broker: _Broker) -> None:
    """The one that fails first each time would else be the only one that is ever told."""
    publisher = await _publisher()
    broker.refuses = {"results": for_code(19)(), "letters": FORBIDDEN}
    with capture_logs() as logs:
        waiting = [asyncio.create_task(publisher.publish(each)) for each in (RESULT, LETTER)]
        await asyncio.sleep(25)
        broker.refuses.clear()
        await asyncio.gather(*waiting)

    lines = [line for line in logs if line["event"] == "publish.failed"]
    assert len(lines) == 3
    for line in lines[1:]:
        assert "results: NotEnoughReplicas" in line["error"]
        assert "letters: TopicAuthorization" in line["error"]
        assert line["failures_by_topic"].keys() == {"results", "letters"}


@virtually
async def test_while_nothing_can_be_connected_the_lines_say_why(broker: _Broker) -> None:
    """That there is no connection tells nobody what to do: a token may be refused, a name wrong."""
    publisher = await _publisher()
    broker.away = KafkaConnectionError("no such host: kafka.example")
    with capture_logs() as logs:
        waiting = asyncio.create_task(publisher.publish(RESULT))
        await asyncio.sleep(25)
        trouble = publisher.trouble
        broker.away = None
        await waiting

    lines = [line for line in logs if line["event"] == "publish.failed"]
    assert len(lines) == 3
    assert all("no such host: kafka.example" in line["error"] for line in lines)
    assert trouble is not None
    assert "no such host: kafka.example" in trouble
    assert publisher.trouble is None
