"""A dead letter as it is read back: everything about it but its payload.

Anybody can write to a topic, so nothing is taken for granted: a record without our headers, or with
some that make no sense, is a *foreign* letter. It is shown and can be parked, but what it claims
to be is not believed: it is replayed only where an operator insists.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from consumer.model import dead_letter as ours
from consumer.model.delivery import Coordinates, Record
from consumer.model.origin import Origin, origin_of

_LONGEST_SHOWN = 1_000
_LARGEST_PARSED = 1024 * 1024  # of a payload, to find the technology in it


@dataclass(frozen=True, slots=True)
class Letter:
    """See the module's docstring.

    Args:
        at: where it lies, on the dead-letter or the parked topic.
        timestamp_ms: when it was written there, epoch milliseconds.
        is_ours: whether its headers are complete and make sense.
        origin: the event's original record; of a foreign letter the letter itself.
        event_id: of the event's first result; None for foreign ones.
        reason: ``dlq.reason``, or ``foreign``.
        message: why, in one line.
        stage: the station that gave it up.
        identity: where known.
        document_id: where known.
        workspace: where known.
        technology: from the payload, where it can be read.
        attempts: of the most tried chunk.
        failed_chunks: how many chunks are not stored.
        failed_chunk_ids: as many of their ids as the header holds.
        http_status: of the last answer.
        first_failed_at: when the event first became a dead letter.
        last_failed_at: when this one was written.
        trace_id: of the event.
        group: consumer group that gave it up.
        by_reference: whether the payload is only a reference to the original.
        size: bytes of key, value and headers.
    """

    at: Coordinates
    timestamp_ms: int
    is_ours: bool
    origin: Origin
    event_id: str | None
    reason: str
    message: str
    stage: str | None
    identity: str | None
    document_id: str | None
    workspace: str | None
    technology: str | None
    attempts: int
    failed_chunks: int
    failed_chunk_ids: tuple[str, ...]
    http_status: int | None
    first_failed_at: datetime | None
    last_failed_at: datetime | None
    trace_id: str | None
    group: str | None
    by_reference: bool
    size: int

    @property
    def event(self) -> str:
        """What names the event: its event id, or where a foreign letter lies."""
        return self.event_id or str(self.at)


def letter_of(record: Record) -> Letter:
    """The letter in a record of the dead-letter or parked topic. Never raises."""
    headers = _texts(record)
    origin = origin_of(record, is_replay=True)
    fields = _payload(record)
    reason = headers.get(ours.REASON)
    is_ours = origin.event_id is not None and origin.at != record.at and bool(reason)
    count, ids = _chunks(headers.get(ours.FAILED_CHUNKS))
    return Letter(
        at=record.at,
        timestamp_ms=record.timestamp_ms,
        is_ours=is_ours,
        origin=origin if is_ours else Origin(record.at, record.timestamp_ms),
        event_id=origin.event_id if is_ours else None,
        reason=(reason or "") if is_ours else "foreign",
        message=(headers.get(ours.EXCEPTION_MESSAGE) or "")[:_LONGEST_SHOWN],
        stage=headers.get(ours.STAGE),
        identity=headers.get(ours.IDENTITY),
        document_id=headers.get(ours.DOCUMENT_ID),
        workspace=headers.get(ours.WORKSPACE),
        technology=_text(fields.get("technology")),
        attempts=_number(headers.get(ours.ATTEMPTS)) or 0,
        failed_chunks=count,
        failed_chunk_ids=ids,
        http_status=_number(headers.get(ours.HTTP_STATUS)),
        first_failed_at=origin.first_failed_at,
        last_failed_at=_instant(headers.get(ours.LAST_FAILED_AT)),
        trace_id=headers.get(ours.TRACE_ID),
        group=headers.get(ours.GROUP),
        by_reference=fields.get("kind") == "reference" and "value_sha256" in fields,
        size=record.size,
    )


def _texts(record: Record) -> dict[str, str]:
    """The last value of each of our headers that is text."""
    found = {}
    for name, value in record.headers:
        if name in ours.ADDED_HEADERS and value is not None:
            found[name] = value.decode("utf-8", "replace")
    return found


def _payload(record: Record) -> Mapping[str, Any]:
    value = record.value
    if not value or len(value) > _LARGEST_PARSED:
        return {}
    try:
        fields = orjson.loads(value)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _chunks(text: str | None) -> tuple[int, tuple[str, ...]]:
    try:
        fields = orjson.loads(text or "")
        ids = tuple(each for each in fields["ids"] if isinstance(each, str))
        return int(fields["count"]), ids
    except (ValueError, TypeError, LookupError):
        return 0, ()


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else None


def _instant(text: str | None) -> datetime | None:
    try:
        instant = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return instant if instant.tzinfo else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
