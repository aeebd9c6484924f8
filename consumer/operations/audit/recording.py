"""Writing down for an audit: events as the service reads them, rows as AnythingLLM lists them."""

from __future__ import annotations

from consumer.anythingllm.models import DocumentRow
from consumer.model.event import DocumentEvent, Event, TombstoneEvent
from consumer.model.identity import IdentityTemplate
from consumer.model.marker import decode_marker, digests_of, hash_of_ids
from consumer.model.names import Slug
from consumer.model.origin import LETTER
from consumer.model.outcome import Refused
from consumer.model.record import Record
from consumer.operations.audit.judgement import KeptUnit, WantedDocument
from consumer.operations.audit.register import Refusal, Register
from consumer.operations.audit.sights import hash_of_source
from consumer.operations.topic_progress import TopicProgress
from consumer.settings import Settings
from consumer.wiring.events import event_reader


class EventRecorder:
    """Writes down what is published, as the service reads it.

    Args:
        settings: of the service.
        register: gets the events.
        workspace: a slug; events that are about other workspaces are left out.
    """

    def __init__(self, settings: Settings, register: Register, workspace: Slug | None) -> None:
        self._register = register
        self._workspace = workspace
        self._reader = event_reader(settings)
        self.read = self.invalid = 0

    def take(self, record: Record, progress: TopicProgress) -> None:
        """Take a record, in the order of its partition."""
        event = self._reader.read(record)
        self.read += 1
        match event.body:
            case Refused() as body:
                self.invalid += 1
                at, reason = event.origin.at, body.reason.value
                refusal = Refusal(at, record.at, body.document_id, event.identity, reason)
                self._register.refused(refusal)
            case DocumentEvent() as body:
                if self._workspace in (None, body.slug):
                    self._register.document(body.slug, body.identity, _wanted(event, body))
            case TombstoneEvent() as body:
                if self._workspace is None or body.slug in (None, self._workspace):
                    self._register.tombstone(body.slug, body.identity, body.version)
        if event.identity is not None and not progress.is_committed(record.at):
            self._register.waits(event.identity, record.at)


class RowRecorder:
    """Writes down the rows of a workspace's listing.

    Args:
        register: gets the rows with a marker of ours.
        slug: of the workspace.
        identity: makes the identities of markers.
    """

    def __init__(self, register: Register, slug: Slug, identity: IdentityTemplate) -> None:
        self._register = register
        self._slug = slug
        self._identity = identity

    def __call__(self, row: DocumentRow) -> None:
        """Take a row; those of others are left out."""
        marker = decode_marker(row.doc_source)
        if marker is None:
            return
        created = row.created_at
        unit = KeptUnit(
            location=row.location,
            version=marker.version,
            digests=tuple(chunk.digest for chunk in marker.chunks),
            chunk_ids=hash_of_ids(chunk.id for chunk in marker.chunks),
            document_id=marker.document_id,
            created=created.timestamp() if created else None,
            source=hash_of_source(row.doc_source),
        )
        self._register.stored(self._slug, self._identity.of_marker(marker), unit)


def _wanted(event: Event, body: DocumentEvent) -> WantedDocument:
    document, record = body.document, event.record
    is_of_a_letter = record.header(LETTER) is not None
    return WantedDocument(
        document.id,
        event.origin.at,
        body.version,
        digests_of(document),
        record.at,
        run="" if is_of_a_letter else event.origin.run or "",
    )
