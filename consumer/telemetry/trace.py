"""Trace IDs: 32 lower-case hex characters from an event to its result (schemas/README.md).

Header and body text is anybody's: it is validated or hashed here and goes nowhere as it came.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable, Iterator

from consumer.model.names import TraceId
from consumer.model.record import Headers

HEADERS = ("trace_id", "x-trace-id", "correlation-id")
MAX_FOREIGN_LENGTH = 128

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")
_HEX = re.compile(r"[0-9a-f]{32}|[0-9a-f]{16}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def trace_id_of(headers: Headers, body: str | None, new: Callable[[], TraceId]) -> TraceId:
    """The trace ID of an event.

    The header ``traceparent`` if it is a valid W3C one, else the first usable one of `HEADERS`,
    else the body's, else a new one. Header names are compared without regard to case.

    Args:
        headers: of the record.
        body: the event's ``trace_id``.
        new: makes a trace ID; deriving it from the event's coordinates keeps it the same when
            the event is read again after a crash.
    """
    for value in _values(headers, "traceparent"):
        if (found := _of_traceparent(value)) is not None:
            return found
    for name in HEADERS:
        for value in _values(headers, name):
            if (found := normalised(value)) is not None:
                return found
    return (body is not None and normalised(body)) or new()


def traceparent_of(headers: Headers, trace_id: TraceId) -> str | None:
    """The first valid ``traceparent`` header, if it is of this trace; else None."""
    for value in _values(headers, "traceparent"):
        if (found := _of_traceparent(value)) is not None:
            return value.strip() if found == trace_id else None
    return None


def normalised(text: str) -> TraceId | None:
    """Somebody's trace ID as 32 lower-case hex characters, or None if it is not usable.

    32 hex characters and UUIDs are taken as they are, 16 hex characters (64-bit systems) get
    leading zeros. Any other printable ASCII of at most 128 characters is hashed, so that equal
    ids stay equal. Nothing but zeros is not an id (W3C Trace Context).
    """
    plain = text.strip().lower()
    if _UUID.fullmatch(plain):
        plain = plain.replace("-", "")
    if _HEX.fullmatch(plain):
        return TraceId(plain.zfill(32)) if plain.strip("0") else None
    foreign = text.strip()
    if not foreign or len(foreign) > MAX_FOREIGN_LENGTH or not _printable(foreign):
        return None
    hashed = hashlib.sha256(foreign.encode()).hexdigest()[:32]
    return TraceId(hashed) if foreign.strip("0-") else None


def trace_ids_meant(text: str) -> frozenset[TraceId]:
    """What results have for a trace ID that its publisher wrote like this; empty if unusable.

    A text in the form of ``traceparent`` is its trace ID in the header of that name, and a foreign
    id anywhere else.
    """
    return frozenset(each for each in (_of_traceparent(text), normalised(text)) if each is not None)


def traceparent(trace_id: TraceId, span_id: str, *, sampled: bool = True) -> str:
    """The W3C header for a request.

    Args:
        trace_id: 32 lower-case hex characters.
        span_id: 16 lower-case hex characters.
        sampled: whether the caller records the trace.
    """
    return f"00-{trace_id}-{span_id}-{'01' if sampled else '00'}"


def new_trace_id(source: random.Random) -> TraceId:
    """A random trace ID; never all zeros."""
    return TraceId(f"{source.getrandbits(128) or 1:032x}")


def new_span_id(source: random.Random) -> str:
    """A random span ID for `traceparent`; never all zeros."""
    return f"{source.getrandbits(64) or 1:016x}"


def _of_traceparent(text: str) -> TraceId | None:
    match = _TRACEPARENT.fullmatch(text.strip())
    if match is None:
        return None
    version, trace_id, parent, more = match.groups()
    # Version 00 has exactly four parts; ff is forbidden; later ones may add parts.
    if version == "ff" or (version == "00" and more is not None):
        return None
    return TraceId(trace_id) if trace_id.strip("0") and parent.strip("0") else None


def _values(headers: Headers, name: str) -> Iterator[str]:
    for key, value in headers:
        if key.lower() == name and value and len(value) <= 2 * MAX_FOREIGN_LENGTH:
            yield value.decode("ascii", "replace")


def _printable(text: str) -> bool:
    return text.isascii() and text.isprintable()
