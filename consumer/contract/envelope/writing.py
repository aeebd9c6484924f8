"""Envelopes, written: as other publishers' tools write them, for whoever wants to try one.

No schema is registered anywhere: the number in a frame is whatever it is told to be.
"""

from __future__ import annotations

import hashlib
import uuid
from datetime import datetime
from enum import StrEnum

import orjson

from consumer.contract.envelope.keys import KeyEnvelopeError, opened_key
from consumer.contract.envelope.opening import FRAME, PAYLOAD, SCHEMA
from consumer.contract.envelope.wrapping import (
    CLOUD_EVENTS,
    CONTENT_TYPE,
    KEY_SCHEMA_ID,
    NOTHING_SAID,
    VALUE_SCHEMA_ID,
)
from consumer.model.record import Headers

CLOUD_EVENT_TYPE = "processed-document"
STRUCTURED: Headers = ((CONTENT_TYPE, f"{CLOUD_EVENTS}+json".encode()),)

_CONNECT_TEXT = b'{"type":"string","optional":false}'
_GUID_VERSION = b"\x01"


class Envelope(StrEnum):
    """The envelopes that a record's value, or its key, may be in."""

    PLAIN = "plain"
    SCHEMA_REGISTRY = "schema-registry"
    SCHEMA_REGISTRY_HEADER = "schema-registry-header"
    CLOUD_EVENTS = "cloudevents"
    CLOUD_EVENTS_STRUCTURED = "cloudevents-structured"
    CONNECT = "connect"
    JSON_STRING = "json-string"


def wrapped_value(
    document: bytes,
    envelope: Envelope,
    *,
    source: str,
    time: datetime | None = None,
    schema_id: int = 1,
) -> tuple[bytes, Headers]:
    """A value and the headers that say what it is.

    Args:
        document: an event as JSON in UTF-8; it stands byte for byte in whatever is no string.
        envelope: which one.
        source: a CloudEvent's, a URI reference.
        time: a CloudEvent's, aware; None leaves it out.
        schema_id: in the frame, or as the GUID in the header.
    """
    match envelope:
        case Envelope.PLAIN:
            return document, ()
        case Envelope.SCHEMA_REGISTRY:
            return _frame(schema_id) + document, ()
        case Envelope.SCHEMA_REGISTRY_HEADER:
            return document, ((VALUE_SCHEMA_ID, _guid(schema_id)),)
        case Envelope.CONNECT:
            return _connect(b"null", document), ()
        case Envelope.JSON_STRING:
            return orjson.dumps(document.decode()), ()
        case Envelope.CLOUD_EVENTS:
            attributes = _attributes(document, source, time)
            kind = attributes.pop("datacontenttype").encode()
            headers = ((f"ce_{name}", text.encode()) for name, text in attributes.items())
            return document, ((CONTENT_TYPE, kind), *headers)
        case Envelope.CLOUD_EVENTS_STRUCTURED:
            head = orjson.dumps(_attributes(document, source, time))
            return head[:-1] + b',"data":' + document + b"}", STRUCTURED


def wrapped_key(
    identity: bytes, envelope: Envelope, *, schema_id: int = 1
) -> tuple[bytes, Headers]:
    """A key and the headers that say what it is. CloudEvents leave keys as they are.

    An identity that looks like an envelope itself is always quoted: as it stands, a tombstone's
    would be read as another one, and that one's document be removed.

    Args:
        identity: in UTF-8.
        envelope: which one.
        schema_id: as for values.
    """
    match envelope:
        case Envelope.PLAIN | Envelope.CLOUD_EVENTS | Envelope.CLOUD_EVENTS_STRUCTURED:
            return identity if _stands(identity) else _quoted(identity), ()
        case Envelope.SCHEMA_REGISTRY:
            return _frame(schema_id) + _quoted(identity), ()
        case Envelope.SCHEMA_REGISTRY_HEADER:
            return _quoted(identity), ((KEY_SCHEMA_ID, _guid(schema_id)),)
        case Envelope.CONNECT:
            return _connect(_CONNECT_TEXT, _quoted(identity)), ()
        case Envelope.JSON_STRING:
            return _quoted(identity), ()


def _stands(identity: bytes) -> bool:
    """Whether a key without an envelope is read as this identity."""
    try:
        return opened_key(identity, NOTHING_SAID) == identity
    except KeyEnvelopeError:
        return False


def _quoted(identity: bytes) -> bytes:
    return orjson.dumps(identity.decode())


def _frame(schema_id: int) -> bytes:
    return FRAME + schema_id.to_bytes(4)


def _guid(schema_id: int) -> bytes:
    return _GUID_VERSION + uuid.UUID(int=schema_id).bytes


def _connect(schema: bytes, payload: bytes) -> bytes:
    return b'{"%b":%b,"%b":%b}' % (SCHEMA.encode(), schema, PAYLOAD.encode(), payload)


def _attributes(document: bytes, source: str, time: datetime | None) -> dict[str, str]:
    """Of a CloudEvent; the same event gets the same id, so that publishing it twice is seen."""
    digest = hashlib.sha256(document).hexdigest()
    found = {
        "specversion": "1.0",
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{source} {digest}")),
        "source": source,
        "type": CLOUD_EVENT_TYPE,
        "datacontenttype": "application/json",
    }
    return found if time is None else found | {"time": time.isoformat()}
