"""An event as it is published again: byte for byte, with the place that it first had. Pure."""

from __future__ import annotations

from consumer.contract.dead_letter import published_again, rfc3339
from consumer.contract.upload_result import event_id_of
from consumer.kafka.publisher import OutgoingRecord
from consumer.model import origin as of
from consumer.model.record import Record


def republished(record: Record, *, replay_topic: str, run: str, cluster_id: str) -> OutgoingRecord:
    """The record for the replay topic.

    Args:
        record: the event as it was read, from the documents topic or from the replay topic.
        replay_topic: where it goes; a record that came from there tells of its original itself.
        run: the id of the run.
        cluster_id: of Kafka; part of the id of the event's first result.
    """
    origin = of.origin_of(record, is_replay=record.at.topic == replay_topic)
    is_original = origin.at == record.at
    event_id = event_id_of(record, cluster_id) if is_original else origin.event_id
    first = origin.first_failed_at
    added = {
        of.EVENT_ID: event_id,
        of.FIRST_FAILED_AT: rfc3339(first) if first is not None else None,
        of.REPLAYS: str(origin.replays) if origin.replays else None,
        of.RUN: run,
    }
    return OutgoingRecord(
        replay_topic,
        record.key,
        record.value,
        published_again(record.headers, origin, added),
        origin.at.partition,
    )
