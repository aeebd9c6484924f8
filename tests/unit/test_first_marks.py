"""When several servers may begin: nobody in the group has a single one. Kafka is not asked here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from consumer.app import first_marks
from consumer.app.first_marks import FirstMarks
from consumer.kafka.connection import KafkaUnavailableError
from consumer.kafka.groups import Member
from consumer.settings import load_settings
from consumer.wiring.kafka import kafka_connection
from consumer.wiring.source import SEVERAL_SERVERS, source_config

ONE = {"ANYTHINGLLM_API_KEY": "CANARY"}


class Group:
    """A consumer group whose members are what they call themselves.

    Args:
        members: None: Kafka does not answer.
    """

    def __init__(self, members: list[str] | None) -> None:
        self._members = members

    async def members(self, group: str) -> list[Member]:
        assert group == "the-group"
        if self._members is None:
            raise KafkaUnavailableError("nobody answers")
        return [Member(each, f"10.0.0.{n}") for n, each in enumerate(self._members)]


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([], None),
        ([SEVERAL_SERVERS, SEVERAL_SERVERS], None),
        ([SEVERAL_SERVERS, "anythingllm-consumer"], "1 members of the consumer group the-group"),
        (["anythingllm-consumer", "anythingllm-consumer"], "on 10.0.0.0, 10.0.0.1"),
        (None, "Kafka can't be asked who else is at work: nobody answers"),
    ],
)
async def test_servers_begin_beside_nobody_who_has_a_single_one(
    members: list[str] | None, words: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    @asynccontextmanager
    async def opened(connection: object) -> AsyncIterator[Group]:
        yield Group(members)

    monkeypatch.setattr(first_marks, "open_admin", opened)
    why = await FirstMarks(kafka_connection(load_settings(ONE)), "the-group")()
    assert (why is None) == (words is None)
    assert words is None or words in str(why)


def test_who_lists_several_servers_calls_himself_so(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("CANARY", encoding="utf-8")
    several = {"ANYTHINGLLM_ENDPOINTS": f"a http://a.invalid:1 {key}"}
    listed = load_settings({**several, "ANYTHINGLLM_ENDPOINTS_TRIAL": "true"})
    assert source_config(listed).client_id == SEVERAL_SERVERS
    assert source_config(load_settings(ONE)).client_id is None
