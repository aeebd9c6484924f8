"""What operations rely on of Kafka, held against the real one and against the one in memory.

What is proven on the one in memory counts because every behaviour it relies on stands here, and is
the same on both.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from consumer.kafka.connection import KafkaUnavailableError
from consumer.kafka.group_kinds import GroupKind
from consumer.kafka.group_lock import LockConfig, LockLostError, TakenError
from consumer.kafka.groups import GroupOffset, Member
from consumer.kafka.offset_reset import OffsetRange
from consumer.kafka.partitioning import partitions_for
from consumer.kafka.publisher import OutgoingRecord, TooLargeForTopicError
from consumer.kafka.start import Start
from consumer.model.reason import FailureReason
from consumer.model.record import Coordinates, Headers, Record
from consumer.operations.ports import HeldLock, KafkaAccess
from consumer.sandbox.kafka import LocalKafka
from tests.operations.kafka_grounds import Ground, MemoryGround, real_ground

MIB = 2**20
LIMITS: dict[str, Any] = {"max_record_bytes": 8 * MIB, "delivery_timeout": 20.0}


@pytest.fixture(params=["memory", pytest.param("real", marks=pytest.mark.kafka)])
def broker(request: pytest.FixtureRequest) -> str | None:
    """A real broker's address; None is the one in memory."""
    if request.param == "memory":
        return None
    kafka: LocalKafka = request.getfixturevalue("kafka")
    return kafka.bootstrap_servers


@pytest.fixture
async def ground(broker: str | None) -> AsyncIterator[Ground]:
    """A Kafka, as operations see it, and what happens to it."""
    if broker is None:
        yield MemoryGround()
        return
    async with real_ground(broker) as real:
        yield real


async def publish(
    ground: Ground,
    topic: str,
    *values: bytes | str | None,
    key: bytes | None = None,
    partition: int | None = 0,
    headers: Headers = (),
) -> None:
    """Records of these values, in this order."""
    given = [each.encode() if isinstance(each, str) else each for each in values]
    async with ground.access.publisher(**LIMITS) as publisher:
        await asyncio.gather(
            *(
                publisher.publish(OutgoingRecord(topic, key, value, headers, partition))
                for value in given
            )
        )


async def everything(ground: Ground, topic: str) -> list[Record]:
    """All that a topic holds."""
    return [record async for record in ground.access.read_topic(topic)]


async def values(ground: Ground, topic: str) -> list[bytes | None]:
    return [record.value for record in await everything(ground, topic)]


# -- reading ---------------------------------------------------------------------------------------


async def test_every_record_comes_once_in_order(ground: Ground) -> None:
    """Partition by partition; empty partitions and empty topics end at once."""
    topic, empty = await ground.topic(5), await ground.topic(2)
    for partition in (4, 0, 2):
        await publish(ground, topic, *(f"{partition}-{n}" for n in range(220)), partition=partition)
    records = await everything(ground, topic)

    assert [(record.at.partition, record.at.offset) for record in records] == [
        (partition, number) for partition in (0, 2, 4) for number in range(220)
    ]
    assert records[230].value == b"2-10"
    assert await everything(ground, empty) == []


@pytest.mark.parametrize(("key", "value"), [(b"k", b"v"), (b"k", None), (None, b"v")])
async def test_who_publishes_is_told_where_it_lies(
    ground: Ground, key: bytes | None, value: bytes | None
) -> None:
    """The record as readers get it, its time included: an event's trace may depend on that."""
    topic = await ground.topic(2)
    record = OutgoingRecord(topic, key, value, (("h", b"1"),), partition=1)
    async with ground.access.publisher(**LIMITS) as publisher:
        told = [await publisher.publish(record) for _ in range(2)]

    assert told == await everything(ground, topic)


async def test_a_record_is_what_was_published(ground: Ground) -> None:
    """Key, value, headers byte for byte, none and empty apart; its time is that of publishing."""
    topic = await ground.topic()
    headers: Headers = (  # type: ignore[assignment]  # Kafka has null headers, too
        ("twice", b"a"), ("twice", b"b"), ("ünï", b"\x00\xff"), ("empty", b""), ("null", None),
    )  # fmt: skip
    published: list[tuple[bytes | None, bytes | None, Headers]] = [
        (b"\xff\xfe", b"\x00 \xff", headers), (None, b"v", ()), (b"", b"", ()), (b"k", None, ()),
        (None, None, headers[:2]),
    ]  # fmt: skip
    began = time.time()
    for key, value, given in published:
        await publish(ground, topic, value, key=key, headers=given)
    records = await everything(ground, topic)

    assert [(each.key, each.value, each.headers) for each in records] == published
    assert [each.at for each in records] == [Coordinates(topic, 0, n) for n in range(5)]
    assert all(began - 1 <= each.timestamp_ms / 1_000 <= time.time() + 1 for each in records)
    assert [each.unreadable for each in records] == [None] * 5


async def test_what_is_published_meanwhile_is_not_waited_for(ground: Ground) -> None:
    """A topic that is written to all the time ends where it ended at the start."""
    topic = await ground.topic()
    await publish(ground, topic, "a", "b")
    heard = []
    async with aclosing(ground.access.read_topic(topic)) as records:
        async for record in records:
            heard.append(record.value)
            await publish(ground, topic, "later")

    assert heard == [b"a", b"b"]


async def test_ranges_are_those_of_their_moment(ground: Ground) -> None:
    """Asked again they have moved; a part of them is read as well as the whole."""
    topic = await ground.topic(2)
    await publish(ground, topic, *"abc", partition=1)
    async with ground.access.reader() as reader:
        before = await reader.offset_ranges(topic)
        await publish(ground, topic, *"de", partition=1)
        await publish(ground, topic, "f", partition=0)
        after = await reader.offset_ranges(topic)
        part = {1: OffsetRange(1, 4)}
        found = [record.value async for record in reader.records(topic, part)]
        nothing = [record async for record in reader.records(topic, {0: OffsetRange(1, 1)})]

    assert before == {0: OffsetRange(0, 0), 1: OffsetRange(0, 3)}
    assert after == {0: OffsetRange(0, 1), 1: OffsetRange(0, 5)}
    assert (found, nothing) == ([b"b", b"c", b"d"], [])


async def test_what_retention_took_is_not_missed(ground: Ground) -> None:
    """Ranges begin where records do; what goes between the look and the reading is left out."""
    topic = await ground.topic()
    await publish(ground, topic, *"abcdef")
    await ground.delete_records(topic, {0: 2})
    async with ground.access.reader() as reader:
        ranges = await reader.offset_ranges(topic)
        assert ranges is not None
        await ground.delete_records(topic, {0: 4})
        found = [record.value async for record in reader.records(topic, ranges)]
        again = await reader.offset_ranges(topic)
    await ground.delete_records(topic, {0: -1})
    async with ground.access.reader() as reader:
        emptied = await reader.offset_ranges(topic)

    assert ranges == {0: OffsetRange(2, 6)}
    assert found == [b"e", b"f"]
    assert again == {0: OffsetRange(4, 6)}
    assert emptied == {0: OffsetRange(6, 6)}


async def test_a_record_is_found_by_its_place(ground: Ground) -> None:
    """Near or far, forwards or backwards, in any partition; None where there is none."""
    topic = await ground.topic(2)
    await publish(ground, topic, *map(str, range(300)), partition=1)
    await ground.delete_records(topic, {1: 5})
    async with ground.access.reader() as reader:
        for offset in (7, 8, 9, 60, 61, 299, 5, 298, 5):
            record = await reader.record(Coordinates(topic, 1, offset))
            assert record is not None
            assert (record.at.offset, record.value) == (offset, str(offset).encode())
        for place in ((1, 4), (1, 300), (0, 0), (7, 0)):
            assert await reader.record(Coordinates(topic, *place)) is None
        assert await reader.record(Coordinates(f"{topic}-not-there", 0, 0)) is None
        await publish(ground, topic, "late", partition=0)
        late = await reader.record(Coordinates(topic, 0, 0))
        await ground.delete_records(topic, {1: 100})
        gone = await reader.record(Coordinates(topic, 1, 60))

    assert late is not None
    assert (late.value, gone) == (b"late", None)


async def test_a_record_larger_than_what_is_fetched_at_once_comes_whole(ground: Ground) -> None:
    """Who reads single records fetches little; no record is too large for that."""
    topic = await ground.topic()
    large = [f"{number}" * 30_000 for number in range(5)]
    await publish(ground, topic, *large)
    async with ground.access.reader(fetch_bytes=1_000) as reader:
        found = [await reader.record(Coordinates(topic, 0, offset)) for offset in (3, 0, 4)]

    assert [each and each.value for each in found] == [large[n].encode() for n in (3, 0, 4)]


async def test_offsets_that_nobody_receives_are_stepped_over(ground: Ground) -> None:
    """Markers of transactions, and what was aborted: counted in ranges, never read."""
    topic = await ground.topic()
    await publish(ground, topic, "before")
    await ground.transaction(topic, b"kept", kept=True)
    await ground.transaction(topic, b"aborted", kept=False)
    await publish(ground, topic, "behind")
    await ground.transaction(topic, b"last", kept=True)
    async with ground.access.reader() as reader:
        ranges = await reader.offset_ranges(topic)
        found = [(each.at.offset, each.value) async for each in reader.records(topic, ranges or {})]
        marker = await reader.record(Coordinates(topic, 0, 2))
        behind = await reader.record(Coordinates(topic, 0, 5))

    assert ranges == {0: OffsetRange(0, 8)}
    assert found == [(0, b"before"), (1, b"kept"), (5, b"behind"), (6, b"last")]
    assert marker is None
    assert behind is not None


async def test_a_record_that_can_not_be_read_is_told_by_its_place(ground: Ground) -> None:
    """Those before and behind it come as ever."""
    topic = await ground.topic()
    await publish(ground, topic, "before")
    await ground.unreadable(topic)
    await publish(ground, topic, "behind")
    records = await everything(ground, topic)
    async with ground.access.reader() as reader:
        by_place = await reader.record(Coordinates(topic, 0, 1))

    assert [each.value for each in records] == [b"before", None, b"behind"]
    odd = records[1]
    assert odd.unreadable is not None
    assert odd.unreadable.reason is FailureReason.UNDECODABLE
    assert (odd.at.offset, odd.key, odd.headers) == (1, None, ())
    assert odd.timestamp_ms > 0
    assert by_place == odd


async def test_a_record_that_unfolds_too_far_is_told_by_its_place(ground: Ground) -> None:
    """By a reader with such a limit; others read it."""
    topic = await ground.topic()
    await publish(ground, topic, b"small", b"large " * 10_000, key=b"k")
    async with ground.access.reader(unfold_limit=20_000) as reader:
        ranges = await reader.offset_ranges(topic) or {}
        limited = [record async for record in reader.records(topic, ranges)]
    whole = await everything(ground, topic)

    assert limited[0] == whole[0]
    assert limited[1].unreadable is not None
    assert limited[1].unreadable.reason is FailureReason.OVERSIZED
    assert (limited[1].at, limited[1].key, limited[1].value) == (whole[1].at, None, None)
    assert whole[1].value == b"large " * 10_000


async def test_a_topic_that_is_not_there_is_told(ground: Ground) -> None:
    """At once, and it is not made by looking."""
    for _ in range(2):
        with pytest.raises(KafkaUnavailableError, match=r"no topic nowhere.*topics create"):
            await everything(ground, "nowhere")
    with pytest.raises(KafkaUnavailableError, match=r"no topic nowhere.*topics create"):
        async with aclosing(ground.access.read_topic("nowhere", follow=True)) as records:
            await anext(records)
    async with ground.access.reader() as reader, ground.access.admin() as admin:
        assert await reader.offset_ranges("nowhere") is None
        assert [record async for record in reader.records("nowhere", {})] == []
        assert await admin.partitions("nowhere") == 0


async def test_a_topic_made_anew_begins_at_its_start(ground: Ground) -> None:
    """And one that grew has its new partitions."""
    topic = await ground.topic()
    await publish(ground, topic, *"abc")
    await ground.grow(topic, 3)
    async with ground.access.reader() as reader:
        grown = await reader.offset_ranges(topic)
    await ground.delete(topic)
    async with ground.access.reader() as reader:
        gone = await reader.offset_ranges(topic)
        there = await reader.record(Coordinates(topic, 0, 0))

    assert grown == {0: OffsetRange(0, 3), 1: OffsetRange(0, 0), 2: OffsetRange(0, 0)}
    assert (gone, there) == (None, None)


async def test_a_follower_hears_what_was_there_and_what_comes(ground: Ground) -> None:
    """From every partition, each record once, until it is left."""
    topic = await ground.topic(2)
    await publish(ground, topic, "old", partition=1)
    heard = []
    async with aclosing(ground.access.read_topic(topic, follow=True)) as records:
        async for record in records:
            heard.append(record.value)
            if len(heard) == 1:
                await publish(ground, topic, "new", partition=0)
                await publish(ground, topic, "newer", partition=1)
            if len(heard) == 3:
                break

    assert heard[0] == b"old"
    assert sorted(heard[1:], key=str) == [b"new", b"newer"]


async def test_a_follower_begins_where_it_is_told(ground: Ground) -> None:
    """Now, from a time, or from the offset of each partition."""
    topic = await ground.topic(2)
    await publish(ground, topic, *"ab", partition=1)
    first = (await everything(ground, topic))[0].timestamp_ms / 1_000
    starts: list[Start] = [
        {1: 1}, datetime.fromtimestamp(first - 1, UTC), datetime.fromtimestamp(first + 60, UTC),
        "now",
    ]  # fmt: skip
    heard: list[list[bytes | None]] = [[] for _ in starts]

    async def listen(start: Start, values: list[bytes | None]) -> None:
        async with aclosing(ground.access.read_topic(topic, follow=True, start=start)) as records:
            async for record in records:
                values.append(record.value)
                if (record.value or b"").startswith(b"end"):
                    return

    async def speak(listening: list[asyncio.Task[None]]) -> None:
        number = 0
        while not all(task.done() for task in listening):
            number += 1
            await publish(ground, topic, f"end {number}", partition=1)

    async with asyncio.TaskGroup() as tasks:
        listening = [tasks.create_task(listen(*each)) for each in zip(starts, heard, strict=True)]
        tasks.create_task(speak(listening))

    assert heard[0][:-1] == [b"b"]
    assert heard[1][:-1] == [b"a", b"b"]
    assert heard[3][:-1] == []
    assert heard[2][:-1] == [], "nothing has that time yet: from what comes next on"


async def test_ranges_begin_at_a_time(ground: Ground) -> None:
    """At the first record of that time or a later one; where there is none, at the end."""
    topic = await ground.topic(2)
    await publish(ground, topic, *"abc", partition=1)
    times = [each.timestamp_ms / 1_000 for each in await everything(ground, topic)]
    async with ground.access.reader() as reader:
        ranges = await reader.offset_ranges(topic) or {}
        before = await reader.since(topic, ranges, datetime.fromtimestamp(times[0] - 5, UTC))
        behind = await reader.since(topic, ranges, datetime.fromtimestamp(times[-1] + 5, UTC))

    assert before == {0: OffsetRange(0, 0), 1: OffsetRange(0, 3)}
    assert behind == {0: OffsetRange(0, 0), 1: OffsetRange(3, 3)}


@pytest.mark.parametrize(
    "broker",
    ["memory", pytest.param("real", marks=[pytest.mark.kafka, pytest.mark.slow])],
    indirect=True,
)
@pytest.mark.parametrize("silently", [True, False])
async def test_a_kafka_that_goes_away_is_no_end(ground: Ground, silently: bool) -> None:
    """Half of the results would make resolved letters look open: it is an error, and soon."""
    topic = await ground.topic(2)
    await publish(ground, topic, *"abc", partition=0)
    await publish(ground, topic, *"def", partition=1)
    heard = []
    async with ground.wire() as wire:

        async def read() -> None:
            async for record in wire.access.read_topic(topic):
                heard.append(record.value)
                if len(heard) == 1:
                    wire.cut(silently=silently)

        with pytest.raises(KafkaUnavailableError):
            await asyncio.wait_for(read(), 60)

    assert heard in ([b"a"], [b"a", b"b", b"c"])


async def test_a_reader_that_reads_nothing_closes(ground: Ground) -> None:
    """Stopped before its tasks have begun, aiokafka 0.14 raises CancelledError."""
    for _ in range(3):
        async with ground.access.reader():
            pass


# -- topics and groups, looked at ------------------------------------------------------------------


async def test_topics_are_told_with_their_settings(ground: Ground) -> None:
    """Those that there are; also what nobody has set, as the cluster has it."""
    topic = await ground.topic(3, max_message_bytes=20_000, retention_ms=-1)
    async with ground.access.admin() as admin:
        states = await admin.states([topic, "nowhere"])
        count = await admin.partitions(topic)
        cluster = {await admin.cluster_id(), await admin.cluster_id()}

    assert states.keys() == {topic}
    assert (states[topic].partitions, count) == (3, 3)
    assert {
        name: states[topic].settings[name]
        for name in ("max.message.bytes", "retention.ms", "retention.bytes", "cleanup.policy")
    } == {
        "max.message.bytes": "20000",
        "retention.ms": "-1",
        "retention.bytes": "-1",
        "cleanup.policy": "delete",
    }
    assert len(cluster) == 1
    assert cluster != {""}


async def test_a_group_is_known_by_its_members(ground: Ground, group: str) -> None:
    """By what they call themselves and where they come from; nobody once they have left."""
    topic = await ground.topic()
    async with ground.access.admin() as admin:
        before, no_kind = await admin.members(group), await admin.group_kind(group)
        async with ground.member(group, topic, "alice.x@y"):
            during, kind = await admin.members(group), await admin.group_kind(group)
        after = await admin.members(group)

    assert no_kind is None
    assert kind == GroupKind("classic", "consumer", "Stable")
    assert kind.obstacle is None
    assert (list(before), list(after)) == ([], [])
    assert list(during) == [Member("alice.x@y", "127.0.0.1")]


async def test_a_group_without_members_takes_commits_with_texts(ground: Ground, group: str) -> None:
    """What is committed is read back, what is committed later comes beside it, in any partition."""
    topic, other = await ground.topic(3), await ground.topic()
    first = {(topic, 0): GroupOffset(41, "ein Käfer"), (topic, 2): GroupOffset(0)}
    later = {(topic, 0): GroupOffset(42, ""), (other, 0): GroupOffset(7, "x")}
    async with ground.access.admin() as admin:
        before = await admin.places(group)
        await admin.commit(group, first)
        found = await admin.places(group)
        await admin.commit(group, later)
        both = await admin.places(group)

    assert before == {}
    assert found == first
    assert both == first | later


async def test_a_text_beside_an_offset_has_4096_characters(ground: Ground, group: str) -> None:
    """One more is refused; what was there before stays."""
    topic = await ground.topic()
    async with ground.access.admin() as admin:
        for text in ("x" * 4_096, "ä" * 4_096):
            await admin.commit(group, {(topic, 0): GroupOffset(1, text)})
            assert (await admin.places(group))[topic, 0].text == text
        with pytest.raises(KafkaUnavailableError, match="OffsetMetadataTooLarge"):
            await admin.commit(group, {(topic, 0): GroupOffset(2, "x" * 4_097)})
        kept = await admin.places(group)

    assert kept[topic, 0].offset == 1


async def test_groups_are_found_by_how_their_names_begin(ground: Ground, group: str) -> None:
    """Sorted; with commits or with members."""
    topic = await ground.topic()
    async with ground.access.admin() as admin:
        for name in ("-b", "-a"):
            await admin.commit(group + name, {(topic, 0): GroupOffset(1)})
        async with ground.member(f"{group}-c", topic, "somebody"):
            found = await admin.groups(f"{group}-")
        other = await admin.groups(f"{group}-x")

    assert list(found) == [f"{group}-a", f"{group}-b", f"{group}-c"]
    assert list(other) == []


async def test_nobody_commits_for_a_group_that_has_members(ground: Ground, group: str) -> None:
    """Their own commits would be overwritten."""
    topic = await ground.topic()
    async with ground.access.admin() as admin, ground.member(group, topic, "somebody"):
        with pytest.raises(KafkaUnavailableError, match="UnknownMemberId"):
            await admin.commit(group, {(topic, 0): GroupOffset(1)})

        assert await admin.places(group) == {}


async def test_commits_go_with_their_topic(ground: Ground, group: str) -> None:
    """Made anew, it has other records."""
    topic, other = await ground.topic(), await ground.topic()
    async with ground.access.admin() as admin:
        await admin.commit(group, {(topic, 0): GroupOffset(5), (other, 0): GroupOffset(6)})
        await ground.delete(topic)
        async with asyncio.timeout(20):
            while (topic, 0) in (left := await admin.places(group)):
                pass
        with pytest.raises(KafkaUnavailableError, match="UnknownTopicOrPartition"):
            await admin.commit(group, {(topic, 0): GroupOffset(5)})

    assert left == {(other, 0): GroupOffset(6)}


# -- publishing ------------------------------------------------------------------------------------


async def test_keys_lead_to_partitions_unless_one_is_named(ground: Ground) -> None:
    """As Kafka's own producers partition; without a key anywhere."""
    topic = await ground.topic(5)
    keys = [f"key-{number}".encode() for number in range(12)]
    async with ground.access.publisher(**LIMITS) as publisher:
        await asyncio.gather(
            *(publisher.publish(OutgoingRecord(topic, key, b"by key")) for key in keys),
            *(publisher.publish(OutgoingRecord(topic, key, b"named", (), 3)) for key in keys),
            *(publisher.publish(OutgoingRecord(topic, None, b"anywhere")) for _ in keys),
            publisher.publish(OutgoingRecord(topic, None, None)),
        )
    records = await everything(ground, topic)

    by_key = {each.key: each.at.partition for each in records if each.value == b"by key"}
    assert by_key == {key: min(partitions_for([key], 5)) for key in keys}
    assert {each.at.partition for each in records if each.value == b"named"} == {3}
    assert sum(each.value == b"anywhere" for each in records) == 12
    assert sum(each.value is None for each in records) == 1


async def test_what_is_too_large_is_refused_alone(ground: Ground) -> None:
    """By our own limit or by the topic's; what follows goes through."""
    topic = await ground.topic(max_message_bytes=20_000)
    noise = secrets.token_bytes(40_000)
    async with ground.access.publisher(max_record_bytes=50_000, delivery_timeout=20.0) as publisher:
        with pytest.raises(TooLargeForTopicError):
            await publisher.publish(OutgoingRecord(topic, b"ours", b"x" * 50_000))
        await publisher.publish(OutgoingRecord(topic, b"k", b"between"))
        with pytest.raises(TooLargeForTopicError):
            await publisher.publish(OutgoingRecord(topic, b"the topic's", noise))
        await publisher.publish(OutgoingRecord(topic, b"k", b"behind"))

    assert await values(ground, topic) == [b"between", b"behind"]


async def test_a_refused_record_takes_those_behind_it_along(ground: Ground) -> None:
    """What is under way in its partition fails as well, and says so; nothing is lost in silence."""
    topic = await ground.topic(max_message_bytes=20_000)
    records = [OutgoingRecord(topic, b"k", b"small %d" % number) for number in range(10)]
    records.insert(5, OutgoingRecord(topic, b"k", secrets.token_bytes(40_000)))
    async with ground.access.publisher(**LIMITS) as publisher:
        outcomes = await asyncio.gather(
            *(publisher.publish(record) for record in records), return_exceptions=True
        )
        await publisher.publish(OutgoingRecord(topic, b"k", b"later"))
    found = await values(ground, topic)

    assert [type(each) for each in outcomes] == [
        *[Record] * 5,
        TooLargeForTopicError,
        *[KafkaUnavailableError] * 5,
    ]
    assert found == [*(b"small %d" % number for number in range(5)), b"later"]


async def test_a_topic_counts_what_is_packed(ground: Ground) -> None:
    """Text that packs well may be larger than the topic takes."""
    topic = await ground.topic(max_message_bytes=20_000)
    await publish(ground, topic, b"packs well " * 10_000)

    assert await values(ground, topic) == [b"packs well " * 10_000]


async def test_publishing_to_a_topic_that_is_not_there_fails(ground: Ground) -> None:
    """Within the time that was given, and it is not made by it."""
    async with ground.access.publisher(max_record_bytes=MIB, delivery_timeout=0.5) as publisher:
        with pytest.raises(KafkaUnavailableError, match="nowhere: "):
            await publisher.publish(OutgoingRecord("nowhere", b"k", b"v"))
    async with ground.access.admin() as admin:
        assert await admin.partitions("nowhere") == 0


# -- a Kafka that is not there ---------------------------------------------------------------------


async def test_a_kafka_that_is_not_there_is_told_by_whatever_is_opened(ground: Ground) -> None:
    """The same error from all of them."""
    lock = LockConfig("group", "topic", "me", ground.session)

    async def read(access: KafkaAccess) -> None:
        async with aclosing(access.read_topic("topic")) as records:
            await anext(records)

    for opened in (
        ground.nowhere.reader(),
        ground.nowhere.admin(),
        ground.nowhere.publisher(**LIMITS),
        ground.nowhere.lock(lock, waiting=lambda members: None, rng=random.Random(1)),
    ):
        with pytest.raises(KafkaUnavailableError):
            async with opened:
                pytest.fail("it is not there")
    with pytest.raises(KafkaUnavailableError):
        await read(ground.nowhere)


async def test_a_kafka_that_goes_away_while_it_is_asked_is_told(ground: Ground) -> None:
    """Publishing and committing: nobody may take silence for success."""
    topic = await ground.topic()
    async with ground.wire() as wire:
        limits = {**LIMITS, "delivery_timeout": 1.0}
        async with wire.access.publisher(**limits) as publisher:
            await publisher.publish(OutgoingRecord(topic, b"k", b"before"))
            wire.cut()
            with pytest.raises(KafkaUnavailableError):
                await publisher.publish(OutgoingRecord(topic, b"k", b"after"))

    assert (await values(ground, topic))[0] == b"before"


# -- being the only one ----------------------------------------------------------------------------


@pytest.fixture
def group() -> str:
    return f"test-group-{secrets.token_hex(6)}"


@asynccontextmanager
async def held(
    access: KafkaAccess, config: LockConfig, told: list[Member] | None = None
) -> AsyncIterator[HeldLock]:
    waiting: Callable[[tuple[Member, ...]], None] = ([] if told is None else told).extend
    async with access.lock(config, waiting=waiting, rng=random.Random(7)) as lock:
        yield lock


async def test_the_second_is_refused_and_told_who_holds_it(ground: Ground, group: str) -> None:
    """It waits for as long as a dead holder would take to disappear; the first notices nothing."""
    topic = await ground.topic(3)
    first = LockConfig(group, topic, "first.x@y", ground.session)
    second = LockConfig(group, topic, "second", ground.session)
    told: list[Member] = []
    async with held(ground.access, first) as lock, ground.access.admin() as admin:
        began = time.monotonic()
        with pytest.raises(TakenError, match=r"first\.x@y") as refused:
            async with held(ground.access, second, told):
                pytest.fail("two of them")
        waited = time.monotonic() - began
        assert lock.held
        await lock.confirm()
        members = await admin.members(group)

    me = Member("first.x@y", "127.0.0.1")
    assert told == [me]
    assert refused.value.holders == (me,)
    assert list(members) == [me]
    assert waited >= ground.session


async def test_it_is_free_again_at_once(ground: Ground, group: str) -> None:
    """Who leaves in order keeps nobody waiting."""
    config = LockConfig(group, await ground.topic(), "one", ground.session)
    told: list[Member] = []
    async with held(ground.access, config) as first:
        pass
    async with held(ground.access, config, told) as second:
        assert second.held

    assert not first.held
    assert told == []


async def test_of_those_who_come_at_once_one_gets_it(ground: Ground, group: str) -> None:
    """Whoever joined together with others is told apart by the first partition."""
    topic = await ground.topic(3)
    inside = most = 0

    async def one(name: str) -> bool:
        nonlocal inside, most
        try:
            async with held(ground.access, LockConfig(group, topic, name, ground.session)) as lock:
                inside += 1
                most = max(most, inside)
                # Longer than the others wait.
                await asyncio.sleep(ground.session * 3)
                await lock.confirm()
                inside -= 1
        except TakenError:
            return False
        return True

    got = await asyncio.gather(*(one(name) for name in ("a", "b", "c")))

    assert sorted(got) == [False, False, True]
    assert most == 1


async def test_a_lock_that_was_lost_stays_lost(ground: Ground, group: str) -> None:
    """The group takes a member back that it had given up; somebody else may have been there."""
    config = LockConfig(group, await ground.topic(3), "one", ground.session)
    async with held(ground.access, config) as lock:
        await ground.thrown_out(lock)

        assert not lock.held
        with pytest.raises(LockLostError):
            await lock.confirm()


async def test_who_is_cut_off_loses_it_and_the_next_one_gets_it(ground: Ground, group: str) -> None:
    """The group counts a silent holder as dead; who waits gets the lock then, and not before."""
    topic = await ground.topic()
    first = LockConfig(group, topic, "first", ground.session)
    second = LockConfig(group, topic, "second", ground.session)
    told: list[Member] = []
    async with ground.wire() as wire, held(wire.access, first) as lock:
        before = lock.held
        wire.cut()
        async with held(ground.access, second, told) as next_one:
            after = lock.held
            with pytest.raises(LockLostError):
                await lock.confirm()
            assert next_one.held

    assert (before, after) == (True, False)
    assert [member.client_id for member in told] == ["first"]


async def test_a_lock_on_a_topic_that_is_not_there_is_told(ground: Ground, group: str) -> None:
    """A consumer would wait for it for ever."""
    with pytest.raises(KafkaUnavailableError, match="topics create"):
        async with held(ground.access, LockConfig(group, "nowhere", "me", ground.session)):
            pytest.fail("no such topic")
