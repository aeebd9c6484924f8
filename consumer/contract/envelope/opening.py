"""Opens the envelopes round an event, from the outermost to the event's own JSON.

What is opened, at most two of them, one in the other:

- A Schema Registry frame: the byte 0, four bytes with the schema's id, then JSON.
- JSON in a JSON string, as a serializer writes it that is given text that was serialized already.
- Kafka Connect's JSON with schema: an object of ``schema`` and ``payload`` and nothing else. No
  event is such an object, because it would lack everything that is required.
- A CloudEvent in structured mode: its ``data``, or ``data_base64``.

All else is handed on as it is. An envelope that has nothing in it is an error, never an event
without content. `EnvelopeError` names the place as the publisher sees it, in the record's value.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from consumer.contract.envelope.json_text import UNREADABLE, kind_of, values_in
from consumer.contract.envelope.wrapping import CLOUD_EVENTS, Wrapping
from consumer.contract.processed_document import ContractProblem, pointer

MOST_LAYERS = 2
FRAME = b"\0"
FRAME_BYTES = 5
SCHEMA, PAYLOAD = "schema", "payload"
SPECVERSION = "specversion"

_CONNECT = frozenset({SCHEMA, PAYLOAD})
_CLOUD_EVENT = frozenset({SPECVERSION, "data", "data_base64"})
_REQUIRED = (SPECVERSION, "type", "source")
_JSON_BEGINS = ("{", "[", '"')
_SHOWN = 80

Parse = Callable[[bytes], object]


class EnvelopeError(Exception):
    """Something is wrong with an envelope itself.

    Args:
        problem: where and what.
        is_json: whether the value could be parsed so far.
    """

    def __init__(self, problem: ContractProblem, *, is_json: bool) -> None:
        super().__init__(str(problem))
        self.problem = problem
        self.is_json = is_json


class InnerValuesError(Exception):
    """What an envelope hides holds too many JSON values to be read.

    Args:
        values: how many.
        pointer: where they stand.
    """

    def __init__(self, values: int, pointer: str) -> None:
        super().__init__(f"{pointer}: {values} values")
        self.values = values
        self.pointer = pointer


class NotJsonError(Exception):
    """Bytes are not JSON to this parser: those of the value, or of what an envelope hides.

    Args:
        value: the bytes, without a frame.
        why: what the parser says.
        schema_id: of the frame in front of them.
        hidden_at: a pointer to the text that holds them; None where they are the value itself.
    """

    def __init__(
        self, value: bytes, why: str, *, schema_id: int | None = None, hidden_at: str | None = None
    ) -> None:
        super().__init__(why)
        self.value = value
        self.why = why
        self.schema_id = schema_id
        self.hidden_at = hidden_at


@dataclass(slots=True)
class Opening:
    """One look into a value; how the envelopes were stays in it.

    Args:
        wrapping: what the headers say.
        parse: makes JSON of bytes.
        most_values: how many JSON values a hidden text may hold.
        path: where in the record the event's fields stand.
        time: a CloudEvent's ``time``, as it is written there.
        parsed: all that was parsed, each with its place.
    """

    wrapping: Wrapping
    parse: Parse
    most_values: int | None = None
    path: tuple[str, ...] = ()
    time: object = None
    parsed: list[tuple[tuple[str, ...], object]] = field(default_factory=list)
    _layers: int = 0

    def open(self, value: bytes) -> dict[str, Any]:
        """The object in the innermost envelope.

        Raises:
            EnvelopeError: an envelope is broken or empty, or there are too many; or it is no object
                that is inside.
            InnerValuesError: one hides too much.
            NotJsonError: the bytes can't be parsed.
        """
        if not self.wrapping.opens:
            return self._checked(self._parsed(value, None))
        return self._inmost(self._json(value))

    def open_parsed(self, found: object) -> dict[str, Any]:
        """As `open`, of a value that is parsed already."""
        return self._inmost(found) if self.wrapping.opens else self._checked(found)

    def _inmost(self, found: object) -> dict[str, Any]:
        while True:
            if isinstance(found, str) and found.lstrip()[:1] in _JSON_BEGINS:
                found = self._in_text(found)
            elif isinstance(found, dict) and SCHEMA in found and found.keys() <= _CONNECT:
                self._enter("Kafka Connect's JSON with schema")
                found = self._inside(found, PAYLOAD)
            elif isinstance(found, dict) and self._is_cloud_event(found):
                found = self._in_cloud_event(found)
            else:
                return self._checked(found)

    def _json(self, value: bytes) -> object:
        schema_id = None
        while value[:1] == FRAME:
            self._enter("a Schema Registry frame")
            if len(value) <= FRAME_BYTES:
                problem = "is cut short: a Schema Registry frame has five bytes, then comes JSON"
                raise self._error("", problem, is_json=False)
            schema_id = int.from_bytes(value[1:FRAME_BYTES])
            value = value[FRAME_BYTES:]
        return self._parsed(value, schema_id)

    def _parsed(self, value: bytes, schema_id: int | None) -> object:
        try:
            found = self.parse(value)
        except UNREADABLE as error:
            raise NotJsonError(value, str(error), schema_id=schema_id) from None
        self.parsed.append((self.path, found))
        return found

    def _hidden(self, value: bytes) -> object:
        """JSON that stands in a text: the outer parser has counted it as one value."""
        if self.most_values is not None:
            values = values_in(value, enough=self.most_values)
            if values > self.most_values:
                raise InnerValuesError(values, pointer(self.path))
        try:
            return self._json(value)
        except NotJsonError as error:
            raise NotJsonError(value, error.why, hidden_at=pointer(self.path)) from None

    def _in_text(self, text: str) -> object:
        self._enter("JSON in a JSON string")
        return self._hidden(text.encode("utf-8", "surrogatepass"))

    def _inside(self, found: Mapping[str, Any], name: str) -> object:
        content = found.get(name)
        if content is None:
            what = "is null" if name in found else "is missing"
            raise self._error(name, f"{what}: {_EMPTY}")
        self.path += (name,)
        return content

    def _is_cloud_event(self, found: Mapping[str, Any]) -> bool:
        if self.wrapping.structured and not self._layers:
            is_ours = isinstance(found.get("chunks"), list) or _CLOUD_EVENT.isdisjoint(found)
            return not is_ours
        return self.wrapping.structured is not False and _looks_like_cloud_event(found)

    def _in_cloud_event(self, found: Mapping[str, Any]) -> object:
        self._enter("a CloudEvent")
        version = found.get(SPECVERSION)
        if not (isinstance(version, str) and version.startswith("1.")):
            raise self._error(SPECVERSION, "must be 1.0: the content-type says CloudEvents")
        self.time = found.get("time")
        encoded = found.get("data_base64")
        if encoded is None:
            return self._inside(found, "data")
        if found.get("data") is not None:
            raise self._error("data_base64", "stands beside data: a CloudEvent has one of them")
        self.path += ("data_base64",)
        return self._hidden(self._decoded(encoded))

    def _decoded(self, encoded: object) -> bytes:
        try:
            if isinstance(encoded, str):
                return base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            pass
        raise self._error("", "is no base64")

    def _checked(self, found: object) -> dict[str, Any]:
        """What is inside, where no envelope is left to open."""
        if isinstance(found, dict):
            if self.wrapping.opens and _looks_like_cloud_event(found):
                raise self._error("", _unsaid(self.wrapping))
            return found
        hint = "; a tombstone is a record without a value" if found is None else ""
        if isinstance(found, list) and self.wrapping.structured:
            hint = ": CloudEvents in batch mode; a record holds one"
        elif isinstance(found, list) and self._layers:
            hint = "; a record holds one document"
        raise self._error("", f"must be a JSON object, is {kind_of(found)}{hint}")

    def _enter(self, name: str) -> None:
        self._layers += 1
        if self._layers > MOST_LAYERS:
            problem = f"is {name} in {MOST_LAYERS} envelopes; no more than {MOST_LAYERS} are opened"
            raise self._error("", problem)

    def _error(self, step: str, message: str, *, is_json: bool = True) -> EnvelopeError:
        at = pointer((*self.path, step) if step else self.path)
        return EnvelopeError(ContractProblem(at, message[:300]), is_json=is_json)


_EMPTY = "an envelope has to hold a document; a tombstone is a record without a value"


def _looks_like_cloud_event(found: Mapping[str, Any]) -> bool:
    """Whether it has what every CloudEvent has, and is no event that happens to have it as well.

    Its id is not asked for: our events have one. Its attributes are never lists.
    """
    return all(isinstance(found.get(name), str) for name in _REQUIRED) and not isinstance(
        found.get("chunks"), list
    )


def _unsaid(wrapping: Wrapping) -> str:
    given = wrapping.content_type
    says = f"says {given[:_SHOWN]!a}" if given else "is missing"
    return (
        f"looks like a CloudEvent in structured mode, but its content-type header {says}; "
        f"set it to {CLOUD_EVENTS}+json"
    )
