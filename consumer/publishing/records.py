"""Records as they go to the documents topic: key, value and headers."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, replace

from consumer.contract.envelope import (
    STRUCTURED,
    WITHOUT_HEADERS,
    Envelope,
    NoEventError,
    document_in,
    read_fields,
    wrapped_key,
    wrapped_value,
)
from consumer.contract.processed_document import ContractError, read_event, routable
from consumer.model.document import ProcessedDocument
from consumer.model.identity import IdentityTemplate
from consumer.model.names import Identity
from consumer.model.record import Headers
from consumer.model.slug import RULE, can_exist
from consumer.telemetry.trace import new_span_id, new_trace_id, normalised, traceparent

Header = tuple[str, bytes]
SOURCE = "/anythingllm-consumer/publishing"


@dataclass(frozen=True, slots=True)
class EventRecord:
    """One record for the documents topic.

    Args:
        key: decides the partition: all events of one document need the same.
        value: None is a tombstone.
        headers: names and values, in order. Clients want them as a list.
    """

    key: bytes
    value: bytes | None
    headers: Headers = ()


class RecordMaker:
    """Makes records of events.

    Args:
        identity: the service's DOCUMENT_IDENTITY; where they differ, order between versions holds
            within a partition only, and tombstones remove nothing.
        envelope: what values are wrapped in.
        key_envelope: what keys are wrapped in. Whoever else publishes the same documents has to
            frame keys alike: other bytes are in another partition. An identity that looks like an
            envelope itself is always quoted.
        schema_id: of a Schema Registry, for its envelopes; 0 to 2,147,483,647.
        source: of CloudEvents, a URI reference.

    Raises:
        ValueError: `identity` is no such template, there is no such envelope, or `schema_id` is
            out of range.
    """

    def __init__(
        self,
        *,
        identity: str = "{id}",
        envelope: Envelope = Envelope.PLAIN,
        key_envelope: Envelope = Envelope.PLAIN,
        schema_id: int = 1,
        source: str = SOURCE,
    ) -> None:
        if not 0 <= schema_id < 2**31:
            raise ValueError(f"a schema's id is 0 to 2,147,483,647, not {schema_id}")
        self._identity = IdentityTemplate.parse(identity)
        self._envelope = Envelope(envelope)
        self._key_envelope = Envelope(key_envelope)
        self._schema_id = schema_id
        self._source = source

    def document(self, event: bytes, *, headers: Iterable[Header] = ()) -> EventRecord:
        """The record of an event.

        Args:
            event: as JSON in UTF-8 (`DocumentDraft.encode`). One that is in an envelope is taken
                out of it first, so that it is never in two.
            headers: more of them, such as `trace_headers`.

        Raises:
            ContractError: the service would refuse it; `problems` says where and why.
        """
        try:
            found = read_fields(event, WITHOUT_HEADERS)
        except NoEventError as error:
            raise ContractError(error.problems) from None
        document = replace(routable(read_event(found.fields)).to_document(), event_time=found.time)
        return self.of_document(document_in(event, found), document, headers=headers)

    def of_document(
        self, event: bytes, document: ProcessedDocument, *, headers: Iterable[Header] = ()
    ) -> EventRecord:
        """The same, of an event that has been read already and is in no envelope."""
        value, said = wrapped_value(
            event,
            self._envelope,
            source=self._source,
            time=document.updated_at or document.created_at or document.event_time,
            schema_id=self._schema_id,
        )
        key, of_key = self._key(self._identity.of(document))
        return EventRecord(key, value, (*said, *of_key, *headers))

    def as_it_is(self, event: bytes, document: ProcessedDocument) -> EventRecord:
        """The record of an event that may be in an envelope already, and stays in it.

        Args:
            event: its bytes.
            document: what is in it.
        """
        key, of_key = self._key(self._identity.of(document))
        return EventRecord(key, event, _said_of(event) + of_key)

    def rewrapped(self, event: bytes, document: ProcessedDocument) -> EventRecord:
        """The record of an event that may be in another envelope, in this one."""
        return self.of_document(document_in(event, read_fields(event, WITHOUT_HEADERS)), document)

    def tombstone(
        self, identity: str, *, workspace: str | None = None, headers: Iterable[Header] = ()
    ) -> EventRecord:
        """The record that removes a document.

        Args:
            identity: by default the document's id.
            workspace: slug of the workspace it is removed from; else that of routing, else all.
            headers: more of them.

        Raises:
            ValueError: the identity is empty, or the workspace is no slug.
        """
        if not identity:
            raise ValueError("a tombstone needs the identity of a document")
        if workspace is not None and not can_exist(workspace):
            raise ValueError(
                f"a workspace is named by its slug ({RULE}), which {workspace!r} is not"
            )
        key, of_key = self._key(Identity(identity))
        where = () if workspace is None else (("workspace", workspace.encode()),)
        return EventRecord(key, None, (*of_key, *where, *headers))

    def _key(self, identity: Identity) -> tuple[bytes, Headers]:
        return wrapped_key(identity.encode(), self._key_envelope, schema_id=self._schema_id)


def trace_headers(trace_id: str | None = None, *, rng: random.Random | None = None) -> Headers:
    """The header ``traceparent`` (W3C) by which an event's trace goes on in the service.

    Args:
        trace_id: of a trace that there is: 32 or 16 hex characters, a UUID, or any other printable
            ASCII, which is hashed. None begins a trace.
        rng: where random ids come from.

    Raises:
        ValueError: the trace id is none of these.
    """
    source = rng or random.SystemRandom()
    found = new_trace_id(source) if trace_id is None else normalised(trace_id)
    if found is None:
        raise ValueError("a trace id is 32 or 16 hex characters, a UUID, or other printable ASCII")
    return (("traceparent", traceparent(found, new_span_id(source)).encode()),)


def _said_of(event: bytes) -> Headers:
    """What only a header can say of an event that is in an envelope already."""
    try:
        read_fields(event)  # not by looking for a name: it may be escaped, or in base64
    except NoEventError:
        return STRUCTURED
    return ()
