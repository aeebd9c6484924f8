"""What kind of group stands behind a group id: we can only be in one of the classic protocol.

- Kafka 4 has groups of three kinds under one name space: classic ones, those of the new consumer
  protocol (KIP-848) and share groups (KIP-932). A group keeps its kind while it has members, a
  share group for ever.
- aiokafka 0.14 can't ask for the kind: that is version 5 of ListGroups, which brokers have from 3.8
  on. Older ones know classic groups only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import IncompatibleBrokerVersion, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import CompactArray, CompactString, Int16, Int32, Schema, TaggedFields

_API_KEY = 16
ANOTHER_GROUP = "set KAFKA_GROUP_ID to a name that nobody else uses"
_OURS = "consumer"  # as a protocol type, which members of every consumer group have


@dataclass(frozen=True, slots=True)
class GroupKind:
    """What Kafka says of a group.

    Args:
        kind: classic, consumer (the new protocol) or share, in lower case.
        protocol_type: what its members are there for: ``consumer``, ``connect``; may be empty.
        state: in Kafka's words, ``Stable`` for example.
    """

    kind: str
    protocol_type: str
    state: str

    @property
    def is_share(self) -> bool:
        """Whether it is a share group, and stays one also without members."""
        return self.kind == "share"

    @property
    def obstacle(self) -> str | None:
        """Why we can't be in it, as the end of a sentence about the group; None: we can."""
        empty = self.state.lower() in {"empty", "dead"}
        if self.is_share:
            return "is a share group: its members get records in no order and commit each alone"
        if self.kind == "consumer" and not empty:
            return (
                "has members of the new consumer protocol (group.protocol=consumer): they would"
                " share our partitions, or Kafka refuses us"
            )
        if self.protocol_type not in {"", _OURS} and not empty:
            return f"has members of another kind ({self.protocol_type}): Kafka refuses us"
        return None


class _ListGroupsResponse(Response):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = _API_KEY
    API_VERSION = 5
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        (
            "groups",
            CompactArray(
                ("group_id", CompactString("utf-8")),
                ("protocol_type", CompactString("utf-8")),
                ("group_state", CompactString("utf-8")),
                ("group_type", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _ListGroupsStruct(RequestStruct):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = _API_KEY
    API_VERSION = 5
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _ListGroupsResponse
    SCHEMA = Schema(
        ("states_filter", CompactArray(CompactString("utf-8"))),
        ("types_filter", CompactArray(CompactString("utf-8"))),
        ("tags", TaggedFields),
    )


class _ListGroups(Request[_ListGroupsStruct]):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = _API_KEY

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class([], [], {})


async def kind_of(client: AIOKafkaAdminClient, group: str) -> GroupKind | None:
    """The kind of a group; None where there is no such group, or the brokers are older than kinds.

    Raises:
        KafkaError: Kafka refuses, or can't be reached.
    """
    for broker in (await client.describe_cluster())["brokers"]:
        try:
            response = await client._send_request_to_node(broker["node_id"], _ListGroups())
        except (IncompatibleBrokerVersion, NotImplementedError):
            return None
        if response.error_code:
            raise for_code(response.error_code)(group)
        for name, protocol_type, state, kind, _tags in response.groups:
            if name == group:
                return GroupKind(kind.lower(), protocol_type, state)
    return None
