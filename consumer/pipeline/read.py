"""Read: from bytes to an event whose identity, workspace and version are known. Never raises.

This is the decode station, and the part of planning that needs no server: what decides the order
of events has to be known before anything waits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

import structlog

from consumer.contract.envelope import (
    UNOPENED,
    KeyEnvelopeError,
    Wrapping,
    identity_bytes,
    opened_key,
    wrapping_of,
)
from consumer.model.document import ProcessedDocument
from consumer.model.event import DocumentEvent, Event, TombstoneEvent
from consumer.model.identity import IdentityTemplate
from consumer.model.names import Identity, Slug, TraceId
from consumer.model.origin import Origin, origin_of
from consumer.model.outcome import FailureReason, Refused
from consumer.model.record import Record
from consumer.model.routing import Collisions, Routing, Unroutable
from consumer.model.version import version_of
from consumer.pipeline.decode import DecodeLimits, HeavyInside, Malformed, decode, is_heavy
from consumer.pipeline.ports import DecodeApart
from consumer.telemetry.metrics import Metrics
from consumer.telemetry.trace import trace_id_of

log = structlog.get_logger(__name__)

WORKSPACE_HEADER = "workspace"


class Reader:
    """Reads records by the settings of this instance.

    Args:
        limits: what is too large.
        replay_topic: the only topic whose records may name original coordinates in headers.
        now: wall clock, aware.
        envelopes: whether envelopes are opened (DOCUMENT_ENVELOPES).
    """

    def __init__(
        self,
        *,
        limits: DecodeLimits,
        identity: IdentityTemplate,
        routing: Routing,
        replay_topic: str,
        metrics: Metrics,
        now: Callable[[], datetime],
        envelopes: bool = True,
    ) -> None:
        self._limits = limits
        self._identity = identity
        self._routing = routing
        self._replay_topic = replay_topic
        self._metrics = metrics
        self._now = now
        self._envelopes = envelopes
        self._collisions = Collisions()

    def read(self, record: Record) -> Event:
        """The event in a record, or why there is none."""
        return self._read(record, self._wrapping(record))

    def _read(self, record: Record, wrapping: Wrapping, *, only_light: bool = False) -> Event:
        if record.unreadable is not None:
            why = record.unreadable
            return self._event(record, Refused(why.reason, (why.problem,), None), None)
        if record.value is None:
            return self._tombstone(record, wrapping)
        try:
            document = decode(record.value, self._limits, wrapping, only_light=only_light)
            return self._document(record, document)
        except Malformed as malformed:
            return self._malformed(record, malformed)

    async def read_apart(self, record: Record, decode_apart: DecodeApart) -> Event:
        """As `read`, without holding the loop for long.

        Args:
            record: what to read.
            decode_apart: as `decode`, for a heavy value, elsewhere.
        """
        value = None if record.unreadable is not None else record.value
        wrapping = self._wrapping(record)
        if value is None:
            return self._read(record, wrapping)
        if not is_heavy(value, self._limits):
            with suppress(HeavyInside):
                return self._read(record, wrapping, only_light=True)
        at = record.at
        place = {"topic": at.topic, "partition": at.partition, "offset": at.offset}
        try:
            with structlog.contextvars.bound_contextvars(**place):
                document = await decode_apart(value, wrapping)
            return self._document(record, document)
        except Malformed as malformed:
            return self._malformed(record, malformed)

    def _document(self, record: Record, document: ProcessedDocument) -> Event:
        identity = self._identity.of(document)
        self._note(record, document, identity)
        body = self._routed(record, document, identity)
        return self._event(record, body, document.trace_id, document=document, identity=identity)

    def _malformed(self, record: Record, malformed: Malformed) -> Event:
        problems = tuple(str(problem) for problem in malformed.problems)
        readable = malformed.readable
        refused = Refused(malformed.reason, problems, malformed.document_id)
        identity = self._identity.of_readable(
            document_id=readable.document_id,
            source_url=readable.source_url,
            technology=readable.technology,
        )
        return self._event(record, refused, readable.trace_id, identity=identity)

    def _routed(
        self, record: Record, document: ProcessedDocument, identity: Identity
    ) -> DocumentEvent | Refused:
        try:
            slug = self._routing.slug_for(document)
        except Unroutable as unroutable:
            return Refused(FailureReason.UNROUTABLE, (str(unroutable),), document.id)
        self._note_collision(slug, document, identity)
        version, capped = version_of(document, record, is_replay=self._is_replay(record))
        if capped:
            log.warning(
                "version.capped",
                identity=identity,
                document_id=document.id,
                at=str(record.at),
                consequence="its date lies over a day ahead of its record; the record's is used",
            )
        return DocumentEvent(document, slug, identity, version)

    def _tombstone(self, record: Record, wrapping: Wrapping) -> Event:
        try:
            identity = Identity(_text(opened_key(record.key or b"", wrapping)))
        except KeyEnvelopeError as error:
            problem = f"a tombstone needs the identity as its key; the key {error}"
            return self._event(record, Refused(FailureReason.INVALID, (problem,), None), None)
        if not identity:
            problem = "a tombstone needs the identity as its UTF-8 key"
            return self._event(record, Refused(FailureReason.INVALID, (problem,), None), None)
        slug = self._routing.fixed
        if (wish := record.header(WORKSPACE_HEADER)) is not None:
            slug = Slug(_text(wish))
        if slug is not None and not self._routing.permits(slug):
            problem = "a tombstone's workspace header must be the slug of an allowed workspace"
            refused = Refused(FailureReason.UNROUTABLE, (problem,), None)
            return self._event(record, refused, None, identity=identity)
        version, _ = version_of(
            None, record, is_replay=self._is_replay(record), event_time=wrapping.time
        )
        body = TombstoneEvent(slug, identity, version)
        return self._event(record, body, None, identity=identity)

    def _wrapping(self, record: Record) -> Wrapping:
        return wrapping_of(record.headers) if self._envelopes else UNOPENED

    def _is_replay(self, record: Record) -> bool:
        return record.at.topic == self._replay_topic

    def _event(
        self,
        record: Record,
        body: DocumentEvent | TombstoneEvent | Refused,
        trace_in_body: str | None,
        *,
        document: ProcessedDocument | None = None,
        identity: Identity | None = None,
    ) -> Event:
        origin = origin_of(record, is_replay=self._is_replay(record))
        trace_id = trace_id_of(record.headers, trace_in_body, lambda: _trace_id_from(origin))
        return Event(record, trace_id, origin, document, identity, body, self._now())

    def _note(self, record: Record, document: ProcessedDocument, identity: Identity) -> None:
        if record.key != (expected := identity.encode()) and expected != identity_bytes(
            record.key, self._wrapping(record)
        ):
            self._metrics.differing_keys.inc()
            log.info(
                "record.key_differs",
                identity=identity,
                document_id=document.id,
                at=str(record.at),
                consequence="order between versions holds within this partition only",
            )
        if document.notes:
            log.info(
                "document.odd",
                identity=identity,
                document_id=document.id,
                at=str(record.at),
                notes=list(document.notes),
            )

    def _note_collision(self, slug: Slug, document: ProcessedDocument, identity: Identity) -> None:
        if document.workspace is None:
            known = self._collisions.note(slug, document.technology)
            if known:
                log.warning(
                    "routing.collision",
                    workspace=slug,
                    technologies=list(known),
                    identity=identity,
                    document_id=document.id,
                )


def _text(value: bytes | None) -> str:
    """Bytes as text; empty for what is no UTF-8."""
    try:
        return (value or b"").decode()
    except UnicodeDecodeError:
        return ""


def _trace_id_from(origin: Origin) -> TraceId:
    """A trace id for an event that brings none: the same one whenever the event is read."""
    place = f"{origin.at} {origin.timestamp_ms}"
    return TraceId(hashlib.sha256(place.encode()).hexdigest()[:32])
