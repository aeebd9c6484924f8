"""A dead letter as it is read back: everything about it but its payload.

Anybody can write to a topic, so nothing is taken for granted. A record is a *foreign* letter where
our headers are not complete, make no sense, or stand there twice. It is shown and can be parked.
Its claims are not believed, so it is replayed only where an operator insists. What a foreign letter
says by a convention of others is told beside that (`consumer.contract.other_letter`).

A foreign letter has no event id. It is named by its content instead, so that a copy on the parked
topic is known to be the same letter.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import orjson

from consumer.contract import dead_letter as ours
from consumer.contract.envelope import EventFields, fields_in, wrapping_of
from consumer.contract.other_letter import Convention, OtherLetter, other_letter_of
from consumer.contract.processed_document import instant_in
from consumer.contract.reference import ReceivedReference, decode_reference
from consumer.model.fields import aware_instant_in, count_of, text_of, whole_in
from consumer.model.names import Identity, Slug, TraceId
from consumer.model.origin import Origin, instant_of, origin_of
from consumer.model.record import Coordinates, Record
from consumer.model.version import believed

FOREIGN = "foreign"

_OURS = frozenset(ours.ADDED_HEADERS)
_LONGEST_SHOWN = 1_000
# Of a payload, to find technology and dates in it: a foreign one of 8 MiB can be crafted to take
# twenty times as much memory once it is parsed.
_LARGEST_PARSED = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A dead letter without its payload.

    Args:
        at: where it lies, on the dead-letter or the parked topic.
        timestamp_ms: when it was written there, epoch milliseconds.
        is_ours: whether its headers are complete and make sense.
        origin: the event's original record; for a foreign letter the letter itself.
        event_id: of the event's first result; None for a foreign letter.
        reason: ``dlq.reason``, or ``foreign``.
        message: why, in one line.
        stage: the station that gave up.
        workspace: its slug, where known.
        technology: from the payload, where that can be read and has at most 1 MiB.
        attempts: of the most tried chunk.
        failed_chunks: how many chunks are not stored.
        failed_chunk_ids: as many of their ids as the header holds.
        http_status: of the last answer.
        first_failed_at: when the event first became a dead letter.
        last_failed_at: when this letter was written.
        group: the consumer group that gave up.
        by_reference: whether the payload is only a reference to the original, or was left out by
            others who name its place.
        size: bytes of key, value and headers.
        referred: the reference, where the payload is one.
        version: the date of the document in the payload, where one can be read.
        tombstone: whether it has no value: the event was a removal.
        digest: names the content of a foreign letter.
        other: what a foreign letter says by a known convention.
        unreadable: why Kafka's client can't read the record. Only its place is known then, so it
            can't be parked, exported or replayed.
    """

    at: Coordinates
    timestamp_ms: int
    is_ours: bool
    origin: Origin
    event_id: str | None
    reason: str
    message: str
    stage: str | None
    identity: Identity | None
    document_id: str | None
    workspace: Slug | None
    technology: str | None
    attempts: int
    failed_chunks: int
    failed_chunk_ids: tuple[str, ...]
    http_status: int | None
    first_failed_at: datetime | None
    last_failed_at: datetime | None
    trace_id: TraceId | None
    group: str | None
    by_reference: bool
    size: int
    referred: ReceivedReference | None = None
    version: datetime | None = None
    tombstone: bool = False
    digest: str | None = None
    other: OtherLetter | None = None
    unreadable: str | None = None

    @property
    def event(self) -> str:
        """The name of the event: its event id; for a foreign letter its content or place."""
        return self.event_id or (f"{FOREIGN}-{self.digest}" if self.digest else str(self.at))

    @property
    def failed_at(self) -> datetime:
        """When it was written: by its header; for a foreign letter by the record's timestamp."""
        if self.is_ours and self.last_failed_at is not None:
            return self.last_failed_at
        return instant_of(self.timestamp_ms)


def letter_of(record: Record) -> Letter:
    """The letter in a record of the dead-letter or parked topic. Nothing is raised."""
    headers = _texts(record)
    origin = origin_of(record, is_replay=True)
    event = fields_in(record.value, wrapping_of(record.headers), at_most=_LARGEST_PARSED)
    reason = headers.get(ours.REASON)
    identity, trace_id = headers.get(ours.IDENTITY), headers.get(ours.TRACE_ID)
    is_ours = _is_ours(record, origin, reason)
    workspace = _shared(headers.get(ours.WORKSPACE))
    count, ids = _chunks(headers.get(ours.FAILED_CHUNKS))
    referred = decode_reference(record.value) if is_ours else None
    other = None if is_ours else other_letter_of(record)
    by_reference = referred is not None or (other is not None and not other.has_payload)
    return Letter(
        at=record.at,
        timestamp_ms=record.timestamp_ms,
        is_ours=is_ours,
        origin=origin if is_ours else Origin(record.at, record.timestamp_ms),
        event_id=origin.event_id if is_ours else None,
        reason=_shared(reason) or FOREIGN if is_ours else FOREIGN,
        message=_message(record, headers, other),
        stage=_shared(headers.get(ours.STAGE)),
        identity=None if identity is None else Identity(identity),
        document_id=headers.get(ours.DOCUMENT_ID),
        workspace=None if workspace is None else Slug(workspace),
        technology=_shared(text_of(event.fields.get("technology")) or None),
        attempts=whole_in(headers.get(ours.ATTEMPTS)) or 0,
        failed_chunks=count,
        failed_chunk_ids=ids,
        http_status=whole_in(headers.get(ours.HTTP_STATUS)),
        first_failed_at=origin.first_failed_at,
        last_failed_at=aware_instant_in(headers.get(ours.LAST_FAILED_AT)),
        trace_id=None if trace_id is None else TraceId(trace_id),
        group=_shared(headers.get(ours.GROUP) or _group(other)),
        by_reference=by_reference,
        size=record.size,
        referred=referred,
        version=_version(event, origin) if is_ours and referred is None else None,
        tombstone=record.value is None and record.unreadable is None and not by_reference,
        digest=None if is_ours else _digest(record),
        other=other,
        unreadable=record.unreadable.problem if record.unreadable else None,
    )


def _is_ours(record: Record, origin: Origin, reason: str | None) -> bool:
    names = [name for name, _ in record.headers if name in _OURS]
    complete = origin.event_id is not None and origin.at != record.at and bool(reason)
    # We replace headers and never append: a name that stands there twice was written by others.
    return complete and len(names) == len(set(names))


def _texts(record: Record) -> dict[str, str]:
    """The first value of each of our headers; bytes that are no text are shown as such."""
    found: dict[str, str] = {}
    for name, value in record.headers:
        if name in _OURS and value is not None:
            found.setdefault(name, value.decode("utf-8", "replace"))
    return found


def _group(other: OtherLetter | None) -> str | None:
    """The consumer group that gave up, where others name one."""
    return None if other is None or other.convention is Convention.CONNECT else other.owner or None


def _message(record: Record, headers: Mapping[str, str], other: OtherLetter | None) -> str:
    if record.unreadable is not None:
        return f"Kafka's client can't read the record: {record.unreadable.problem}"
    told = headers.get(ours.EXCEPTION_MESSAGE) or (other.message if other else "")
    return told[:_LONGEST_SHOWN]


def _version(event: EventFields, origin: Origin) -> datetime | None:
    """The same as `consumer.model.version.version_of`, of a payload that need not be valid."""
    fields = event.fields
    claimed = instant_in(fields.get("updated_at")) or instant_in(fields.get("created_at"))
    claimed = claimed or event.time
    return None if claimed is None else believed(claimed, origin)[0]


def _digest(record: Record) -> str | None:
    if record.unreadable is not None:
        return None
    parts = [record.key, record.value]
    for name, value in record.headers:
        parts += [name.encode("utf-8", "surrogatepass"), value]
    found = hashlib.sha256()
    for part in parts:
        # With its length, so that no byte can move from one part to the next unnoticed.
        found.update(b"-" if part is None else b"%d:" % len(part) + part)
    return found.hexdigest()[:32]


def _chunks(text: str | None) -> tuple[int, tuple[str, ...]]:
    try:
        fields = orjson.loads(text or "")
        count, ids = fields["count"], fields["ids"]
        if count_of(count) is None or not isinstance(ids, list):
            return 0, ()
        return count, tuple(each for each in ids if isinstance(each, str))
    except (ValueError, TypeError, LookupError):
        return 0, ()


def _shared(text: str | None) -> str | None:
    """The same text object for all letters that say it: thousands say one of a few."""
    return None if text is None else sys.intern(text)
