"""Decode: a record's value becomes a document, or is `Malformed`; nothing else ever happens.

- orjson reads: it refuses what Python's own parser lets through (NaN, ``1e400``, lone surrogates,
  UTF-16) and stops at 1,024 levels instead of exhausting the stack.
- What orjson refuses is shown to Python's parser once more. If that can read it, the event is
  `invalid` with a pointer and an id, and its publisher gets an answer; else it is `undecodable`.
- Limits are checked before anything is built that is larger than the value itself.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, NoReturn

import orjson

from consumer.contract.processed_document import (
    MAX_ID_BYTES,
    MAX_PROBLEMS,
    MAX_TEXT_BYTES,
    SURROGATE,
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

# Integers with more bits than this are infinite as a double, which is where orjson refuses them.
_DOUBLE_BITS = 1024

_UNREADABLE = (ValueError, RecursionError, MemoryError, OverflowError)


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
        reason: ``undecodable``, ``invalid`` or ``oversized``.
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


def decode(value: bytes, limits: DecodeLimits) -> ProcessedDocument:
    """Read an event.

    Args:
        value: the record's value; a tombstone (null) is not an event and must not come here.
        limits: what an event may hold.

    Raises:
        Malformed: for any bytes that are no valid event. No other exception.
    """
    if len(value) > limits.max_bytes:
        _refuse_oversized(value, limits)
    raw = _load(value, limits)
    if not isinstance(raw, dict):
        hint = "; a tombstone is a record without a value" if raw is None else ""
        problem = ContractProblem("", f"must be a JSON object, is {_kind(raw)}{hint}")
        raise Malformed(FailureReason.INVALID, (problem,))
    return _document(raw, limits)


def _document(raw: dict[str, Any], limits: DecodeLimits) -> ProcessedDocument:
    readable = _readable(raw)
    chunks = raw.get("chunks")
    if isinstance(chunks, list) and not _countable(chunks, limits):
        # Before the models see it: they would build every chunk.
        too_many = f"has {len(chunks):,} chunks, at most {limits.max_chunks:,} are allowed"
        raise Malformed(FailureReason.OVERSIZED, (ContractProblem("/chunks", too_many),), readable)
    oversized = tuple(_oversized_chunks(chunks, limits))
    try:
        event = read_event(raw)
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


def _refuse_oversized(value: bytes, limits: DecodeLimits) -> NoReturn:
    problem = ContractProblem(
        "", f"has {len(value):,} bytes, at most {limits.max_bytes:,} are allowed"
    )
    readable = Readable()
    if len(value) <= limits.max_bytes * _ID_IS_READ_UP_TO:
        try:
            readable = _readable(orjson.loads(value))
        except _UNREADABLE:
            readable = Readable()
    raise Malformed(FailureReason.OVERSIZED, (problem,), readable)


def _load(value: bytes, limits: DecodeLimits) -> object:
    try:
        return orjson.loads(value)
    except _UNREADABLE as error:
        refusal = _refusal(value, error)
    raise _second_opinion(value, limits) or refusal


def _refusal(value: bytes, error: BaseException) -> Malformed:
    if not value.strip():
        message = "is empty; a tombstone is a record without a value"
    elif value.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        message = "starts with a byte order mark; UTF-8 without one is expected"
    else:
        message = f"is not JSON in UTF-8: {error}"
    return Malformed(FailureReason.UNDECODABLE, (ContractProblem("", message[:300]),))


def _second_opinion(value: bytes, limits: DecodeLimits) -> Malformed | None:
    try:
        raw = json.loads(value.decode())
    except _UNREADABLE:
        return None
    problems = list(islice(_unspeakable(raw), MAX_PROBLEMS + 1))
    if not problems:
        return None
    if isinstance(raw, dict) and _countable(raw.get("chunks"), limits):
        seen = {problem.pointer for problem in problems}
        problems += [problem for problem in _broken(raw) if problem.pointer not in seen]
    return Malformed(FailureReason.INVALID, bounded(problems), _readable(raw))


def _broken(raw: dict[str, Any]) -> tuple[ContractProblem, ...]:
    try:
        read_event(raw)
    except ContractError as error:
        return error.problems
    return ()


def _countable(chunks: object, limits: DecodeLimits) -> bool:
    return not isinstance(chunks, list) or len(chunks) <= limits.max_chunks


def _unspeakable(raw: object) -> Iterator[ContractProblem]:
    """Every value that Python's parser lets through although JSON has no such thing.

    A loop with a stack of its own, as deep as the nesting and no larger: both the nesting and the
    number of values are the publisher's to choose.
    """
    path: list[str | int] = []
    left: list[Iterator[tuple[str | int, object]]] = [iter([("", raw)])]
    while left:
        step, value = next(left[-1], (None, None))
        if step is None:
            left.pop()
            del path[-1:]
            continue
        if isinstance(value, dict):
            if any(map(_has_surrogate, value)):
                yield ContractProblem(_at(path, step), "has a field name with a lone surrogate")
            path.append(step)
            left.append(item for item in value.items() if not _has_surrogate(item[0]))
        elif isinstance(value, list):
            path.append(step)
            left.append(iter(enumerate(value)))
        elif isinstance(value, str) and _has_surrogate(value):
            yield ContractProblem(_at(path, step), SURROGATE)
        elif isinstance(value, float) and not math.isfinite(value):
            yield ContractProblem(_at(path, step), "is no JSON number (NaN or infinite)")
        elif isinstance(value, int) and value.bit_length() > _DOUBLE_BITS:
            yield ContractProblem(_at(path, step), "is a number too large for any reader")


def _at(path: list[str | int], step: str | int) -> str:
    """The pointer; made only for a problem, because as deep as the nesting it costs as much."""
    return pointer([*path, step][1:])


def _has_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _readable(raw: object) -> Readable:
    if not isinstance(raw, dict):
        return Readable()
    return Readable(
        document_id=_usable(raw.get("id"), MAX_ID_BYTES),
        source_url=_usable(raw.get("source_url"), MAX_TEXT_BYTES),
        technology=_usable(raw.get("technology"), MAX_ID_BYTES),
        trace_id=_usable(raw.get("trace_id"), MAX_ID_BYTES),
    )


def _usable(value: object, max_bytes: int) -> str | None:
    if not isinstance(value, str) or _has_surrogate(value):
        return None
    return value if text_problem(value, max_bytes) is None else None


def _kind(raw: object) -> str:
    kinds = {bool: "a boolean", str: "a string", list: "a list", int: "a number", float: "a number"}
    return "null" if raw is None else kinds.get(type(raw), "something else")
