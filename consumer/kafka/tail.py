"""A topic read on and on, by a group or alone, for programs that want to see what comes.

- A record counts as read once the next one is asked for. What was read is committed about every
  second, when partitions go, and at the end; so a crash repeats some records and skips none.
- Where a group begins is committed for all partitions before the first record is handed out.
  Without that a rebalance would begin at "now" once more and skip what came in between.
- One record a poll: aiokafka 0.14 drops records that it has already drained when another partition
  raises in the same call.
- A member that works on one record for long stays in the group: its heartbeats show that it lives.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import aclosing, asynccontextmanager
from datetime import datetime

from aiokafka import (
    AIOKafkaConsumer,
    ConsumerRebalanceListener,
    ConsumerRecord,
    TopicPartition,
)
from aiokafka.errors import (
    CommitFailedError,
    CorruptRecordException,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)

from consumer.kafka.batches import install
from consumer.kafka.connection import KafkaConnection, explained, in_short
from consumer.kafka.membership import (
    commit_for_all,
    committed_of,
    partitions_of,
    thrown_out,
    without_place,
)
from consumer.kafka.reader import Records, open_reader, stop_reading
from consumer.kafka.records import to_record
from consumer.kafka.start import Start, check_zone, start_offsets
from consumer.kafka.topics import no_such_topic
from consumer.kafka.topics import partitions_of as count_partitions
from consumer.telemetry.library_log import library_logger

log = library_logger(__name__)

_ASK_SECONDS = 30.0
_POLL_MS = 500
_COMMIT_EVERY = 1.0
_COMMIT_SECONDS = 10.0
_NO_POLL_LIMIT_MS = 2**31 - 1

_Offsets = dict[TopicPartition, int]


class TopicTail:
    """See the module's docstring; made by `open_tail`. For one task at a time.

    Args:
        consumer: started; of a group, or with all partitions assigned.
        topic: which one.
        in_group: whether there is anything to commit to.
        start: for partitions of which the group has committed nothing.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        connection: KafkaConnection,
        topic: str,
        *,
        in_group: bool,
        start: Start,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._consumer = consumer
        self._connection = connection
        self._topic = topic
        self._in_group = in_group
        self._start = start
        self._clock = clock
        self._read: _Offsets = {}
        self._committed_at = clock()

    async def records(self) -> Records:
        """Every record from here on; it never ends by itself.

        Raises:
            KafkaUnavailableError: Kafka refuses us.
        """
        while True:
            batch = await self._poll()
            for partition, records in batch.items():
                for record in records:
                    yield to_record(record)
                    self._read[partition] = record.offset + 1
            if self._clock() - self._committed_at >= _COMMIT_EVERY:
                await self.commit()

    async def find_places(self) -> None:
        """Go to where each partition of ours begins that has no place yet.

        Raises:
            KafkaError: it can't be found out now.
        """
        everywhere = partitions_of(self._consumer, self._topic) or sorted(self._ours())
        committed = await committed_of(self._consumer, everywhere) if self._in_group else {}
        new = [each for each in everywhere if each not in committed]
        # One that came later: all of its records are new to the group.
        places = await start_offsets(self._consumer, new, "beginning" if committed else self._start)
        if self._in_group and places:
            try:
                await commit_for_all(self._consumer, places)
            except CommitFailedError:
                return  # partitions are being dealt out anew; aiokafka will ask again
        for partition in without_place(self._consumer, self._topic):
            if partition in places:
                self._consumer.seek(partition, places[partition])

    async def commit(self) -> None:
        """Commit what was read, where there is a group. A failure is survived: it comes again."""
        self._committed_at = self._clock()
        read = {each: at for each, at in self._read.items() if each in self._ours()}
        self._read = {}
        if not self._in_group or not read or thrown_out(self._consumer):
            return
        try:
            async with asyncio.timeout(_COMMIT_SECONDS):
                await self._consumer.commit(read)
        except (KafkaError, TimeoutError, OSError) as error:
            self._read = read | self._read
            log.warning("tail.commit_failed", topic=self._topic, error=in_short(error))

    def forget(self) -> None:
        """Note that partitions went: what was read and not committed comes again, to whoever."""
        self._read = {}

    def _ours(self) -> Iterable[TopicPartition]:
        ours: Iterable[TopicPartition] = self._consumer.assignment()
        return ours

    async def _poll(self) -> Mapping[TopicPartition, list[ConsumerRecord]]:
        async with explained(f"reading {self._topic}", self._connection):
            try:
                found: Mapping[TopicPartition, list[ConsumerRecord]] = await self._consumer.getmany(
                    timeout_ms=_POLL_MS, max_records=1
                )
                return found
            except CorruptRecordException:
                return {}  # fetched again; the third time it comes as an unreadable record
            except NoOffsetForPartitionError:
                await self.find_places()
            except OffsetOutOfRangeError as error:
                await self._go_to_what_is_left(error.args[0])
        return {}

    async def _go_to_what_is_left(self, wanted: Mapping[TopicPartition, int]) -> None:
        starts = await start_offsets(self._consumer, list(wanted), "beginning")
        for partition, offset in wanted.items():
            log.warning(
                "tail.out_of_range",
                topic=partition.topic,
                partition=partition.partition,
                offset=offset,
                goes_on_at=starts[partition],
                consequence="records were removed unread, or the topic was made anew",
            )
            self._consumer.seek(partition, starts[partition])


class _CommitsWhatGoes(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    def __init__(self, tail: TopicTail) -> None:
        self._tail = tail

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        await self._tail.commit()
        self._tail.forget()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Their places are found when they are polled: here a commit would wait for itself."""


@asynccontextmanager
async def open_tail(
    connection: KafkaConnection,
    topic: str,
    *,
    group_id: str | None,
    start: Start,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[TopicTail]:
    """A topic's tail: when the block begins it is fixed where it starts.

    Args:
        connection: where Kafka is.
        topic: which one.
        group_id: whose partitions they are; None: all of them, and nothing is committed.
        start: where to begin; with a group only what it has committed nothing of.
        clock: monotonic seconds.

    Raises:
        KafkaUnavailableError: Kafka can't be reached or refuses, or there is no such topic.
        ValueError: the start has no time zone.
    """
    check_zone(start)
    count = await count_partitions(connection, topic)
    install()
    consumer = AIOKafkaConsumer(
        **connection.client_options(),
        group_id=group_id,
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
        max_poll_interval_ms=_NO_POLL_LIMIT_MS,
    )
    tail = TopicTail(
        consumer, connection, topic, in_group=group_id is not None, start=start, clock=clock
    )
    try:
        async with explained(f"reading {topic}", connection), asyncio.timeout(_ASK_SECONDS):
            await _begin(consumer, topic, count, tail if group_id is not None else None)
            await tail.find_places()
        try:
            yield tail
        finally:
            await tail.commit()
    finally:
        await stop_reading(consumer)


async def _begin(
    consumer: AIOKafkaConsumer, topic: str, count: int, member: TopicTail | None
) -> None:
    if member is not None:
        consumer.subscribe([topic], listener=_CommitsWhatGoes(member))
        await consumer.start()
        return
    await consumer.start()
    consumer.assign([TopicPartition(topic, number) for number in range(count)])


async def read_since(connection: KafkaConnection, topic: str, start: Start) -> Records:
    """What a topic holds now from there on, partition by partition; see `TopicReader.records`.

    Raises:
        KafkaUnavailableError: Kafka can't be reached or refuses, or there is no such topic.
        ValueError: the start has no time zone.
    """
    check_zone(start)
    async with open_reader(connection) as reader:
        ranges = await reader.offset_ranges(topic)
        if ranges is None:
            raise no_such_topic(topic)
        if start == "now":
            return
        if isinstance(start, datetime):
            ranges = await reader.since(topic, ranges, start)
        async with aclosing(reader.records(topic, ranges)) as records:
            async for record in records:
                yield record
