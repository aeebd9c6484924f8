"""The ProcessedDocument event on the wire (schemas/README.md, "Documents").

Two shapes exist upstream; ``A`` is what the processor emits, ``B`` its newer pipeline. They differ
only in optional fields, so one model reads both and any mixture. Rules:

- Only what is needed is required: ``id``, ``title``, ``technology``, ``source_url``, ``chunks``,
  and of a chunk ``id`` and ``content``. Optional fields may be missing or null, but not of another
  type.
- Nothing is converted: ``"1"``, ``1.0`` and ``true`` are no integers.
- Unknown fields are ignored.
- A problem's message never holds text of the document.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError, ValidationError

from consumer.model import slug
from consumer.model.blank import BLANKS, is_blank
from consumer.model.document import Chunk, ProcessedDocument

MAX_ID_BYTES = 1_024
MAX_TEXT_BYTES = 8_192
MAX_INTEGER = 2**31 - 1
MAX_PROBLEMS = 100

_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME = r"[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]{1,9})?)?"
_ZONE = r"(?:[Zz]|[+-][0-9]{2}:?[0-9]{2})?"
_NO_TEXT = "".join(f"\\u{ord(each):04x}" for each in "\x00" + BLANKS)
_INSTANT = re.compile(f"{_DATE}(?:[Tt ]{_TIME}{_ZONE})?")


@dataclass(frozen=True, slots=True)
class ContractProblem:
    """One way in which an event breaks the contract.

    Args:
        pointer: JSON pointer (RFC 6901) to the place; "" is the whole event.
        message: completes the sentence "<that place> ..."; never document text.
    """

    pointer: str
    message: str

    def __str__(self) -> str:
        return f"{self.pointer}: {self.message}" if self.pointer else f"the event {self.message}"


def text_problem(text: str, max_bytes: int | None = None, *, blank: bool = False) -> str | None:
    """What is wrong with a text field, or None.

    Args:
        text: the value.
        max_bytes: how many UTF-8 bytes it may have; None is no limit here.
        blank: whether it may consist of white space or nothing.
    """
    if "\x00" in text:
        return "contains a NUL character (U+0000)"
    if not blank and is_blank(text):
        return "is blank"
    if max_bytes is not None and len(text.encode()) > max_bytes:
        return f"has {len(text.encode()):,} bytes, at most {max_bytes:,} are allowed"
    return None


def _text(max_bytes: int | None = None, *, blank: bool = False) -> Callable[[str], str]:
    def check(text: str) -> str:
        problem = text_problem(text, max_bytes, blank=blank)
        if problem is not None:
            raise PydanticCustomError("contract", "{problem}", {"problem": problem})
        return text

    return check


def _instant(value: object) -> datetime:
    problem = "is not an ISO 8601 date and time"
    if isinstance(value, str) and _INSTANT.fullmatch(value):
        try:
            return _utc(datetime.fromisoformat(value.replace(",", ".").upper()))
        except (ValueError, OverflowError):
            problem = "is a date that does not exist"
    raise PydanticCustomError("contract", "{problem}", {"problem": problem})


def instant_in(value: object) -> datetime | None:
    """The date in a field of an event that need not be valid, or None."""
    try:
        return _instant(value)
    except PydanticCustomError:
        return None


def _utc(parsed: datetime) -> datetime:
    # The upstream processor writes utcnow() without a zone.
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)


def _string_schema(max_bytes: int | None = None, *, blank: bool = False) -> WithJsonSchema:
    # Spelled out: what \s is differs from one reader of schemas to the next.
    pattern = r"^[^\u0000]*$" if blank else rf"^[^\u0000]*[^{_NO_TEXT}][^\u0000]*$"
    length = {} if max_bytes is None else {"maxLength": max_bytes}
    return WithJsonSchema({"type": "string", "pattern": pattern, **length})


Id = Annotated[str, AfterValidator(_text(MAX_ID_BYTES)), _string_schema(MAX_ID_BYTES)]
Line = Annotated[str, AfterValidator(_text(MAX_TEXT_BYTES)), _string_schema(MAX_TEXT_BYTES)]
MaybeBlank = Annotated[
    str, AfterValidator(_text(MAX_ID_BYTES, blank=True)), _string_schema(MAX_ID_BYTES, blank=True)
]
Content = Annotated[str, AfterValidator(_text()), _string_schema()]
# Said by the schema and not by the model: what is no slug is a question of routing, `unroutable`.
WorkspaceWish = Annotated[
    str,
    WithJsonSchema({"type": "string", "pattern": slug.PATTERN, "maxLength": slug.MAX_LENGTH}),
]
Count = Annotated[int, Field(ge=0, le=MAX_INTEGER)]
Instant = Annotated[
    datetime,
    BeforeValidator(_instant),
    WithJsonSchema({"type": "string", "pattern": f"^{_DATE}([Tt ]{_TIME}{_ZONE})?$"}),
]


class _Wire(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class EventMetadata(_Wire):
    """``metadata`` of shape B; only ``content_hash`` is used."""

    word_count: Count | None = None
    heading_count: Count | None = None
    code_block_count: Count | None = None
    content_hash: MaybeBlank | None = None
    created_at: Instant | None = None
    model_version: str | None = None
    updated_at: Instant | None = None


class ChunkEvent(_Wire):
    """One chunk of an event."""

    id: Id = Field(
        description="Unique within the document. At most 1,024 UTF-8 bytes.",
        examples=["guide_1_chunk_0"],
    )
    content: Content = Field(
        description="The text, stored byte for byte. Not blank, no NUL. DOCUMENT_MAX_CHUNK_BYTES "
        "limits its UTF-8 bytes (1 MiB by default)."
    )
    chunk_index: Count | None = Field(
        None, description="Position in the document. Gaps are accepted."
    )
    total_chunks: Count | None = Field(
        None, description="Chunks of the document. May disagree with the list: the list counts."
    )
    word_count: Count | None = Field(None, description="Shape A. Not used.")
    metadata: dict[str, Any] | None = Field(None, description="Shape A. Not used.")
    parent_document_id: str | None = Field(
        None, description="Shape B. Must be the document's `id`."
    )
    created_at: Instant | None = Field(None, description="Shape B. Not used.")
    updated_at: Instant | None = Field(None, description="Shape B. Not used.")
    expires_at: Instant | None = Field(None, description="Shape B. Not used: nothing expires.")
    model_version: str | None = Field(None, description="Shape B. Not used.")
    source_provider: str | None = Field(None, description="Shape B. Not used.")


class ProcessedDocumentEvent(_Wire):
    """A document with its text already cut into chunks; both shapes (A and B) in one schema."""

    id: Id = Field(description="The document's id. At most 1,024 UTF-8 bytes.")
    title: Line = Field(description="The human title, at most 8,192 UTF-8 bytes.")
    technology: MaybeBlank = Field(
        description="Technology or project name; by default it decides the workspace. "
        "At most 1,024 UTF-8 bytes."
    )
    source_url: Line = Field(description="Where the document came from, at most 8,192 UTF-8 bytes.")
    chunks: list[ChunkEvent] = Field(
        description="Empty means: the document has no content, what is stored of it is removed. "
        "DOCUMENT_MAX_CHUNKS limits its length (20,000 by default)."
    )
    content_hash: MaybeBlank | None = Field(
        None, description="The publisher's hash, passed through to the result."
    )
    created_at: Instant | None = Field(
        None, description="ISO 8601; without a zone it is UTC. The version, if no `updated_at`."
    )
    updated_at: Instant | None = Field(
        None, description="ISO 8601; without a zone it is UTC. The version of the document."
    )
    workspace: WorkspaceWish | None = Field(
        None, description=f"Workspace slug ({slug.RULE}); overrides routing. Another is unroutable."
    )
    trace_id: str | None = Field(
        None, description="Trace id, where the record has no header with one."
    )
    word_count: Count | None = Field(None, description="Not used.")
    quality_score: float | None = Field(None, description="Not used.")
    processing_metadata: dict[str, Any] | None = Field(None, description="Shape A. Not used.")
    full_content: str | None = Field(None, description="Shape B. Not used: only chunks are stored.")
    metadata: EventMetadata | None = Field(
        None, description="Shape B. Its `content_hash` counts where the document has none."
    )
    model_version: str | None = Field(None, description="Shape B. Not used.")

    def to_document(self) -> ProcessedDocument:
        """The document as the rest of the house knows it."""
        chunks, notes = _ordered(self.chunks)
        in_metadata = self.metadata.content_hash if self.metadata is not None else None
        return ProcessedDocument(
            id=self.id,
            title=self.title,
            technology=self.technology,
            source_url=self.source_url,
            chunks=chunks,
            content_hash=self.content_hash if self.content_hash is not None else in_metadata,
            created_at=self.created_at,
            updated_at=self.updated_at,
            workspace=self.workspace,
            trace_id=self.trace_id,
            notes=notes,
        )


def read_event(raw: Mapping[str, Any]) -> ProcessedDocumentEvent:
    """Check the fields of an event against the contract.

    Raises:
        ContractError: with every problem that was found, the first `MAX_PROBLEMS` of them.
    """
    problems: list[ContractProblem] = []
    event = None
    try:
        event = ProcessedDocumentEvent.model_validate(raw)
    except ValidationError as error:
        problems += _field_problems(error)
    problems += _cross_problems(raw)
    if event is None or problems:
        raise ContractError(bounded(problems))
    return event


def routable(event: ProcessedDocumentEvent) -> ProcessedDocumentEvent:
    """The event, for a publisher who does not know the service's routing.

    Apart from `read_event`, because the service calls such an event ``unroutable``.

    Raises:
        ContractError: no routing could take it: it asks for a workspace that can't exist.
    """
    if event.workspace is not None and not slug.can_exist(event.workspace):
        problem = ContractProblem("/workspace", f"is no slug: {slug.RULE} are allowed")
        raise ContractError((problem,))
    return event


class ContractError(Exception):
    """An event breaks the contract; `problems` says where."""

    def __init__(self, problems: tuple[ContractProblem, ...]) -> None:
        super().__init__("; ".join(map(str, problems[:3])))
        self.problems = problems


def bounded(problems: Sequence[ContractProblem]) -> tuple[ContractProblem, ...]:
    """At most `MAX_PROBLEMS` of them; a last one says that there are more."""
    if len(problems) <= MAX_PROBLEMS:
        return tuple(problems)
    return (*problems[:MAX_PROBLEMS], ContractProblem("", "has more problems than are listed"))


def pointer(path: Sequence[str | int]) -> str:
    """A JSON pointer (RFC 6901)."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


SURROGATE = "contains a lone surrogate (half of a UTF-16 pair)"

_MESSAGES = {
    "string_unicode": SURROGATE,
    "missing": "is required",
    "string_type": "must be a string",
    "int_type": "must be an integer",
    "float_type": "must be a number",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "greater_than_equal": "must not be negative",
    "less_than_equal": f"must be at most {MAX_INTEGER:,}",
}


def _field_problems(error: ValidationError) -> Iterator[ContractProblem]:
    for found in error.errors(include_url=False, include_input=False):
        kind = found["type"]
        message = found["msg"] if kind == "contract" else _MESSAGES.get(kind, f"is wrong ({kind})")
        yield ContractProblem(pointer(found["loc"]), message)


def _cross_problems(raw: Mapping[str, Any]) -> Iterator[ContractProblem]:
    """What no single field shows; on the raw event, so that it is reported with all the rest."""
    chunks = raw.get("chunks")
    if not isinstance(chunks, list):
        return
    first_at: dict[str, int] = {}
    for number, chunk in enumerate(chunks):
        if not isinstance(chunk, dict):
            continue
        chunk_id, parent = chunk.get("id"), chunk.get("parent_document_id")
        if isinstance(chunk_id, str) and (first := first_at.setdefault(chunk_id, number)) != number:
            yield ContractProblem(f"/chunks/{number}/id", f"is the same as /chunks/{first}/id")
        if isinstance(parent, str) and parent != raw.get("id"):
            where = f"/chunks/{number}/parent_document_id"
            yield ContractProblem(where, "differs from the document's id")


def _ordered(events: Sequence[ChunkEvent]) -> tuple[tuple[Chunk, ...], tuple[str, ...]]:
    """The chunks in reading order, and what was odd.

    By ``chunk_index`` where every chunk has one of its own, else as the event lists them.
    """
    notes = []
    indices = [event.chunk_index for event in events]
    given = [index for index in indices if index is not None]
    if len(given) == len(events) == len(set(given)):
        chunks = [
            Chunk(event.id, event.content, index)
            for index, event in sorted(zip(given, events, strict=True), key=lambda pair: pair[0])
        ]
        if chunks and chunks[-1].index != len(chunks) - 1:
            notes.append(f"chunk_index has gaps: {len(chunks)} chunks up to {chunks[-1].index}")
    else:
        chunks = [Chunk(event.id, event.content, index) for index, event in enumerate(events)]
        if given:
            notes.append("chunk_index is missing or repeated: chunks are taken as listed")
    totals = {event.total_chunks for event in events} - {None, len(events)}
    if totals:
        notes.append(f"total_chunks disagrees: the event holds {len(events)} chunks")
    return tuple(chunks), tuple(notes)
