"""Records into Kafka, acknowledged: results, dead letters and documents leave through here.

What is always true:
- `publish` returns only when every in-sync replica has the record. A record whose producer gave up
  or was refused is sent again by a new producer: readers recognise a repeat by its event id, and
  could never recognise a loss.
- An idempotent producer of aiokafka 0.14 never gives up by itself, its ``stop()`` hangs in an
  outage, and one rejected record poisons it for the partition. Hence deadlines of our own and a
  new producer after every failure.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from aiokafka.structs import RecordMetadata

from consumer.kafka.compression import codec_of, pack_quickly, refusal_of
from consumer.kafka.connection import KafkaConnection, KafkaUnavailableError, explained, in_short
from consumer.model.record import Coordinates, Headers, Record
from consumer.telemetry.library_log import library_logger
from consumer.telemetry.repeats import RepeatedLine

log = library_logger(__name__)

_STOP_SECONDS = 2.0
_RETRY_SECONDS = 1.0
# Kafka's record and batch framing, generously; a record on the very edge goes by reference instead.
_OVERHEAD_BYTES = 1024
_CHECK = "check the brokers, the topic and our permission to write it"


class TooLargeForTopicError(Exception):
    """The record can never be published to its topic as it is."""


@dataclass(frozen=True, slots=True)
class OutgoingRecord:
    """A record to publish.

    Args:
        topic: where to.
        key: decides the partition unless `partition` is given.
        value: the bytes; None is a tombstone.
        headers: in order.
        partition: a fixed partition, or None for Kafka's own choice by key.
        open: whether instrumentation around the client may add headers. What carries the headers of
            others must not get any: they would count as the event's own when it is replayed.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    partition: int | None = None
    open: bool = False

    @property
    def size(self) -> int:
        """Bytes on the wire, rather too many than too few."""
        in_headers = sum(
            len(name.encode()) + len(value or b"") + 10 for name, value in self.headers
        )
        return len(self.key or b"") + len(self.value or b"") + in_headers + _OVERHEAD_BYTES


class Publisher:
    """See the module's docstring.

    Args:
        connection: where Kafka is.
        max_record_bytes: larger records are refused before they are sent.
        delivery_timeout: seconds after which an unacknowledged record is sent by a new producer.
        give_up: raise at the first failure instead of trying for ever, for commands that a person
            waits for.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        connection: KafkaConnection,
        *,
        max_record_bytes: int = 8 * 1024 * 1024 + 64 * 1024,
        delivery_timeout: float = 120.0,
        give_up: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection = connection
        self._max_record_bytes = max_record_bytes
        self._delivery_timeout = delivery_timeout
        self._give_up = give_up
        self._producer: AIOKafkaProducer | None = None
        self._replacing = asyncio.Lock()
        self._unconnected: str | None = None
        self._failing: dict[object, tuple[str, str]] = {}  # of each call, its topic and why
        self._failures = RepeatedLine(clock)

    @property
    def trouble(self) -> str | None:
        """Why what waits to be acknowledged is not, for each topic; None while nothing fails."""
        if not self._failing:
            return None
        return self._unconnected or "; ".join(dict(self._failing.values()).values())

    async def start(self) -> None:
        """Connect.

        Raises:
            KafkaUnavailableError: with the cause; call again later.
        """
        async with explained("connecting the producer", self._connection):
            self._producer = await self._new_producer()
        self._unconnected = None

    async def publish(self, record: OutgoingRecord) -> Record:
        """Publish and wait for the acknowledgement, for ever if it takes so long.

        Returns:
            The record as it lies in its topic. Offset and timestamp are -1 where Kafka tells none:
            the one of a record that it had already, the other of one without key and value.

        Raises:
            TooLargeForTopicError: it can never be published as it is.
            KafkaUnavailableError: with `give_up`, at the first failure.
        """
        if record.size > self._max_record_bytes:
            raise TooLargeForTopicError(f"{record.size} bytes for {record.topic}")
        call = object()
        try:
            return await self._publish(record, call)
        finally:
            self._failing.pop(call, None)

    async def _publish(self, record: OutgoingRecord, call: object) -> Record:
        while True:
            producer = self._producer
            try:
                if producer is None:
                    raise KafkaUnavailableError(self._unconnected or "not connected yet")
                return await self._send(producer, record)
            except MessageSizeTooLargeError as error:
                await self._replace(producer)
                raise TooLargeForTopicError(f"{record.size} bytes for {record.topic}") from error
            except (KafkaError, KafkaUnavailableError, TimeoutError, OSError) as error:
                told = self._told(record, error)
                if self._give_up:
                    raise KafkaUnavailableError(told) from error
                self._failing[call] = record.topic, told
                self._log_failed(record, error)
                await asyncio.sleep(_RETRY_SECONDS)
                await self._replace(producer)

    async def _send(self, producer: AIOKafkaProducer, record: OutgoingRecord) -> Record:
        try:
            async with asyncio.timeout(self._delivery_timeout):
                return await _acknowledged(producer, record)
        except TimeoutError:
            seconds = f"{self._delivery_timeout:g}"
            raise TimeoutError(f"no acknowledgement within {seconds} s") from None

    def _told(self, record: OutgoingRecord, error: BaseException) -> str:
        refused = refusal_of(error, self._connection.compression)
        return f"{record.topic}: {in_short(error)}" + (f"; {refused}" if refused else "")

    def _log_failed(self, record: OutgoingRecord, error: BaseException) -> None:
        repeats = self._failures.happened(record.topic)
        if repeats is None:
            return
        log.error(
            "publish.failed",
            topic=record.topic,
            error=self.trouble,
            failures=repeats.count,
            failures_by_topic=repeats.by_subject,
            consequence="nothing is committed until it is acknowledged; sent again",
            what_to_do=refusal_of(error, self._connection.compression) or _CHECK,
        )

    async def _replace(self, failed: AIOKafkaProducer | None) -> None:
        """Replace a failed producer, once for all callers that saw it fail."""
        async with self._replacing:
            if self._producer is not failed:
                return
            self._producer = None
            if failed is not None:
                await _stop(failed)
            try:
                async with explained("connecting the producer", self._connection):
                    self._producer = await self._new_producer()
                self._unconnected = None
            except KafkaUnavailableError as error:
                self._unconnected = str(error)

    async def _new_producer(self) -> AIOKafkaProducer:
        compression = codec_of(self._connection.compression)
        pack_quickly()
        producer = AIOKafkaProducer(
            **self._connection.client_options(),
            acks="all",
            enable_idempotence=True,
            max_request_size=self._max_record_bytes + _OVERHEAD_BYTES,
            compression_type=compression,
            linger_ms=5,
        )
        try:
            await producer.start()
        except BaseException:
            await _stop(producer)
            raise
        return producer

    async def stop(self) -> None:
        """Close the connection; everything published was acknowledged already."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await _stop(producer)


async def _acknowledged(producer: AIOKafkaProducer, record: OutgoingRecord) -> Record:
    if record.key is None and record.value is None:
        lies = await (await _send_bare(producer, record))
    else:
        sent = await _send_of(producer, record)(
            record.topic,
            key=record.key,
            value=record.value,
            headers=list(record.headers),
            partition=record.partition,
        )
        lies = await sent
    at = Coordinates(lies.topic, lies.partition, lies.offset)
    return Record(at, lies.timestamp, record.key, record.value, record.headers)


def _send_of(producer: AIOKafkaProducer, record: OutgoingRecord) -> Callable[..., Any]:
    """The client's ``send``, without what is wrapped round it where the headers are not ours.

    OpenTelemetry's instrumentation for aiokafka (0.66b1) appends a ``traceparent`` to the list that
    it is handed, whatever stands there: a dead letter would have two, its replay three, and the
    replayed event another trace than the original.
    """
    if record.open:
        return producer.send  # type: ignore[no-any-return]  # aiokafka has no types
    original: Callable[..., Any] = inspect.unwrap(type(producer).send)
    return partial(original, producer)


async def _send_bare(
    producer: AIOKafkaProducer, record: OutgoingRecord
) -> asyncio.Future[RecordMetadata]:
    """Hand over a record without key and value; its acknowledgement comes with the future.

    Kafka takes such records, so a producer may have written one, but ``send()`` of aiokafka 0.14
    asserts that there are none: as a dead letter it would end the process, again and again.
    """
    batch = producer.create_batch()
    batch.append(timestamp=None, key=None, value=None, headers=list(record.headers))
    batch.close()
    acknowledged: asyncio.Future[RecordMetadata] = await producer.send_batch(
        batch, record.topic, partition=record.partition
    )
    return acknowledged


async def _stop(producer: AIOKafkaProducer) -> None:
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await producer.stop()
    except (KafkaError, TimeoutError, OSError) as error:
        log.warning("producer.stop_failed", error=in_short(error))
        await _abandon(producer)


async def _abandon(producer: AIOKafkaProducer) -> None:
    """End the tasks of a producer that could not be stopped.

    ``stop()`` of aiokafka 0.14 flushes first. If it is given up in the middle of that, the producer
    goes on for ever. An outage would leave one for every delivery deadline, and each would wake up
    afterwards and publish what others have published by then.
    """
    for close in (producer._sender.close, producer.client.close):
        with suppress(KafkaError, TimeoutError, OSError):
            async with asyncio.timeout(_STOP_SECONDS):
                await close()
