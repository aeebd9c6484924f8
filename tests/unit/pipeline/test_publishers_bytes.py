"""The bytes of real producers, through the real decoder."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from consumer.model.event import DocumentEvent, TombstoneEvent
from consumer.model.outcome import Refused
from consumer.model.record import Coordinates, Record
from consumer.settings import load_settings
from consumer.wiring.events import event_reader
from tests.publisher_records import DELETED, REFUSED, REMOVALS, STORED, Recorded, recorded

ALL = {each.name: each for each in recorded()}
READER = event_reader(load_settings({"ANYTHINGLLM_API_KEY": "k"}))
PUBLISHED = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.mark.parametrize("each", ALL.values(), ids=ALL)
def test_what_a_real_producer_writes_is_read(each: Recorded) -> None:
    """Or told as what it is; never taken for something else."""
    at = Coordinates("documents.processed", 0, 0)
    timestamp = int(PUBLISHED.timestamp() * 1000)
    event = READER.read(Record(at, timestamp, each.key, each.value, each.headers))
    body = event.body

    if each.outcome == STORED:
        assert isinstance(body, DocumentEvent)
        assert [chunk.content for chunk in body.document.chunks] == [each.text]
        assert (event.identity, body.slug) == (each.name, "publishers")
        is_cloud_event = each.producer.startswith("cloudevents")
        when = datetime(2026, 11, 22, 10, tzinfo=UTC) if is_cloud_event else PUBLISHED
        assert body.version.instant == when
    elif each.outcome == DELETED:
        assert isinstance(body, TombstoneEvent)
        assert body.identity == each.name
    else:
        assert isinstance(body, Refused)
        assert each.outcome in " ".join(body.problems)
        assert each.text not in " ".join(body.problems)


def test_every_producer_is_there() -> None:
    """Of the versions that README names."""
    assert {each.producer for each in ALL.values()} == {
        "FastStream 0.7.8", "confluent-kafka 2.16.1", "cloudevents 2.2.0",
        "Kafka Connect JsonConverter 4.4.0", "Spring Kafka JacksonJsonSerializer 4.0.0",
    }  # fmt: skip
    assert REFUSED.keys() | REMOVALS <= ALL.keys()
