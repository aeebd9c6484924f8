"""Groups of Kafka's other protocols on a real broker, which no client for Python can make yet."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import CompactArray, CompactString, Int16, Int32, Schema, TaggedFields

from consumer.app import StartFailedError
from consumer.app.starting import group_is_for_us
from consumer.kafka.connection import KafkaConnection, KafkaUnavailableError
from consumer.kafka.group_kinds import GroupKind
from consumer.kafka.groups import patiently
from consumer.kafka.topics import open_admin
from consumer.sandbox.kafka import LocalKafka
from consumer.sandbox.kafka.jars import missing_for_java
from consumer.sandbox.kafka.java import JavaKafka
from tests.conftest import MakeTopic
from tests.integration.kafka_support import create

TEXT, TEXTS = CompactString("utf-8"), CompactArray(CompactString("utf-8"))


class _Joined(Response):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = 68
    API_VERSION = 1
    SCHEMA = Schema(("throttle_time_ms", Int32), ("error_code", Int16), ("error_message", TEXT))


class _Consumer(RequestStruct):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = 68
    API_VERSION = 1
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _Joined
    SCHEMA = Schema(
        ("group_id", TEXT),
        ("member_id", TEXT),
        ("member_epoch", Int32),
        ("instance_id", TEXT),
        ("rack_id", TEXT),
        ("rebalance_timeout_ms", Int32),
        ("subscribed_topic_names", TEXTS),
        ("subscribed_topic_regex", TEXT),
        ("server_assignor", TEXT),
        ("topic_partitions", TEXTS),
        ("tags", TaggedFields),
    )


class _ConsumerJoin(Request[_Consumer]):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = 68

    def __init__(self, group: str, topic: str) -> None:
        self._group, self._topic = group, topic

    def build(self, request_struct_class: Any) -> Any:
        member = str(uuid.uuid4())
        return request_struct_class(
            self._group, member, 0, None, None, 45_000, [self._topic], None, None, [], {}
        )


class _Share(RequestStruct):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = 76
    API_VERSION = 1
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _Joined
    SCHEMA = Schema(
        ("group_id", TEXT),
        ("member_id", TEXT),
        ("member_epoch", Int32),
        ("rack_id", TEXT),
        ("subscribed_topic_names", TEXTS),
        ("tags", TaggedFields),
    )


class _ShareJoin(Request[_Share]):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = 76

    def __init__(self, group: str, topic: str) -> None:
        self._group, self._topic = group, topic

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class(self._group, str(uuid.uuid4()), 0, None, [self._topic], {})


async def _join(connection: KafkaConnection, group: str, request: Any) -> None:
    """One heartbeat, which makes a member of the group for the time of a session."""
    client = AIOKafkaAdminClient(**connection.client_options())
    await client.start()
    try:
        async with asyncio.timeout(30):
            await patiently(lambda: _beat(client, group, request))
    finally:
        await client.close()


async def _beat(client: AIOKafkaAdminClient, group: str, request: Any) -> None:
    coordinator = await client.find_coordinator(group)
    response = await client._send_request_to_node(coordinator, request)
    if response.error_code:
        raise for_code(response.error_code)(response.error_message)


async def _kind(connection: KafkaConnection, group: str) -> GroupKind | None:
    async with open_admin(connection) as admin:
        return await admin.group_kind(group)


async def test_members_of_the_new_protocol_are_seen(
    kafka: LocalKafka, make_topic: MakeTopic, unique_name: Callable[[str], str]
) -> None:
    """A member of KIP-848 makes the group one of the new protocol."""
    connection = KafkaConnection(kafka.bootstrap_servers)
    topic, group = await make_topic(), unique_name("group")
    assert await _kind(connection, group) is None

    await _join(connection, group, _ConsumerJoin(group, topic))

    kind = await _kind(connection, group)
    assert kind is not None
    assert kind.kind == "consumer"
    assert "new consumer protocol" in (kind.obstacle or "")
    with pytest.raises(KafkaUnavailableError, match=f"{group} has members.*KAFKA_GROUP_ID"):
        await group_is_for_us(connection, group)  # which `run` waits for: they may leave
    await group_is_for_us(connection, unique_name("group"))


class ShareKafka(JavaKafka):
    """A broker that lets share groups be."""

    def _properties(self, folder: Path) -> str:
        more = {
            "group.share.enable": "true",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
        }
        return super()._properties(folder) + "".join(f"{n}={v}\n" for n, v in more.items())


@pytest.fixture
async def sharing() -> AsyncIterator[ShareKafka]:
    if (missing := await asyncio.to_thread(missing_for_java)) is not None:
        pytest.skip(missing)
    kafka = ShareKafka(random.Random())
    try:
        await kafka.start()
        yield kafka
    finally:
        await kafka.close()


@pytest.mark.kafka
async def test_a_share_group_is_seen(sharing: ShareKafka) -> None:
    """One of KIP-932 stays what it is, with or without members."""
    connection = KafkaConnection(sharing.bootstrap_servers)
    await create(connection, "test-shared")
    await _join(connection, "test-sharing", _ShareJoin("test-sharing", "test-shared"))

    kind = await _kind(connection, "test-sharing")
    assert kind is not None
    assert kind.kind == "share"
    assert "share group" in (kind.obstacle or "")
    with pytest.raises(StartFailedError, match=r"test-sharing is a share group.*KAFKA_GROUP_ID"):
        await group_is_for_us(connection, "test-sharing")
