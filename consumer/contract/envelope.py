"""The envelope of an event: from a record's value to the event's fields, and nothing else does so.

Today there is no envelope: the value is the event as a JSON object (schemas/README.md,
"Documents"). Another one, such as CloudEvents, would be unwrapped in `_event_in`.

There are two ways to read:

- `read_fields` is strict and says why not. orjson refuses what Python's own parser lets through
  (NaN, ``1e400``, lone surrogates, UTF-16) and stops at 1,024 levels instead of exhausting the
  stack. A value that it refuses is shown to Python's parser once more: if that one can read it, the
  event is known well enough to answer its publisher.
- `fields_in` is lenient and gives no reason. It is for looking up a few fields of an event that
  need not be valid.

How long reading takes depends on the number of values, which `values_in` tells beforehand.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import orjson

from consumer.contract.processed_document import (
    MAX_PROBLEMS,
    SURROGATE,
    ContractProblem,
    pointer,
)

# Integers with more bits than this are infinite as a double, which is where orjson refuses them.
_DOUBLE_BITS = 1024
_PIECE_BYTES = 64 * 1024

_UNREADABLE = (ValueError, RecursionError, MemoryError, OverflowError)


class NoEventError(Exception):
    """A value holds no fields of an event.

    Args:
        problems: where and why, at least one; never document text. May be one more than
            `MAX_PROBLEMS`, and then there are more.
        is_json: whether at least Python's parser can read it.
        fields: what that one read; None where it is no object, or can't be read at all.
    """

    def __init__(
        self,
        problems: tuple[ContractProblem, ...],
        *,
        is_json: bool,
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__("; ".join(map(str, problems[:3])))
        self.problems = problems
        self.is_json = is_json
        self.fields = fields


def read_fields(value: bytes) -> dict[str, Any]:
    """The fields of the event in a record's value; they need not make a valid event.

    Raises:
        NoEventError: it holds none. No other exception, whatever the bytes.
    """
    try:
        found = _event_in(orjson.loads(value))
    except _UNREADABLE as error:
        raise _second_opinion(value) or _not_json(value, error) from None
    if isinstance(found, dict):
        return found
    hint = "; a tombstone is a record without a value" if found is None else ""
    problem = ContractProblem("", f"must be a JSON object, is {_kind(found)}{hint}")
    raise NoEventError((problem,), is_json=True)


def fields_in(value: bytes | None, *, at_most: int | None = None) -> Mapping[str, Any]:
    """The fields of the event in a record's value; none where they can't be read.

    Args:
        value: None is a tombstone, which has none.
        at_most: bytes; a larger value is not parsed. JSON can be crafted to take twenty times its
            size in memory once it is parsed.
    """
    if not value or (at_most is not None and len(value) > at_most):
        return {}
    try:
        found = _event_in(orjson.loads(value))
    except _UNREADABLE:
        return {}
    return found if isinstance(found, dict) else {}


def values_in(value: bytes, *, enough: int = 0) -> int:
    """How many values a reader of this JSON has to make, told without making them.

    A value costs tens of bytes of memory and up to a microsecond however few characters it has:
    8 MiB can hold four million. An empty list or object counts twice.

    Args:
        value: it need not be JSON.
        enough: up to this number a larger one than the right one may be told, which is cheaper:
            characters, or what stands in texts as well. 10 ms for 8 MiB, where the right number can
            take twenty times as long.
    """
    most = len(value) + 1  # there are never more
    if most > enough:
        most = 1 + _openings(value)
    if most <= enough:
        return most
    if b"\\" in value:  # a quote behind a backslash ends no text
        value = value.replace(b"\\\\", b"").replace(b'\\"', b"")
    return 1 + _outside_texts(value)


def _outside_texts(value: bytes) -> int:
    """What opens or separates values, but for what stands in texts; no quote is behind a backslash.

    Piece by piece: split at once, 8 MiB of quotes would take 300 MB.
    """
    found, inside = 0, 0
    for start in range(0, len(value), _PIECE_BYTES):
        parts = value[start : start + _PIECE_BYTES].split(b'"')
        found += _openings(b"".join(parts[inside::2]))
        inside = (inside + len(parts) - 1) % 2
    return found


def _openings(value: bytes) -> int:
    return value.count(b",") + value.count(b"[") + value.count(b"{")


def as_json(value: bytes) -> object:
    """The whole value, envelope and all, for a person to look at.

    Raises:
        ValueError: it is no JSON.
    """
    return orjson.loads(value)


def has_surrogate(text: str) -> bool:
    """Whether a text has half of a UTF-16 pair, which no UTF-8 can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _event_in(content: object) -> object:
    """The event in a value's JSON: the place to unwrap an envelope."""
    return content


def _not_json(value: bytes, error: BaseException) -> NoEventError:
    if not value.strip():
        message = "is empty; a tombstone is a record without a value"
    elif value.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        message = "starts with a byte order mark; UTF-8 without one is expected"
    else:
        message = f"is not JSON in UTF-8: {error}"
    return NoEventError((ContractProblem("", message[:300]),), is_json=False)


def _second_opinion(value: bytes) -> NoEventError | None:
    try:
        found = _event_in(json.loads(value.decode()))
    except _UNREADABLE:
        return None
    problems = tuple(islice(_unspeakable(found), MAX_PROBLEMS + 1))
    if not problems:
        return None
    return NoEventError(problems, is_json=True, fields=found if isinstance(found, dict) else None)


def _unspeakable(found: object) -> Iterator[ContractProblem]:
    """Every value that Python's parser lets through although JSON has no such thing.

    A loop with a stack of its own, as deep as the nesting and no larger: both the nesting and the
    number of values are the publisher's to choose.
    """
    path: list[str | int] = []
    left: list[Iterator[tuple[str | int, object]]] = [iter([("", found)])]
    while left:
        step, value = next(left[-1], (None, None))
        if step is None:
            left.pop()
            del path[-1:]
            continue
        if isinstance(value, dict):
            if any(map(has_surrogate, value)):
                yield ContractProblem(_at(path, step), "has a field name with a lone surrogate")
            path.append(step)
            left.append(item for item in value.items() if not has_surrogate(item[0]))
        elif isinstance(value, list):
            path.append(step)
            left.append(iter(enumerate(value)))
        elif isinstance(value, str) and has_surrogate(value):
            yield ContractProblem(_at(path, step), SURROGATE)
        elif isinstance(value, float) and not math.isfinite(value):
            yield ContractProblem(_at(path, step), "is no JSON number (NaN or infinite)")
        elif isinstance(value, int) and value.bit_length() > _DOUBLE_BITS:
            yield ContractProblem(_at(path, step), "is a number too large for any reader")


def _at(path: list[str | int], step: str | int) -> str:
    """The pointer; made only for a problem, because as deep as the nesting it costs as much."""
    return pointer([*path, step][1:])


def _kind(found: object) -> str:
    kinds = {bool: "a boolean", str: "a string", list: "a list", int: "a number", float: "a number"}
    return "null" if found is None else kinds.get(type(found), "something else")
