"""Topics on a cluster with a limit of its own: what can be made is made, and the limit is named."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.admin import NewTopic

from consumer.kafka.topic_creation import Creation, TopicsRefusedError, create_each
from consumer.kafka.topic_spec import TopicSpec
from consumer.kafka.topics import TopicState, findings
from consumer.settings import load_settings
from consumer.wiring.topics import topic_specs

MIB = 2**20
POLICY_VIOLATION, FORBIDDEN, EXISTS = 44, 29, 36


@dataclass(slots=True)
class Cloud:
    """An admin client of a cluster with a limit of its own."""

    limit: int
    there: set[str] = field(default_factory=set)
    forbidden: frozenset[str] = frozenset()

    async def create_topics(self, topics: list[NewTopic], validate_only: bool = False) -> Any:
        (topic,) = topics
        return SimpleNamespace(topic_errors=[(topic.name, *self._answer(topic, validate_only))])

    def _answer(self, topic: NewTopic, validate_only: bool) -> tuple[int, str | None]:
        if topic.name in self.there:
            return EXISTS, "there"
        if topic.name in self.forbidden:
            return FORBIDDEN, "not yours"
        if int(topic.topic_configs.get("max.message.bytes", 0)) > self.limit:
            return POLICY_VIOLATION, None  # it need not say why
        if not validate_only:
            self.there.add(topic.name)
        return 0, None


def _specs(**settings: str) -> tuple[TopicSpec, ...]:
    return topic_specs(load_settings({"ANYTHINGLLM_API_KEY": "k", **settings}))


async def _created(cloud: Cloud, **settings: str) -> Creation:
    return await create_each(cloud, _specs(**settings), 3)


async def test_with_the_defaults_a_cloud_of_8_mib_names_the_value_that_fits() -> None:
    """Two are made, three are refused; with the value that is named the other three are made."""
    cloud = Cloud(8 * MIB)
    first = await _created(cloud)

    assert len(first.outcomes) == 2
    assert sorted(first.refused) == [
        "documents.processed.dlq",
        "documents.processed.parked",
        "documents.processed.replay",
    ]
    assert first.largest_document == 8 * MIB - 64 * 1024
    assert "DOCUMENT_MAX_BYTES=8323072" in first.advice
    assert "DOCUMENT_MAX_BYTES=8323072" in str(TopicsRefusedError(first))

    again = await _created(cloud, DOCUMENT_MAX_BYTES="8323072")
    assert (again.refused, again.advice) == ({}, "")
    assert list(again.outcomes.values()).count(None) == 3


async def test_another_reason_is_not_taken_for_the_size() -> None:
    """Those behind a topic that is refused are made; nothing is said of DOCUMENT_MAX_BYTES."""
    creation = await _created(Cloud(100 * MIB, forbidden=frozenset({"documents.processed"})))

    assert list(creation.refused) == ["documents.processed"]
    assert "not yours" in creation.refused["documents.processed"]
    assert len(creation.outcomes) == 4
    assert "DOCUMENT_MAX_BYTES" not in creation.advice


@pytest.mark.parametrize("limit", [5 * MIB, MIB, 1_000_000])
async def test_smaller_limits_are_found_too_and_the_advice_works(limit: int) -> None:
    """The largest usual one below what was wanted; what is named can be set as it stands there."""
    cloud = Cloud(limit)
    creation = await _created(cloud)
    assert creation.largest_document == limit - 64 * 1024

    again = await _created(cloud, **dict(re.findall(r"(DOCUMENT_\w+)=(\d+)", creation.advice)))
    assert again.refused == {}


def test_check_names_a_way_out_where_the_cluster_allows_no_more() -> None:
    """Raising the topic's limit alone would be a circle on a cluster that refuses it."""
    spec = _specs()[3]
    settings = {**spec.settings, "max.message.bytes": str(8 * MIB)}
    (found,) = findings([spec], {spec.name: TopicState(12, settings)})

    assert "max.message.bytes=8454144" in found.what_to_do
    assert "DOCUMENT_MAX_BYTES=8323072" in found.what_to_do
