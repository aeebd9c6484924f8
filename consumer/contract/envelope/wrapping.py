"""What a record's headers say of how its value and its key are wrapped.

Headers are looked at once for each record and nothing is parsed here. Names are compared without
regard to case; of equal names the first counts.

- ``content-type``: CloudEvents 1.0 in structured mode begin with ``application/cloudevents``
  (Kafka protocol binding 1.0.2, 3; MQTT and HTTP have it likewise).
- ``ce_specversion``, ``ce_time``: CloudEvents in binary mode. The value is the event itself.
- ``__value_schema_id``, ``__key_schema_id``: the Schema Registry's newer framing, by which value or
  key come without a frame (confluent-kafka 2.16.1, HeaderSchemaIdSerializer).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from consumer.contract.processed_document import instant_in
from consumer.model.record import Headers

CONTENT_TYPE = "content-type"
VALUE_SCHEMA_ID = "__value_schema_id"
KEY_SCHEMA_ID = "__key_schema_id"
CLOUD_EVENTS = "application/cloudevents"

_SPECVERSION, _TIME = "ce_specversion", "ce_time"
_READ = frozenset({CONTENT_TYPE, VALUE_SCHEMA_ID, KEY_SCHEMA_ID, _SPECVERSION, _TIME})
_LONGEST = 256  # bytes of a header that is believed


@dataclass(frozen=True, slots=True)
class Wrapping:
    """See the module's docstring. The default is that of a record whose headers say nothing.

    Args:
        opens: whether envelopes are opened at all (DOCUMENT_ENVELOPES).
        structured: whether the value is a CloudEvent; None where no headers came with it, so that
            only the value itself can say so.
        content_type: the media type, lower case, without parameters.
        value_schema: whether a header has the schema of the value.
        key_schema: whether a header has the schema of the key.
        time: ``ce_time``, where the record is a CloudEvent in binary mode and the time makes sense.
        odd_time: whether there is a ``ce_time`` that makes none.
    """

    opens: bool = True
    structured: bool | None = False
    content_type: str | None = None
    value_schema: bool = False
    key_schema: bool = False
    time: datetime | None = None
    odd_time: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether the headers say nothing that bears on how the value is read."""
        return not (self.structured or self.time or self.odd_time)


NOTHING_SAID = Wrapping()
UNOPENED = Wrapping(opens=False)
WITHOUT_HEADERS = Wrapping(structured=None)
"""Of an event in a file."""


def wrapping_of(headers: Headers) -> Wrapping:
    """What these headers say."""
    if not headers:
        return NOTHING_SAID
    said: dict[str, str] = {}
    for name, value in headers:
        if (lower := name.lower()) in _READ and lower not in said:
            said[lower] = _text(value)
    return _wrapping(said) if said else NOTHING_SAID


def _wrapping(said: dict[str, str]) -> Wrapping:
    content_type = said.get(CONTENT_TYPE, "").partition(";")[0].strip().lower()
    is_event = said.get(_SPECVERSION, "").startswith("1.")
    time = instant_in(said.get(_TIME)) if is_event else None
    return Wrapping(
        structured=content_type.startswith(CLOUD_EVENTS),
        content_type=content_type or None,
        value_schema=VALUE_SCHEMA_ID in said,
        key_schema=KEY_SCHEMA_ID in said,
        time=time,
        odd_time=is_event and time is None and _TIME in said,
    )


def _text(value: bytes | None) -> str:
    """A header's text; empty for what is too long or no UTF-8."""
    if not value or len(value) > _LONGEST:
        return ""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return ""
