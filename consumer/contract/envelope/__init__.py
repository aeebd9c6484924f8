"""The envelope of an event: what a record is wrapped in, found by what it says of itself.

This is the only place that reads an event's bytes, or the identity in a key (schemas/README.md,
"Envelopes"). What looks like an envelope and isn't stays what it is.
"""

from consumer.contract.envelope.json_text import has_surrogate, openings, values_in
from consumer.contract.envelope.keys import KeyEnvelopeError, identity_bytes, opened_key
from consumer.contract.envelope.opening import InnerValuesError
from consumer.contract.envelope.reading import (
    EventFields,
    NoEventError,
    as_json,
    fields_in,
    hides_values,
    read_fields,
)
from consumer.contract.envelope.wrapping import (
    NOTHING_SAID,
    UNOPENED,
    WITHOUT_HEADERS,
    Wrapping,
    wrapping_of,
)

__all__ = [
    "NOTHING_SAID",
    "UNOPENED",
    "WITHOUT_HEADERS",
    "EventFields",
    "InnerValuesError",
    "KeyEnvelopeError",
    "NoEventError",
    "Wrapping",
    "as_json",
    "fields_in",
    "has_surrogate",
    "hides_values",
    "identity_bytes",
    "opened_key",
    "openings",
    "read_fields",
    "values_in",
    "wrapping_of",
]
