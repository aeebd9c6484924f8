"""An event that has been read: what it says, and about which document."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from consumer.model.document import ProcessedDocument
from consumer.model.names import Identity, Slug, TraceId
from consumer.model.origin import REBUILD, REPACK, Origin
from consumer.model.outcome import Refused
from consumer.model.record import Record
from consumer.model.version import DocumentVersion


@dataclass(frozen=True, slots=True)
class DocumentEvent:
    """A document to be stored in the workspace ``slug``."""

    document: ProcessedDocument
    slug: Slug
    identity: Identity
    version: DocumentVersion


@dataclass(frozen=True, slots=True)
class TombstoneEvent:
    """A document to be removed; from every workspace that has it where ``slug`` is None."""

    slug: Slug | None
    identity: Identity
    version: DocumentVersion


@dataclass(frozen=True, slots=True)
class Event:
    """A record that has been read.

    Args:
        record: the original bytes.
        trace_id: 32 hex characters.
        origin: the original record; the record itself unless it is a replay.
        document: what could be decoded, also where it can't be routed.
        identity: where known.
        body: what to do about it.
        received_at: aware; when it was read, for the result.
    """

    record: Record
    trace_id: TraceId
    origin: Origin
    document: ProcessedDocument | None
    identity: Identity | None
    body: DocumentEvent | TombstoneEvent | Refused
    received_at: datetime

    @property
    def is_replay(self) -> bool:
        """Whether the record is a replay of another one."""
        return self.origin.at != self.record.at

    @property
    def is_repack(self) -> bool:
        """Whether what is stored is to be packed anew; believed of replays only, as all of it."""
        return self.is_replay and self.record.header(REPACK) is not None

    @property
    def is_rebuild(self) -> bool:
        """Whether what is stored goes, to be stored anew; believed of replays only."""
        return self.is_replay and self.record.header(REBUILD) is not None
