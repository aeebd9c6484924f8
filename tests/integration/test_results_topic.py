"""The reader's kit (`consumer.results.topic`) on a real broker."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from consumer.contract.trial import HEADERS, KEY, trial_result
from consumer.kafka.connection import KafkaConnection
from consumer.kafka.publisher import OutgoingRecord, Publisher
from consumer.kafka.reader import read_topic
from consumer.kafka.topic_spec import TopicSpec
from consumer.kafka.topics import open_admin
from consumer.model.origin import instant_of
from consumer.results import FAILED, Wanted
from consumer.results.topic import KafkaUnavailableError, Results, open_results
from consumer.sandbox.kafka import LocalKafka
from tests.conftest import MakeTopic
from tests.integration.every_status import STATUSES, results_of_every_status
from tests.integration.service_fixtures import Stage
from tests.staging import result

SECONDS = 40.0


class Publishing:
    """Publishes results that nobody's service has made."""

    def __init__(self, publisher: Publisher, topic: str) -> None:
        self._publisher = publisher
        self.topic = topic

    async def __call__(self, *numbers: int, partition: int | None = 0, **fields: Any) -> None:
        for number in numbers:
            value = orjson.dumps(result(number, **fields))
            await self.record(value, f"identity-{number}".encode(), partition)

    async def record(
        self, value: bytes, key: bytes | None, partition: int | None = 0, headers: Any = ()
    ) -> None:
        await self._publisher.publish(OutgoingRecord(self.topic, key, value, headers, partition))


@pytest.fixture
async def publish(kafka: LocalKafka, make_topic: MakeTopic) -> AsyncIterator[Publishing]:
    connection = KafkaConnection(kafka.bootstrap_servers)
    publisher = Publisher(connection, max_record_bytes=2**20, delivery_timeout=30.0)
    await publisher.start()
    try:
        yield Publishing(publisher, await make_topic("results", partitions=2))
    finally:
        await publisher.stop()


async def take(results: Results, count: int) -> list[int]:
    """The offsets in `source` of so many results, which is how these tests number them."""
    found: list[int] = []
    async with asyncio.timeout(SECONDS):
        async for each in results:
            found.append(each.source.offset)
            if len(found) == count:
                break
    return found


async def test_a_service_s_results_are_read_and_filtered(stage: Stage) -> None:
    """Every status, typed; a replay names its original; filters leave the others out."""
    records = await results_of_every_status(stage)
    servers, topic = stage.connection.bootstrap_servers, stage.settings.kafka.results_topic

    async with open_results(servers, topic=topic, until_end=True) as results:
        found = [each async for each in results]
    async with open_results(
        servers, topic=topic, until_end=True, wanted=Wanted(statuses=FAILED)
    ) as results:
        failed = [each async for each in results]

    assert {each.status for each in found} == set(STATUSES)
    assert len(found) == len({each.event_id for each in found}) == len(records) == 7
    (replay,) = [each for each in found if each.replay_of is not None]
    assert replay.replay_of is not None
    assert replay.replay_of.topic == stage.documents
    assert {each.status for each in failed} == {"partial", "failed", "invalid"}
    assert [chunk.reason for each in failed for chunk in each.failed_chunks] == ["rejected"] * 4


async def test_repeats_trials_and_what_is_no_result_are_left_out(
    kafka: LocalKafka, publish: Publishing
) -> None:
    """None of them ends the reading."""
    await publish(1, 2)
    await publish(1)
    await publish.record(b"not a result", None)
    await publish.record(trial_result(datetime.now(UTC), "cluster"), KEY, headers=HEADERS)
    await publish(2, 3)
    servers, topic = kafka.bootstrap_servers, publish.topic

    async with open_results(servers, topic=topic) as results:
        assert await take(results, 3) == [1, 2, 3]
    async with open_results(servers, topic=topic, until_end=True, remembered=1) as results:
        assert [each.source.offset async for each in results] == [1, 2, 1, 2, 3]


async def test_a_reader_without_a_group_starts_where_he_says(
    kafka: LocalKafka, publish: Publishing
) -> None:
    """At the beginning, now, or at a time; to the end that is there, or on and on."""
    await publish(1, 2, 3)
    servers, topic = kafka.bootstrap_servers, publish.topic
    stamps = [each.timestamp_ms async for each in read_topic(KafkaConnection(servers), topic)]
    between = instant_of(stamps[2])
    later = [number for number, stamp in enumerate(stamps, 1) if stamp >= stamps[2]]

    async with open_results(servers, topic=topic, start="now") as results:
        await publish(4, partition=1)
        assert await take(results, 1) == [4]
    async with open_results(servers, topic=topic, start=between) as results:
        assert sorted(await take(results, len(later) + 1)) == [*later, 4]
    async with open_results(servers, topic=topic, start=between, until_end=True) as results:
        assert sorted([each.source.offset async for each in results]) == [*later, 4]
    async with open_results(servers, topic=topic, start="now", until_end=True) as results:
        assert [each async for each in results] == []
    async with open_results(servers, topic=topic, start=datetime.now(UTC)) as results:
        await publish(5)
        assert await take(results, 1) == [5]


async def test_a_group_goes_on_where_it_was(
    kafka: LocalKafka, publish: Publishing, unique_name: Callable[[str], str]
) -> None:
    """A result counts as read once the next one is asked for; what was not comes again."""
    await publish(1, 2, 3, 4)
    group, servers, topic = unique_name("group"), kafka.bootstrap_servers, publish.topic

    async with open_results(servers, topic=topic, group=group) as results:
        assert await take(results, 2) == [1, 2]

    async def fail_in_the_middle() -> None:
        async with open_results(servers, topic=topic, group=group) as results:
            async for each in results:
                assert each.source.offset == 2
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail_in_the_middle()
    async with open_results(servers, topic=topic, group=group) as results:
        assert await take(results, 3) == [2, 3, 4]


async def test_a_new_group_that_starts_now_misses_nothing_from_then_on(
    kafka: LocalKafka, publish: Publishing, unique_name: Callable[[str], str]
) -> None:
    """What came while nobody of it was there, and in a partition of which it has read nothing."""
    await publish(1)
    group, servers, topic = unique_name("group"), kafka.bootstrap_servers, publish.topic
    async with open_results(servers, topic=topic, group=group, start="now"):
        pass
    await publish(2)
    await publish(3, partition=1)

    async with open_results(servers, topic=topic, group=group, start="now") as results:
        assert sorted(await take(results, 2)) == [2, 3]


async def test_members_share_the_partitions_and_lose_nothing(
    kafka: LocalKafka, publish: Publishing, unique_name: Callable[[str], str]
) -> None:
    """A second member comes while the first reads: each result is read, what was done not again."""
    group, servers, topic = unique_name("group"), kafka.bootstrap_servers, publish.topic
    heard: dict[str, list[int]] = {"first": [], "second": []}
    news = asyncio.Event()

    async def read(name: str) -> None:
        async with open_results(servers, topic=topic, group=group) as results:
            async for each in results:
                heard[name].append(each.source.offset)
                news.set()

    async def until_all_of(*wanted: int) -> None:
        async with asyncio.timeout(SECONDS):
            while not set(wanted) <= {*heard["first"], *heard["second"]}:
                news.clear()
                await news.wait()

    members = [asyncio.create_task(read("first"))]
    try:
        for partition in (0, 1):
            await publish(*range(partition * 10, partition * 10 + 5), partition=partition)
        await until_all_of(*range(5), *range(10, 15))
        members.append(asyncio.create_task(read("second")))
        numbers = itertools.count(100)
        async with asyncio.timeout(SECONDS):
            while not heard["second"]:
                number = next(numbers)
                await publish(number, partition=number % 2)
                await until_all_of(number)
    finally:
        for member in members:
            member.cancel()
        ended = await asyncio.gather(*members, return_exceptions=True)

    assert all(isinstance(each, asyncio.CancelledError) for each in ended)
    assert heard["second"]
    assert not set(heard["second"]) & {*range(5), *range(10, 15)}


async def test_what_can_not_be_is_said_at_once(
    kafka: LocalKafka, publish: Publishing, unique_name: Callable[[str], str]
) -> None:
    """No topic, no Kafka, no time zone, a group that should stop."""
    servers, naive = kafka.bootstrap_servers, datetime(2026, 1, 1)
    for wrong, options in (
        (KafkaUnavailableError, {"topic": unique_name("missing")}),
        (KafkaUnavailableError, {"topic": unique_name("missing"), "until_end": True}),
        (ValueError, {"topic": publish.topic, "start": naive}),
        (ValueError, {"topic": publish.topic, "start": naive, "until_end": True}),
        (ValueError, {"topic": publish.topic, "group": "g", "until_end": True}),
    ):
        with pytest.raises(wrong):
            async with open_results(servers, **options) as results:
                await take(results, 1)


@pytest.mark.slow
@pytest.mark.parametrize("group", ["readers", None])
async def test_a_broker_that_dies_and_is_back_interrupts_nobody(
    own_kafka: LocalKafka, group: str | None
) -> None:
    """The reader waits, goes on where it was, and its group commits again."""
    connection = KafkaConnection(own_kafka.bootstrap_servers)
    async with open_admin(connection) as admin:
        await admin.create([TopicSpec("results", "a test", 1, {})], replication_factor=1)
    publisher = Publisher(connection, max_record_bytes=2**20, delivery_timeout=60.0)
    await publisher.start()
    publish = Publishing(publisher, "results")
    try:
        await publish(1)
        async with open_results(connection, topic="results", group=group) as results:
            assert await take(results, 1) == [1]
            following = asyncio.create_task(take(results, 3))
            await own_kafka.stop(hard=True)
            await own_kafka.start()
            await publish(2, 3, 4)
            assert await following == [2, 3, 4]
        if group is not None:
            async with open_results(connection, topic="results", group=group) as results:
                assert await take(results, 1) == [4]
    finally:
        await publisher.stop()
