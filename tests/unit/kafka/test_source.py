"""The source where a broker is not needed to show it: what aiokafka raises, and offsets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.errors import GroupAuthorizationFailedError
from aiokafka.protocol.fetch import FetchRequest
from structlog.testing import capture_logs

from consumer.kafka.assignment import Assignment, FormerDoubts, KafkaDelivery
from consumer.kafka.batches import install
from consumer.kafka.connection import KafkaConnection
from consumer.kafka.settled_metadata import name_of
from consumer.kafka.source import KafkaSource, SourceConfig
from consumer.model.record import Coordinates, Record
from consumer.telemetry.metrics import Metrics
from tests.virtual.loop import virtual_clock, virtually

PARTITION = TopicPartition("documents", 0)


def _source() -> KafkaSource:
    return KafkaSource(
        KafkaConnection("127.0.0.1:1"),
        SourceConfig(("documents",), "group"),
        Metrics(),
        on_revoking=lambda: asyncio.sleep(0, True),
        on_revoked=lambda: None,
    )


def _batch(offset: int) -> dict[TopicPartition, list[ConsumerRecord[bytes, bytes]]]:
    record = ConsumerRecord("documents", 0, offset, 0, 0, b"k", b"v", None, 1, 1, ())
    return {PARTITION: [record]}


async def test_offsets_that_go_back_begin_anew() -> None:
    """A topic made anew starts at 0: its records are worked, work on the old ones is over."""
    source = _source()
    before = source._assignments.by_partition[PARTITION] = Assignment("documents-0")
    assert source._first(_batch(500)) is not None

    delivery = source._first(_batch(0))

    assert before.ended
    assert delivery is not None
    assert not delivery.ended
    delivery.settled()
    assert source._assignments.by_partition[PARTITION].ledger.committable == 1


async def test_a_record_without_an_assignment_is_left_to_the_next_owner() -> None:
    """It came in while the partition went: whoever has it now fetches it again."""
    assert _source()._first(_batch(0)) is None


async def test_who_receives_nothing_while_records_wait_is_starving() -> None:
    """Received records, an assignment, or having no room end the hunger."""
    clock = [100.0]
    source = KafkaSource(
        KafkaConnection("127.0.0.1:1"),
        SourceConfig(("documents",), "group"),
        Metrics(),
        on_revoking=lambda: asyncio.sleep(0, True),
        on_revoked=lambda: None,
        clock=lambda: clock[0],
    )
    source._assignments.assigned([PARTITION])
    clock[0] += 30.0
    hungry = [source.starved_seconds]
    source._first(_batch(0))
    hungry.append(source.starved_seconds)
    clock[0] += 10.0
    hungry.append(source.starved_seconds)
    source.not_hungry()
    hungry.append(source.starved_seconds)

    assert hungry == [30.0, 0.0, 10.0, 0.0]


@virtually
async def test_a_group_that_refuses_us_for_long_is_a_line_every_ten_seconds() -> None:
    """It is asked every second, and a permission may be missing all night."""

    async def refuse(*partitions: TopicPartition, **options: int) -> None:
        raise GroupAuthorizationFailedError("group")

    clock = virtual_clock()
    source = KafkaSource(
        KafkaConnection("127.0.0.1:1"),
        SourceConfig(("documents",), "group"),
        Metrics(),
        on_revoking=lambda: asyncio.sleep(0, True),
        on_revoked=lambda: None,
        clock=clock,
    )
    source._consumer = SimpleNamespace(getmany=refuse)
    with capture_logs() as logs:
        while clock() < 25:
            await source.poll()

    assert [(line["event"], line["failures"]) for line in logs] == [
        ("source.failed", 1),
        ("source.failed", 10),
        ("source.failed", 10),
    ]
    assert "the group group" in logs[0]["what_to_do"]


class CutOff:
    """A broker that sends the beginning of a batch and no more, as before Kafka 0.10.1."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._metadata_max_age_ms = 1_000
        self.cluster = SimpleNamespace(leader_for_partition=lambda partition: None)

    async def send(self, node: int, request: FetchRequest) -> SimpleNamespace:
        beginning = bytes(8) + (5_000_000).to_bytes(4) + bytes(100)
        topics = [(PARTITION.topic, [(PARTITION.partition, 0, 9, 9, None, beginning)])]
        return SimpleNamespace(API_VERSION=4, topics=topics)

    def force_metadata_update(self) -> asyncio.Future[None]:
        return self._loop.create_future()


@pytest.fixture
async def cut_off() -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer at offset 4 that has just got such an answer."""
    install()
    consumer = AIOKafkaConsumer(enable_auto_commit=False)
    consumer.assign([PARTITION])
    fetcher = consumer._fetcher = Fetcher(CutOff(), consumer._subscription)
    consumer._coordinator = SimpleNamespace(check_errors=lambda: None, generation=1)
    consumer.seek(PARTITION, 4)
    request = FetchRequest(500, 1, 2**20, 1, [(PARTITION.topic, [(0, 4, 2**20)])])
    assignment = consumer._subscription.subscription.assignment
    await asyncio.sleep(0)  # the fetcher's own task forgets everything in its first turn
    await fetcher._proc_fetch_request(assignment, 1, request)
    yield consumer
    await fetcher.close()
    consumer._closed = True


class Wrapped:
    """A consumer as instrumentation wraps it: a record is out of its buffer, then it raises."""

    def __init__(self, consumer: AIOKafkaConsumer, moved_to: int) -> None:
        self._consumer = consumer
        self._moved_to = moved_to

    async def getmany(self, *partitions: TopicPartition, **options: int) -> object:
        state = self._consumer._subscription.subscription.assignment.state_value(PARTITION)
        state.consumed_to(self._moved_to)
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")

    def __getattr__(self, name: str) -> object:
        return getattr(self._consumer, name)


@pytest.mark.parametrize("received", [None, 4])
async def test_a_record_that_was_fetched_is_never_stepped_over(
    cut_off: AIOKafkaConsumer, received: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the poll raises: the next one begins behind what was received."""
    monkeypatch.setattr("consumer.kafka.source._FAILED_SECONDS", 0.0)
    source = _source()
    assignment = source._assignments.by_partition[PARTITION] = Assignment("documents-0")
    assignment.ledger.begin_at(4)
    if received is not None:
        assignment.ledger.receive(received, now=0.0)
    source._consumer = Wrapped(cut_off, moved_to=6)

    assert await source.poll(0.01) is None
    assert await cut_off.position(PARTITION) == (4 if received is None else 5)


async def test_no_record_is_asked_for_before_its_beginning_is_known() -> None:
    """It would be worked again although its result is published."""
    source = _source()
    source._assignments.assigned([PARTITION])
    before = source._askable()

    async def nothing(partitions: object) -> dict[TopicPartition, object]:
        return {}

    coordinator = SimpleNamespace(fetch_committed_offsets=nothing)
    await source._assignments.recall(SimpleNamespace(_coordinator=coordinator))

    assert before == [TopicPartition("", 0)]
    assert source._askable() == [PARTITION]


async def test_a_record_that_was_cut_off_is_not_stepped_past(cut_off: AIOKafkaConsumer) -> None:
    """Aiokafka steps past it and says so in passing: the next commit would have lost it."""
    source = _source()
    source._consumer = cut_off
    source._assignments.by_partition[PARTITION] = Assignment("documents-0")
    stepped_to = await cut_off.position(PARTITION)
    with capture_logs() as logs:
        delivery = await source.poll(0.01)

    assert (stepped_to, delivery) == (5, None)
    assert await cut_off.position(PARTITION) == 4
    assert [(entry["event"], entry["offset"]) for entry in logs] == [("record.cut_off", 4)]


async def _raises() -> None:
    raise ValueError("a fault in the program")


@pytest.mark.parametrize("work", [_raises, lambda: asyncio.sleep(60)])
async def test_after_broken_off_work_nobody_says_that_all_is_known(
    work: Callable[[], Coroutine[Any, Any, None]],
) -> None:
    """The next owner has to take it for what a dead one had in work."""
    assignment = Assignment("documents-0")
    assignment.ledger.begin_at(4)
    task: asyncio.Task[Any] = asyncio.create_task(work())
    assignment.begin(task)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assignment.finish()

    assert assignment.ledger.due is None


async def test_after_orderly_work_the_last_commit_says_that_all_is_known() -> None:
    """And nothing before it."""
    assignment = Assignment("documents-0")
    assignment.ledger.begin_at(4)
    task: asyncio.Task[Any] = asyncio.create_task(asyncio.sleep(0))
    assignment.begin(task)
    assignment.finish()
    assert assignment.ledger.due is None
    await task
    await asyncio.sleep(0)
    assignment.finish()

    assert assignment.ledger.due is not None


def test_only_the_first_records_may_have_been_begun_by_a_dead_owner() -> None:
    """It had no more in work than its limits allow, and memory goes by that."""
    assignment = Assignment("documents-0")
    assignment.taken_over_at = 7.0
    record = Record(Coordinates("documents", 0, 1), 1, b"k", b"v", ())
    taken = [KafkaDelivery(record, assignment).taken_over_at for _ in range(1_001)]

    assert taken == [7.0] * 1_000 + [None]


def test_a_delivery_knows_what_a_former_owner_left_in_doubt() -> None:
    """By its name, in whichever topic it was; of anything else nothing is known to be in doubt."""
    assignment = Assignment("documents.replay-0")
    record = Record(Coordinates("documents.replay", 0, 1), 1, b"k", b"v", ())
    before = KafkaDelivery(record, assignment)
    assignment.former_doubts = FormerDoubts(frozenset({name_of("one")}), until=9.0)
    delivery = KafkaDelivery(record, assignment)

    assert [delivery.left_in_doubt(each) for each in ("one", "two")] == [True, False]
    assert (before.left_in_doubt("one"), before.held_until, delivery.held_until) == (False, 0, 9)


async def test_all_is_ours_when_every_partition_of_every_input_topic_is() -> None:
    """Then no other member has any work under way."""
    source = _source()
    assert not _holds_all(source)
    source._consumer = SimpleNamespace(partitions_for_topic=lambda topic: {0, 1}, _coordinator=None)
    ours = source._assignments.by_partition
    ours[PARTITION] = Assignment("documents-0")
    assert not _holds_all(source)
    ours[TopicPartition("documents", 1)] = Assignment("documents-1")
    assert _holds_all(source)
    source._consumer.partitions_for_topic = lambda topic: None

    assert not _holds_all(source)


def _holds_all(source: KafkaSource) -> bool:
    return source.holds_all
