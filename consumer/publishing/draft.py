"""An event as its publisher makes it: field by field, checked before it leaves."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson

from consumer.contract.processed_document import (
    ContractError,
    ContractProblem,
    read_event,
    routable,
)

# Made once, for ever: another namespace would give every document another id.
_IDS = uuid.UUID("6c0c1f3a-7d5e-5b7c-9e55-2f0b1d7f4a10")


def stable_id(*parts: str) -> str:
    """An id that is the same whenever it is made of the same parts: a UUID 5.

    Args:
        parts: what names the document, such as its URL, or a system's name and its id there.
            Their order counts, and so does where one ends.

    Raises:
        ValueError: there is none, or one is empty.
    """
    if not parts or not all(parts):
        raise ValueError("an id is made of one text at least, and of no empty one")
    return str(uuid.uuid5(_IDS, orjson.dumps(parts).decode()))


@dataclass(slots=True, kw_only=True)
class DocumentDraft:
    """A document with its chunks; `encode` gives the event.

    Args:
        id: the document's; the same one replaces what is stored of it.
        title: for people.
        source_url: where it came from.
        technology: by default it names the workspace.
        updated_at: its version: a newer one replaces an older one, whatever comes first. Aware.
        created_at: the version where there is no `updated_at`. Aware.
        workspace: slug of the workspace; overrides routing.
        content_hash: passed through to the result.
        trace_id: for who can't set headers; see `consumer.publishing.trace_headers`.
    """

    id: str
    title: str
    source_url: str
    technology: str
    updated_at: datetime | None = None
    created_at: datetime | None = None
    workspace: str | None = None
    content_hash: str | None = None
    trace_id: str | None = None
    # Not shown: who logs a draft does not mean to log its text.
    _chunks: list[dict[str, Any]] = field(default_factory=list, init=False, repr=False)

    def add_chunk(self, content: str, *, id: str | None = None) -> DocumentDraft:
        """Add the next chunk.

        Args:
            content: its text, stored byte for byte.
            id: unique within the document; by default it is made of the document's and a number.

        Returns:
            The draft itself.
        """
        number = len(self._chunks)
        chunk_id = f"{self.id}_chunk_{number}" if id is None else id
        self._chunks.append({"id": chunk_id, "content": content, "chunk_index": number})
        return self

    def encode(self) -> bytes:
        """The event as JSON in UTF-8.

        A document without chunks is legal: it has no content, and what is stored of it is removed.

        Raises:
            ContractError: the service would refuse it; `problems` says where and why. It can't know
                the limits that the service is run with.
        """
        try:
            return orjson.dumps(self._checked())
        except orjson.JSONEncodeError as error:  # half of a UTF-16 pair
            raise ContractError((ContractProblem("", f"can't be written: {error}"),)) from None

    def _checked(self) -> dict[str, Any]:
        dates = {"updated_at": self.updated_at, "created_at": self.created_at}
        for name, date in dates.items():
            if date is not None and getattr(date, "tzinfo", None) is None:
                # The service would take it for UTC, whatever the publisher's clock shows.
                problem = "must be a datetime that has a time zone"
                raise ContractError((ContractProblem(f"/{name}", problem),))
        fields: dict[str, Any] = {
            "id": self.id,
            "title": self.title,
            "source_url": self.source_url,
            "technology": self.technology,
            **{name: date.isoformat() for name, date in dates.items() if date is not None},
            "workspace": self.workspace,
            "content_hash": self.content_hash,
            "trace_id": self.trace_id,
            "chunks": self._chunks,
        }
        given = {name: value for name, value in fields.items() if value is not None}
        routable(read_event(given))
        return given
