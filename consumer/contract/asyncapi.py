"""The AsyncAPI 3 document over all topics; `consumer.contract.schemas` writes it with the rest.

It is whole by itself: the payloads stand in it, in draft 7, which AsyncAPI takes a schema for
that does not say otherwise. Tests hold it to AsyncAPI's own parser.
"""

from __future__ import annotations

from collections.abc import Sequence

from consumer.contract.open_schema import Json, by_title

ASYNCAPI = "asyncapi.json"

_INPUT_BYTES = 8 * 1024 * 1024
_DEAD_LETTER_BYTES = _INPUT_BYTES + 64 * 1024


_ENVELOPE_HEADERS: Json = {
    "content-type": {
        "type": "string",
        "description": "`application/cloudevents+json`: a CloudEvent in structured mode. "
        "Envelopes: schemas/README.md.",
    },
    "ce_specversion": {"type": "string", "description": "A CloudEvent in binary mode."},
    "ce_time": {"type": "string", "description": "Stands where the record's timestamp would."},
    "__value_schema_id": {"type": "string", "description": "Of a Schema Registry."},
    "__key_schema_id": {"type": "string", "description": "Of a Schema Registry."},
}


def asyncapi(schemas: Sequence[Json]) -> Json:
    """All five topics with keys, headers and settings, as AsyncAPI 3.

    Args:
        schemas: of all messages.
    """
    definitions = {name: each for one in schemas for name, each in by_title(one).items()}
    return {
        "asyncapi": "3.1.0",
        "info": {
            "title": "AnythingLLM stream consumer",
            "version": "1.0.0",
            "description": "Names are the defaults; settings may change them. "
            "The contracts in words: schemas/README.md.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": _channels(),
        "operations": _operations(),
        "components": {"messages": _messages(), "schemas": definitions},
    }


def _channels() -> Json:
    def channel(address: str, *, why: str, messages: list[str], topic: Json) -> Json:
        kafka = {"topic": address, **topic, "bindingVersion": "0.5.0"}
        return {
            "address": address,
            "description": why,
            "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
            "bindings": {"kafka": kafka},
        }

    large = {"partitions": 12, "topicConfiguration": {"max.message.bytes": _INPUT_BYTES}}
    replays = {"partitions": 12, "topicConfiguration": {"max.message.bytes": _DEAD_LETTER_BYTES}}
    kept = {
        "topicConfiguration": {"retention.ms": -1, "max.message.bytes": _DEAD_LETTER_BYTES},
    }
    results = {"topicConfiguration": {"cleanup.policy": ["delete"], "retention.ms": -1}}
    documents, dead = ["document", "tombstone"], ["deadLetter", "deadLetterReference"]
    return {
        "documents": channel(
            "documents.processed", why="What publishers write.", messages=documents, topic=large
        ),
        "replay": channel(
            "documents.processed.replay",
            why="Only replay writes here. As many partitions as the first topic.",
            messages=documents,
            topic=replays,
        ),
        "results": channel(
            "documents.upload-results",
            why="One result an event. Kept at least as long as dead letters.",
            messages=["result"],
            topic=results,
        ),
        "deadLetters": channel(
            "documents.processed.dlq", why="Events that can't be stored.", messages=dead, topic=kept
        ),
        "parked": channel(
            "documents.processed.parked",
            why="Dead letters that are not to be replayed.",
            messages=dead,
            topic=kept,
        ),
    }


def _operations() -> Json:
    def operation(action: str, *, channel: str, summary: str) -> Json:
        return {
            "action": action,
            "channel": {"$ref": f"#/channels/{channel}"},
            "summary": summary,
        }

    return {
        "receiveDocuments": operation(
            "receive", channel="documents", summary="Store what was published."
        ),
        "receiveReplays": operation("receive", channel="replay", summary="Store what is replayed."),
        "sendResults": operation(
            "send", channel="results", summary="Tell what became of an event."
        ),
        "sendDeadLetters": operation(
            "send", channel="deadLetters", summary="Keep what can't be stored."
        ),
        "sendReplays": operation("send", channel="replay", summary="`dlq replay`."),
        "sendParked": operation("send", channel="parked", summary="`dlq park` and the loop guard."),
    }


def _messages() -> Json:
    identity = {"type": "string", "description": "The identity of the document."}
    original = {"type": ["string", "null"], "description": "The original key, byte for byte."}
    return {
        "document": {
            "title": "ProcessedDocument",
            "headers": _trace_headers("DocumentHeaders"),
            "payload": _schema("ProcessedDocument"),
            "bindings": _key(identity),
        },
        "tombstone": {
            "title": "Tombstone: the document is removed",
            "headers": _trace_headers(
                "TombstoneHeaders",
                {"workspace": {"type": "string", "description": "Only from this workspace."}},
            ),
            "payload": {"title": "NoValue", "type": "null"},
            "bindings": _key(identity),
        },
        "result": {
            "title": "UploadResult",
            "headers": {
                "title": "ResultHeaders",
                "type": "object",
                "properties": {"trace_id": {"type": "string"}},
            },
            "payload": _schema("UploadResult"),
            "correlationId": {"location": "$message.payload#/trace_id"},
            "bindings": _key(identity),
        },
        "deadLetter": {
            "title": "Dead letter: the original key, value and headers, and why",
            "headers": _schema("DeadLetterHeaders"),
            "payload": {
                "title": "OriginalValue",
                "description": "The original value, byte for byte; any bytes.",
            },
            "contentType": "application/octet-stream",
            "correlationId": {"location": "$message.header#/dlq.trace-id"},
            "bindings": _key(original),
        },
        "deadLetterReference": {
            "title": "Dead letter by reference",
            "headers": _schema("DeadLetterHeaders"),
            "payload": _schema("DeadLetterReference"),
            "correlationId": {"location": "$message.header#/dlq.trace-id"},
            "bindings": _key(original),
        },
    }


def _schema(title: str) -> Json:
    return {"$ref": f"#/components/schemas/{title}"}


def _trace_headers(title: str, more: Json | None = None) -> Json:
    others = {name: {"type": "string"} for name in ("trace_id", "x-trace-id", "correlation-id")}
    traceparent = {"type": "string", "description": "W3C Trace Context; comes first."}
    properties = {"traceparent": traceparent, **others, **_ENVELOPE_HEADERS, **(more or {})}
    return {"title": title, "type": "object", "properties": properties}


def _key(schema: Json) -> Json:
    return {"kafka": {"key": schema, "bindingVersion": "0.5.0"}}
