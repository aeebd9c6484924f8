"""Deleting a consumer group, for the sandbox, which removes what it made.

aiokafka 0.14 can list groups but not delete them, so Kafka's own request (DeleteGroups, version 0,
understood by every broker from 1.1 to 4.x) is described here.
"""

from __future__ import annotations

from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Int16, Int32, Schema, String

_API_KEY = 42
_GONE = {0, 69}  # deleted, or there is no such group


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
