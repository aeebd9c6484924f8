"""Decode: a record's value becomes a document, or is `Malformed`; nothing else ever happens.

- `consumer.contract.envelope` reads the value: what is JSON only to Python's parser is `invalid`
  with a pointer and an id, so that its publisher gets an answer; what is no JSON is `undecodable`.
- Pointers go into the record as its publisher sees it, through its envelopes.
- Limits are checked before anything is built that is larger than the value itself.
- `is_heavy` says which values take so long that they are decoded in another process
  (`consumer.pipeline.heavy_events`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from consumer.contract.envelope import (
    NOTHING_SAID,
    EventFields,
    InnerValuesError,
    NoEventError,
    Wrapping,
    fields_in,
    has_surrogate,
    read_fields,
    values_in,
)
from consumer.contract.processed_document import (
    MAX_ID_BYTES,
    MAX_TEXT_BYTES,
    ContractError,
    ContractProblem,
    bounded,
    pointer,
    read_event,
    text_problem,
)
from consumer.model.document import ProcessedDocument
from consumer.model.outcome import FailureReason

# The id of an event that is too large is still looked for up to this many times the limit; beyond
# it, parsing could take more memory than the bounds of the intake allow for.
_ID_IS_READ_UP_TO = 2

# What is decoded within the loop: 30 ms at worst on the machine where it was measured.
_LIGHT_BYTES = 1024 * 1024
_LIGHT_VALUES = 10_000

_LEAST_MAX_VALUES = 1_000_000
_VALUES_PER_CHUNK = 50


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What one event may hold: DOCUMENT_MAX_CHUNKS, _MAX_CHUNK_BYTES and _MAX_BYTES.

    Args:
        max_chunks: chunks of one document.
        max_chunk_bytes: UTF-8 bytes of one chunk's text.
        max_bytes: bytes of the event's value.
    """

    max_chunks: int = 20_000
    max_chunk_bytes: int = 1024 * 1024
    max_bytes: int = 8 * 1024 * 1024

    @property
    def max_values(self) -> int:
        """JSON values in the event: 50 a chunk, and never less than a million.

        A chunk has at most 14 fields that we know. Without a limit an event of 8 MiB can take
        300 MB of memory to be read.
        """
        return max(_LEAST_MAX_VALUES, _VALUES_PER_CHUNK * self.max_chunks)


@dataclass(frozen=True, slots=True)
class Readable:
    """What could be read of an event that breaks the contract: enough to answer its publisher."""

    document_id: str | None = None
    source_url: str | None = None
    technology: str | None = None
    trace_id: str | None = None


class Malformed(Exception):
    """The event can't be taken: a dead letter, never a retry.

    Args:
        reason: ``undecodable``, ``invalid`` or ``oversized``; ``unroutable`` where the workspace is
            looked for as well (`consumer.pipeline.acceptance`).
        problems: where and why; at most about a hundred, never document text.
        readable: the usable fields.
    """

    def __init__(
        self,
        reason: FailureReason,
        problems: tuple[ContractProblem, ...],
        readable: Readable = Readable(),
    ) -> None:
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        super().__init__("; ".join(map(str, problems[:3])) + more)
        self.reason = reason
        self.problems = problems
        self.readable = readable

    @property
    def document_id(self) -> str | None:
        """The document's id where it is a usable one: then the publisher gets a result."""
        return self.readable.document_id


class HeavyInside(Exception):
    """An envelope hides an event that is heavy: it looked light, because a text is one value."""


def decode(
    value: bytes,
    limits: DecodeLimits,
    wrapping: Wrapping = NOTHING_SAID,
    *,
    only_light: bool = False,
) -> ProcessedDocument:
    """Read an event.

    Args:
        value: the record's value; a tombstone (null) is not an event and must not come here.
        limits: what an event may hold.
        wrapping: what the record's headers say of the value.
        only_light: whether what is heavy inside an envelope is left for another process.

    Raises:
        Malformed: for any bytes that are no valid event.
        HeavyInside: only where `only_light` asks for it.
        No other exception.
    """
    if len(value) > limits.max_bytes:
        raise _oversized(value, limits, wrapping)
    if (values := values_in(value, enough=limits.max_values)) > limits.max_values:
        raise _too_many_values(value, values, limits, wrapping)
    try:
        most = min(_LIGHT_VALUES, limits.max_values) if only_light else limits.max_values
        event = read_fields(value, wrapping, most_values=most)
    except NoEventError as error:
        raise _no_event(error, limits) from None
    except InnerValuesError as error:
        if only_light:
            raise HeavyInside from None
        raise _too_many_values(value, error.values, limits, wrapping, at=error.pointer) from None
    return _document(event, limits)


def is_heavy(value: bytes, limits: DecodeLimits) -> bool:
    """Whether `decode` could hold a loop for longer than its other tasks should wait.

    What an envelope hides is seen only when it is opened: `HeavyInside`.
    """
    if len(value) > limits.max_bytes * _ID_IS_READ_UP_TO:
        return False  # it is not read at all
    return len(value) > _LIGHT_BYTES or values_in(value, enough=_LIGHT_VALUES) > _LIGHT_VALUES


def _document(event: EventFields, limits: DecodeLimits) -> ProcessedDocument:
    try:
        document = _in_contract(event.fields, limits)
    except Malformed as malformed:
        raise _from_the_record(malformed, event.path) from None
    if event.time is None and not event.notes:
        return document
    return replace(document, event_time=event.time, notes=document.notes + event.notes)


def _from_the_record(malformed: Malformed, path: tuple[str, ...]) -> Malformed:
    """The same, with pointers that begin where the record does."""
    problems = _within(path, malformed.problems)
    return Malformed(malformed.reason, problems, malformed.readable)


def _within(
    path: tuple[str, ...], problems: tuple[ContractProblem, ...]
) -> tuple[ContractProblem, ...]:
    if not path:
        return problems
    begin = pointer(path)
    return tuple(ContractProblem(begin + each.pointer, each.message) for each in problems)


def _in_contract(fields: Mapping[str, Any], limits: DecodeLimits) -> ProcessedDocument:
    readable = _readable(fields)
    chunks = fields.get("chunks")
    if isinstance(chunks, list) and not _countable(chunks, limits):
        # Before the models see it: they would build every chunk.
        too_many = f"has {len(chunks):,} chunks, at most {limits.max_chunks:,} are allowed"
        raise Malformed(FailureReason.OVERSIZED, (ContractProblem("/chunks", too_many),), readable)
    oversized = tuple(_oversized_chunks(chunks, limits))
    try:
        event = read_event(fields)
    except ContractError as error:
        problems = bounded((*error.problems, *oversized))
        raise Malformed(FailureReason.INVALID, problems, readable) from None
    if oversized:
        raise Malformed(FailureReason.OVERSIZED, bounded(oversized), readable)
    return event.to_document()


def _oversized_chunks(chunks: object, limits: DecodeLimits) -> Iterator[ContractProblem]:
    for number, chunk in enumerate(chunks if isinstance(chunks, list) else ()):
        content = chunk.get("content") if isinstance(chunk, dict) else None
        # A character has at most four bytes: most contents need not be encoded to be measured.
        if not isinstance(content, str) or len(content) * 4 <= limits.max_chunk_bytes:
            continue
        size = len(content.encode())
        if size > limits.max_chunk_bytes:
            allowed = f"at most {limits.max_chunk_bytes:,} are allowed"
            yield ContractProblem(f"/chunks/{number}/content", f"has {size:,} bytes, {allowed}")


def _oversized(value: bytes, limits: DecodeLimits, wrapping: Wrapping) -> Malformed:
    problem = ContractProblem(
        "", f"has {len(value):,} bytes, at most {limits.max_bytes:,} are allowed"
    )
    fields: Mapping[str, Any] = {}
    # Larger ones come here within the loop: not even their values are counted (`is_heavy`).
    if len(value) <= limits.max_bytes * _ID_IS_READ_UP_TO:
        few = limits.max_values * _ID_IS_READ_UP_TO
        if values_in(value, enough=few) <= few:
            fields = fields_in(value, wrapping, most_values=few).fields
    return Malformed(FailureReason.OVERSIZED, (problem,), _readable(fields))


def _too_many_values(
    value: bytes, values: int, limits: DecodeLimits, wrapping: Wrapping, *, at: str = ""
) -> Malformed:
    allowed = f"at most {limits.max_values:,} are allowed (50 for each of DOCUMENT_MAX_CHUNKS)"
    problem = ContractProblem(at, f"holds {values:,} JSON values, {allowed}")
    few = limits.max_values * _ID_IS_READ_UP_TO
    fields = fields_in(value, wrapping, most_values=few).fields if values <= few else {}
    return Malformed(FailureReason.OVERSIZED, (problem,), _readable(fields))


def _no_event(error: NoEventError, limits: DecodeLimits) -> Malformed:
    if not error.is_json:
        return Malformed(FailureReason.UNDECODABLE, error.problems)
    problems, event = list(error.problems), error.fields or EventFields({})
    fields = event.fields
    if fields and _countable(fields.get("chunks"), limits):
        seen = {problem.pointer for problem in problems}
        broken = _within(event.path, _broken(fields))
        problems += [problem for problem in broken if problem.pointer not in seen]
    return Malformed(FailureReason.INVALID, bounded(problems), _readable(fields))


def _broken(fields: Mapping[str, Any]) -> tuple[ContractProblem, ...]:
    try:
        read_event(fields)
    except ContractError as error:
        return error.problems
    return ()


def _countable(chunks: object, limits: DecodeLimits) -> bool:
    return not isinstance(chunks, list) or len(chunks) <= limits.max_chunks


def _readable(fields: Mapping[str, Any]) -> Readable:
    return Readable(
        document_id=_usable(fields.get("id"), MAX_ID_BYTES),
        source_url=_usable(fields.get("source_url"), MAX_TEXT_BYTES),
        technology=_usable(fields.get("technology"), MAX_ID_BYTES),
        trace_id=_usable(fields.get("trace_id"), MAX_ID_BYTES),
    )


def _usable(value: object, max_bytes: int) -> str | None:
    if not isinstance(value, str) or has_surrogate(value):
        return None
    return value if text_problem(value, max_bytes) is None else None
