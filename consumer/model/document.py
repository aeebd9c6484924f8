"""A document and its chunks as the rest of the house knows them, whatever shape the event had."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Chunk:
    """One piece of a document's text: the unit that is stored and searched.

    Args:
        id: the publisher's chunk id, unique within its document.
        content: the text, byte for byte as published.
        index: position in the document, from 0 (the publisher's ``chunk_index`` where given).
            Below 0 where it is not said: the client then takes its place among the chunks.
    """

    id: str
    content: str
    index: int = -1

    @property
    def content_sha256(self) -> str:
        """Hex SHA-256 of the text alone, as search hits report it."""
        return hashlib.sha256(self.content.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class ProcessedDocument:
    """A document ready to be stored: both shapes of the event become this one (schemas/README.md).

    Args:
        id: the publisher's document id; a re-processed page usually comes with a new one.
        title: the human title, unchanged. Where it is empty the client takes the id.
        technology: the publisher's technology or project name, unchanged; may be empty.
        source_url: where the document came from; may be empty.
        chunks: in reading order; empty where the document has no content.
        content_hash: the publisher's hash of the content, passed through to the result.
        created_at: aware, UTC. A date without a zone in an event is UTC.
        updated_at: aware, UTC.
        workspace: the slug that the event asks for; overrides routing.
        trace_id: as the event's body has it, unchecked.
        event_time: aware, UTC; when the event happened, as its envelope says. It stands where the
            record's timestamp would.
        notes: oddities that were accepted, one line each, for the log (index gaps, totals that
            disagree).
    """

    id: str
    title: str = ""
    technology: str = ""
    source_url: str = ""
    chunks: tuple[Chunk, ...] = ()
    content_hash: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    workspace: str | None = None
    trace_id: str | None = None
    event_time: datetime | None = None
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def content_bytes(self) -> int:
        """UTF-8 bytes of all chunk texts together."""
        return sum(len(chunk.content.encode()) for chunk in self.chunks)
