"""The envelope of an event: what a record is wrapped in, found by what it says of itself.

This is the only place that reads an event's bytes, or the identity in a key (schemas/README.md,
"Envelopes"). What looks like an envelope and isn't stays what it is.
"""

from consumer.contract.envelope.json_text import has_surrogate, values_in
from consumer.contract.envelope.keys import KeyEnvelopeError, identity_bytes, opened_key
from consumer.contract.envelope.opening import InnerValuesError
from consumer.contract.envelope.places import Places, TextPlace
from consumer.contract.envelope.reading import (
    EventFields,
    NoEventError,
    as_json,
    document_in,
    fields_in,
    read_fields,
)
from consumer.contract.envelope.wrapping import (
    NOTHING_SAID,
    UNOPENED,
    WITHOUT_HEADERS,
    Wrapping,
    wrapping_of,
)
from consumer.contract.envelope.writing import STRUCTURED, Envelope, wrapped_key, wrapped_value

__all__ = [
    "NOTHING_SAID",
    "STRUCTURED",
    "UNOPENED",
    "WITHOUT_HEADERS",
    "Envelope",
    "EventFields",
    "InnerValuesError",
    "KeyEnvelopeError",
    "NoEventError",
    "Places",
    "TextPlace",
    "Wrapping",
    "as_json",
    "document_in",
    "fields_in",
    "has_surrogate",
    "identity_bytes",
    "opened_key",
    "read_fields",
    "values_in",
    "wrapped_key",
    "wrapped_value",
    "wrapping_of",
]
