"""From a record's value to the event's fields, out of whatever it is wrapped in.

There are two ways to read:

- `read_fields` is strict and says why not. A value that orjson refuses is shown to Python's parser
  once more: if that one can read it, the event is known well enough to answer its publisher.
- `fields_in` is lenient and gives no reason. It is for looking up a few fields of an event that
  need not be valid.

How long reading takes depends on the number of values, which `values_in` tells beforehand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

import orjson

from consumer.contract.envelope.json_text import (
    UNREADABLE,
    leniently,
    strictly,
    unspeakable,
)
from consumer.contract.envelope.opening import (
    FRAME,
    FRAME_BYTES,
    SCHEMA,
    SPECVERSION,
    EnvelopeError,
    InnerValuesError,
    NotJsonError,
    Opening,
)
from consumer.contract.envelope.wrapping import NOTHING_SAID, Wrapping
from consumer.contract.processed_document import MAX_PROBLEMS, ContractProblem, instant_in

_SHOWN = 80
_HINTS = frozenset({SCHEMA, SPECVERSION})  # without them an object is in no envelope
_ODD_TIME = "the time of the CloudEvent is no date: the record's timestamp counts"


class NoEventError(Exception):
    """A value holds no fields of an event.

    Args:
        problems: where and why, at least one; never document text. May be one more than
            `MAX_PROBLEMS`, and then there are more.
        is_json: whether at least Python's parser can read it.
        fields: what that one read, where it is an object.
    """

    def __init__(
        self,
        problems: tuple[ContractProblem, ...],
        *,
        is_json: bool,
        fields: EventFields | None = None,
    ) -> None:
        super().__init__("; ".join(map(str, problems[:3])))
        self.problems = problems
        self.is_json = is_json
        self.fields = fields


@dataclass(frozen=True, slots=True)
class EventFields:
    """The fields of an event.

    Args:
        fields: they need not make a valid event.
        path: where in the record they stand.
        time: when it happened, as its envelope says: stands where the record's timestamp would.
        notes: oddities of the envelope that were accepted, one line each.
    """

    fields: Mapping[str, Any]
    path: tuple[str, ...] = ()
    time: datetime | None = None
    notes: tuple[str, ...] = ()


def read_fields(
    value: bytes, wrapping: Wrapping = NOTHING_SAID, *, most_values: int | None = None
) -> EventFields:
    """The fields of the event in a record's value; they need not make a valid event.

    Args:
        value: the record's.
        wrapping: what the record's headers say.
        most_values: how many JSON values a text in it may hide; those of the value itself were
            counted before.

    Raises:
        NoEventError: it holds none.
        InnerValuesError: a text in it hides more.
        No other exception, whatever the bytes.
    """
    try:
        return _strictly_read(value, wrapping, most_values)
    except EnvelopeError as error:
        raise NoEventError((error.problem,), is_json=error.is_json) from None
    except NotJsonError as error:
        raise (
            _second_opinion(value, wrapping, most_values) or _not_json(error, wrapping)
        ) from None


def fields_in(
    value: bytes | None,
    wrapping: Wrapping = NOTHING_SAID,
    *,
    at_most: int | None = None,
    most_values: int | None = None,
) -> EventFields:
    """The fields of the event in a record's value; none where they can't be read.

    Args:
        value: None is a tombstone, which has none.
        wrapping: what the record's headers say.
        at_most: bytes; a larger value is not parsed. JSON can be crafted to take twenty times its
            size in memory once it is parsed.
        most_values: as for `read_fields`.
    """
    none = EventFields({}, time=wrapping.time)
    if not value or (at_most is not None and len(value) > at_most):
        return none
    try:
        return _strictly_read(value, wrapping, most_values)
    except (EnvelopeError, InnerValuesError, NotJsonError):
        return none


def document_in(value: bytes, event: EventFields) -> bytes:
    """The event's own JSON, out of its envelope; byte for byte where it is in none.

    Args:
        value: the record's.
        event: what `read_fields` found in it.
    """
    if not event.path and value.lstrip(b" \t\r\n").startswith(b"{"):
        return value
    return orjson.dumps(event.fields)


def as_json(value: bytes) -> object:
    """The whole value, envelope and all but for a frame, for a person to look at.

    Raises:
        ValueError: it is no JSON.
    """
    return strictly(value[FRAME_BYTES:] if value[:1] == FRAME else value)


def _strictly_read(value: bytes, wrapping: Wrapping, most_values: int | None) -> EventFields:
    if value.startswith(FRAME):
        return _opened(Opening(wrapping, strictly, most_values), value)
    try:
        found = strictly(value)
    except UNREADABLE as error:
        raise NotJsonError(value, str(error)) from None
    # Nearly all events end here, so nothing is made for them.
    if isinstance(found, dict) and wrapping.is_plain and _HINTS.isdisjoint(found):
        return EventFields(found)
    return _opened(Opening(wrapping, strictly, most_values), value, found)


def _opened(opening: Opening, value: bytes, parsed: object = None) -> EventFields:
    wrapping = opening.wrapping
    found = opening.open(value) if parsed is None else opening.open_parsed(parsed)
    if opening.time is None and wrapping.time is None and not wrapping.odd_time:
        return EventFields(found, opening.path)
    return _told(found, opening)


def _told(found: Mapping[str, Any], opening: Opening) -> EventFields:
    time = instant_in(opening.time) if opening.time is not None else opening.wrapping.time
    return EventFields(found, opening.path, time, () if time is not None else (_ODD_TIME,))


def _second_opinion(
    value: bytes, wrapping: Wrapping, most_values: int | None
) -> NoEventError | None:
    """What Python's parser makes of it, where that shows why nobody else can read it."""
    opening = Opening(wrapping, leniently, most_values)
    fields = None
    with suppress(EnvelopeError, NotJsonError):
        fields = _opened(opening, value)
    problems = tuple(islice(_unspeakable(opening), MAX_PROBLEMS + 1))
    return NoEventError(problems, is_json=True, fields=fields) if problems else None


def _unspeakable(opening: Opening) -> Iterator[ContractProblem]:
    for path, parsed in opening.parsed:
        yield from unspeakable(parsed, path)


def _not_json(error: NotJsonError, wrapping: Wrapping) -> NoEventError:
    value = error.value
    if error.hidden_at is not None:
        problem = ContractProblem(
            error.hidden_at, f"holds text that is not JSON: {error.why}"[:300]
        )
        return NoEventError((problem,), is_json=True)
    if error.schema_id is not None and not _begins_json(value):
        message = (
            f"is no JSON behind a Schema Registry frame (schema {error.schema_id}): a payload in "
            f"Avro or Protobuf is not read; {_CURE}"
        )
    elif wrapping.value_schema and not _begins_json(value):
        message = (
            "is no JSON, and a header names its schema in a Schema Registry: a payload in Avro or "
            f"Protobuf is not read; {_CURE}"
        )
    elif not value.strip():
        message = "is empty; a tombstone is a record without a value"
    elif value.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        message = "starts with a byte order mark; UTF-8 without one is expected"
    else:
        behind = "" if error.schema_id is None else " behind a Schema Registry frame"
        message = f"is not JSON in UTF-8{behind}{_declared(wrapping)}: {error.why}"
    return NoEventError((ContractProblem("", message[:300]),), is_json=False)


_CURE = "publish it with a serializer for JSON Schema, or as plain JSON"


def _begins_json(value: bytes) -> bool:
    return value.lstrip(b" \t\r\n")[:1] in (b"{", b"[", b'"', b"")


def _declared(wrapping: Wrapping) -> str:
    given = wrapping.content_type
    if given is None or "json" in given:
        return ""
    return f" (its content-type says {given[:_SHOWN]!a})"
