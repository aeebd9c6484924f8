"""Results as their readers see them (schemas/README.md, "Results").

A reader takes what it knows and leaves alone what a later 1.x adds. So this is a model of its own:
the strict one in `consumer.contract.upload_result` is for writing.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from consumer.model.fields import text_of
from consumer.model.names import Identity


def _aware(instant: datetime) -> datetime:
    # Our results have a zone. Without one, a result of others could not be compared with them.
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant


Instant = Annotated[datetime, AfterValidator(_aware)]


class _In(BaseModel):
    # What a later version adds is kept: `result.model_extra` has it.
    model_config = ConfigDict(frozen=True, extra="allow")


class ReceivedSource(_In):
    """``source`` or ``replay_of`` of a result that was read back."""

    topic: str
    partition: int
    offset: int
    timestamp: Instant | None = None
    event_id: str | None = None


class ReceivedFailedChunk(_In):
    """A chunk that is not stored. ``reason`` is plain text: later versions may have others."""

    chunk_id: str
    reason: str
    message: str = ""
    http_status: int | None = None
    attempts: int = 0


class ReceivedResult(_In):
    """A result as its readers see it: later versions may add fields and statuses.

    ``status`` and ``reason`` are plain texts on purpose: a reader leaves alone what it does not
    know. ``reason`` says why an event is ``invalid``; older versions did not tell.
    """

    schema_version: str = "1.0"
    event_id: str
    trace_id: str | None = None
    identity: str | None = None
    document_id: str | None = None
    workspace_slug: str | None = None
    status: str
    total_chunks: int = 0
    successful_uploads: int = 0
    failed_uploads: int = 0
    uploaded_chunk_ids: tuple[str, ...] = ()
    unchanged_chunk_ids: tuple[str, ...] = ()
    failed_chunk_ids: tuple[str, ...] = ()
    removed_chunks: int = 0
    errors: tuple[str, ...] = ()
    failed_chunks: tuple[ReceivedFailedChunk, ...] = ()
    content_hash: str | None = None
    document_version: Instant | None = None
    truncated: bool = False
    source: ReceivedSource
    replay_of: ReceivedSource | None = None
    started_at: Instant | None = None
    completed_at: Instant | None = None
    duration_ms: int | None = None
    reason: str | None = None


def read_result(value: bytes) -> ReceivedResult:
    """A result from the results topic.

    Raises:
        ValueError: it is no result; the message says what is wrong without repeating it.
    """
    try:
        return ReceivedResult.model_validate(orjson.loads(value))
    except ValidationError as error:
        fields = sorted({".".join(map(str, found["loc"])) for found in error.errors()})
        raise ValueError(f"not an upload result: wrong or missing {', '.join(fields)}") from None
    except ValueError:
        raise ValueError("not an upload result: not JSON") from None


def names_in(value: bytes | None) -> tuple[str | None, Identity | None]:
    """Document id and identity in a result. This is quick, and the result need not be valid."""
    try:
        fields = orjson.loads(value or b"")
    except ValueError:
        return None, None
    if not isinstance(fields, dict):
        return None, None
    identity = text_of(fields.get("identity"))
    return text_of(fields.get("document_id")), None if identity is None else Identity(identity)
