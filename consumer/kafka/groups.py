"""What is known of consumer groups from outside: members, offsets; committing; deleting.

- aiokafka 0.14 can list groups but not delete them, so Kafka's own request (DeleteGroups,
  version 0, understood by every broker from 1.1 to 4.x) is described here.
- aiokafka commits only for consumers, which would fetch at once what they are assigned to. A group
  without members takes commits from any client (generation -1), and keeps with each of them up to
  4 KiB of text of ours (the brokers' ``offset.metadata.max.bytes``).
- A cluster without any group makes the topic for them at the first question, and a group moves with
  the broker that coordinates it. So a question is asked again for as long as the caller waits.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    NotCoordinatorForGroupError,
    for_code,
)
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.commit import OffsetCommitRequest, OffsetFetchRequest
from aiokafka.protocol.types import Array, Int16, Int32, Schema, String

_API_KEY = 42
_GONE = {0, 69}  # deleted, or there is no such group
_NOT_NOW = (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    NotCoordinatorForGroupError,
)
_AGAIN_SECONDS = 0.1
_WAITING = "PreparingRebalance"  # in the words of DescribeGroups

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a group, as the group's coordinator knows it.

    Args:
        client_id: what it calls itself.
        host: where it connected from.
    """

    client_id: str
    host: str


@dataclass(frozen=True, slots=True)
class GroupOffset:
    """What a group has committed for one partition.

    Args:
        offset: the next record to work on.
        text: what was committed beside it; up to 4 KiB.
    """

    offset: int
    text: str = ""


Places = Mapping[tuple[str, int], GroupOffset]  # by topic and partition


class _DeleteGroupsResponse(Response):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = _API_KEY
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("results", Array(("group_id", String("utf-8")), ("error_code", Int16))),
    )


class _DeleteGroupsStruct(RequestStruct):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = _API_KEY
    API_VERSION = 0
    RESPONSE_TYPE = _DeleteGroupsResponse
    SCHEMA = Schema(("groups", Array(String("utf-8"))))


class _DeleteGroups(Request[_DeleteGroupsStruct]):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = _API_KEY

    def __init__(self, groups: list[str]) -> None:
        self._groups = groups

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class(self._groups)


async def delete_group(client: AIOKafkaAdminClient, group: str) -> None:
    """Delete a group that has no members any more; one that is gone already is no error.

    Raises:
        KafkaError: Kafka refuses (a member is still there), or can't be reached.
    """
    coordinator = await client.find_coordinator(group)
    response = await client._send_request_to_node(coordinator, _DeleteGroups([group]))
    for _group, code in response.results:
        if code not in _GONE:
            raise for_code(code)(group)


async def members_of(client: AIOKafkaAdminClient, group: str) -> list[Member]:
    """The members of the group; none where there is no such group.

    Raises:
        KafkaError: Kafka refuses, or can't be reached.
    """
    return (await _described(client, group))[1]


async def awaited_members_of(client: AIOKafkaAdminClient, group: str) -> list[Member]:
    """The members of a group that waits for all of them to join anew; none where it does not.

    Raises:
        KafkaError: Kafka refuses, or can't be reached.
    """
    state, members = await _described(client, group)
    return members if state == _WAITING else []


async def _described(client: AIOKafkaAdminClient, group: str) -> tuple[str, list[Member]]:
    """State and members."""

    async def ask() -> tuple[str, list[Member]]:
        (response,) = await client.describe_consumer_groups([group])
        (described,) = response.groups
        code, _, state, _, _, members = described[:6]
        if code not in _GONE:
            raise for_code(code)(group)
        return state, [Member(member[1], member[2].lstrip("/")) for member in members]

    return await patiently(ask)


async def groups_named(client: AIOKafkaAdminClient, prefix: str) -> list[str]:
    """The groups whose names begin like this, sorted.

    Raises:
        KafkaError: Kafka refuses, or can't be reached.
    """

    async def ask() -> list[str]:
        found = await client.list_consumer_groups()
        return sorted(name for name, *_ in found if name.startswith(prefix))

    return await patiently(ask)


async def places_of(client: AIOKafkaAdminClient, group: str) -> dict[tuple[str, int], GroupOffset]:
    """What the group has committed; nothing for one that there is not.

    Raises:
        KafkaError: Kafka refuses, or can't be reached.
    """

    async def ask() -> dict[tuple[str, int], GroupOffset]:
        coordinator = await client.find_coordinator(group)
        request = OffsetFetchRequest(group, None)
        response = await client._send_request_to_node(coordinator, request)
        # aiokafka's own method ignores this one: "not the coordinator" would read as "nothing is
        # committed".
        code = getattr(response, "error_code", 0)
        places: dict[tuple[str, int], GroupOffset] = {}
        for topic, partitions in response.topics:
            for partition, offset, text, its_code in partitions:
                code = code or its_code
                if offset >= 0:
                    places[topic, partition] = GroupOffset(offset, text or "")
        if code:
            raise for_code(code)(group)
        return places

    return await patiently(ask)


async def commit_from_outside(client: AIOKafkaAdminClient, group: str, places: Places) -> None:
    """Commit for a group that has no members.

    Raises:
        KafkaError: it has members, a text is too long, Kafka refuses or can't be reached.
    """
    topics: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
    for (topic, partition), place in places.items():
        topics[topic].append((partition, place.offset, place.text))
    request = OffsetCommitRequest(
        group,
        OffsetCommitRequest.DEFAULT_GENERATION_ID,
        "",
        OffsetCommitRequest.DEFAULT_RETENTION_TIME,
        list(topics.items()),
    )

    async def commit() -> None:
        coordinator = await client.find_coordinator(group)
        response = await client._send_request_to_node(coordinator, request)
        for _topic, partitions in response.topics:
            for _partition, code in partitions:
                if code:
                    raise for_code(code)(group)

    await patiently(commit)


async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask until the group's coordinator is there; the caller sets the deadline."""
    while True:
        try:
            return await ask()
        except _NOT_NOW:
            await asyncio.sleep(_AGAIN_SECONDS)
