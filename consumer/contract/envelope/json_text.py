"""JSON in bytes: parsed strictly or leniently, and how much of it there is. Knows no event."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence

import orjson

from consumer.contract.processed_document import SURROGATE, ContractProblem, pointer

# Integers with more bits than this are infinite as a double, which is where orjson refuses them.
_DOUBLE_BITS = 1024
_PIECE_BYTES = 64 * 1024

UNREADABLE = (ValueError, RecursionError, MemoryError, OverflowError)
"""All that parsing any bytes can raise."""


def strictly(value: bytes) -> object:
    """What all readers of JSON take.

    orjson refuses what Python's own parser lets through (NaN, ``1e400``, lone surrogates, UTF-16)
    and stops at 1,024 levels instead of exhausting the stack.

    Raises:
        UNREADABLE: one of them.
    """
    return orjson.loads(value)


def leniently(value: bytes) -> object:
    """What Python's own parser takes; `unspeakable` tells the difference.

    Raises:
        UNREADABLE: one of them.
    """
    return json.loads(value.decode())


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
    """What opens or separates values, in texts as well."""
    return value.count(b",") + value.count(b"[") + value.count(b"{")


def has_surrogate(text: str) -> bool:
    """Whether a text has half of a UTF-16 pair, which no UTF-8 can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def unspeakable(found: object, within: Sequence[str]) -> Iterator[ContractProblem]:
    """Every value that Python's parser lets through although JSON has no such thing.

    A loop with a stack of its own, as deep as the nesting and no larger: both the nesting and the
    number of values are the publisher's to choose.

    Args:
        found: what that parser read.
        within: where in the record it stands.
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
                problem = "has a field name with a lone surrogate"
                yield ContractProblem(_at(within, path, step), problem)
            path.append(step)
            left.append(item for item in value.items() if not has_surrogate(item[0]))
        elif isinstance(value, list):
            path.append(step)
            left.append(iter(enumerate(value)))
        elif isinstance(value, str) and has_surrogate(value):
            yield ContractProblem(_at(within, path, step), SURROGATE)
        elif isinstance(value, float) and not math.isfinite(value):
            yield ContractProblem(_at(within, path, step), "is no JSON number (NaN or infinite)")
        elif isinstance(value, int) and value.bit_length() > _DOUBLE_BITS:
            yield ContractProblem(_at(within, path, step), "is a number too large for any reader")


def _at(within: Sequence[str], path: list[str | int], step: str | int) -> str:
    """The pointer; made only for a problem, because as deep as the nesting it costs as much."""
    return pointer([*within, *[*path, step][1:]])


def kind_of(found: object) -> str:
    """What kind of JSON value it is, with its article."""
    kinds = {bool: "a boolean", str: "a string", list: "a list", int: "a number", float: "a number"}
    return "null" if found is None else kinds.get(type(found), "something else")
