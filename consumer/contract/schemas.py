"""The published schemas, generated from the models (schemas/README.md; ``schemas export``).

Three JSON Schemas (2020-12) and one AsyncAPI 3 document. A test holds the committed files equal to
what this module makes, so the models are the only place to change.
"""

from __future__ import annotations

from typing import Any

import orjson
from pydantic import BaseModel

from consumer.contract.asyncapi import ASYNCAPI, EVENT, HEADERS, REFERENCE, RESULT, Json, asyncapi
from consumer.contract.dead_letter import ADDED_HEADERS
from consumer.contract.processed_document import ProcessedDocumentEvent
from consumer.contract.reference import PREVIEW_BYTES
from consumer.contract.upload_result import UploadResult
from consumer.model.outcome import FailureReason

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_HEADER_MEANINGS = {
    "__connect.errors.topic": "Topic of the original record.",
    "__connect.errors.partition": "Partition of the original record.",
    "__connect.errors.offset": "Offset of the original record.",
    "__connect.errors.connector.name": "`anythingllm-consumer`.",
    "__connect.errors.task.id": "The instance that wrote the dead letter.",
    "__connect.errors.stage": "`poll`, `decode`, `plan` or `upload`.",
    "__connect.errors.class.name": "The part of the code that gave up.",
    "__connect.errors.exception.class.name": "Class of the exception, where there was one.",
    "__connect.errors.exception.message": "One line, at most 1,000 characters.",
    "__connect.errors.exception.stacktrace": "Places, no messages or variables; at most 8 KiB.",
    "dlq.reason": "Why; see the table of reasons in schemas/README.md.",
    "dlq.group": "Consumer group that gave up.",
    "dlq.identity": "Identity of the document, where known.",
    "dlq.document-id": "The document's id, where readable.",
    "dlq.workspace": "Workspace slug, where known.",
    "dlq.attempts": "Attempts of the most tried chunk.",
    "dlq.failed-chunks": 'JSON {"count": n, "ids": [...]}; ids are cut at 8 KiB, the count is not.',
    "dlq.http-status": "Status of AnythingLLM's last answer, where there was one.",
    "dlq.first-failed-at": "RFC 3339, UTC; kept through replays.",
    "dlq.last-failed-at": "RFC 3339, UTC.",
    "dlq.original-timestamp": "Timestamp of the original record, epoch milliseconds.",
    "dlq.event-id": "`event_id` of the original record's result.",
    "dlq.trace-id": "32 lower-case hex characters.",
    "dlq.traceparent": "W3C Trace Context of its sending, where that was traced.",
    "dlq.replays": "How often the event has been replayed.",
}
_NUMBERS = {
    "__connect.errors.partition", "__connect.errors.offset", "dlq.attempts", "dlq.http-status",
    "dlq.replays",
}  # fmt: skip
_ALWAYS = (
    "__connect.errors.topic", "__connect.errors.partition", "__connect.errors.offset",
    "__connect.errors.connector.name", "__connect.errors.stage",
    "__connect.errors.exception.message", "dlq.reason", "dlq.group", "dlq.attempts",
    "dlq.first-failed-at", "dlq.last-failed-at", "dlq.original-timestamp", "dlq.event-id",
    "dlq.trace-id", "dlq.replays",
)  # fmt: skip


def files() -> dict[str, bytes]:
    """Every generated file: its name in ``schemas/`` and its content."""
    made = {
        EVENT: event_schema(),
        RESULT: result_schema(),
        HEADERS: headers_schema(),
        REFERENCE: reference_schema(),
        ASYNCAPI: asyncapi(),
    }
    option = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    return {name: orjson.dumps(content, option=option) for name, content in made.items()}


def event_schema() -> Json:
    """ProcessedDocument. It can't say everything: byte limits, duplicate chunk ids, real dates."""
    return _of_model(ProcessedDocumentEvent, "processed-document", title="ProcessedDocument")


def result_schema() -> Json:
    """UploadResult, with the invariants that JSON Schema can express."""
    schema = _of_model(UploadResult, "upload-result", title="UploadResult")
    zero = {"const": 0}
    counters = ("total_chunks", "successful_uploads", "failed_uploads")
    schema["allOf"] = [
        _when(["superseded", "deleted", "invalid"], dict.fromkeys(counters, zero)),
        _when(["succeeded"], {"failed_uploads": zero}),
        _when(["failed"], {"successful_uploads": zero, "failed_uploads": {"minimum": 1}}),
        _when(
            ["partial"], {"successful_uploads": {"minimum": 1}, "failed_uploads": {"minimum": 1}}
        ),
    ]
    return schema


def headers_schema() -> Json:
    """The headers that a dead letter has besides the original ones; all are UTF-8 text."""
    properties: dict[str, Json] = {}
    for name in ADDED_HEADERS:
        properties[name] = {"type": "string", "description": _HEADER_MEANINGS[name]}
        if name in _NUMBERS:
            properties[name]["pattern"] = "^[0-9]+$"
    properties["dlq.original-timestamp"]["pattern"] = "^-?[0-9]+$"
    properties["dlq.reason"]["enum"] = [reason.value for reason in FailureReason]
    properties["dlq.trace-id"]["pattern"] = "^[0-9a-f]{32}$"
    return _schema(
        "dead-letter-headers",
        title="Headers of a dead letter",
        why="Added to the original headers. A header whose value is unknown is left out.",
        properties=properties,
        required=list(_ALWAYS),
    )


def reference_schema() -> Json:
    """The value of a dead letter whose original is too large or could not be read from Kafka."""
    count = {"type": ["integer", "null"], "minimum": 0}
    digest = {"type": ["string", "null"], "pattern": "^[0-9a-f]{64}$"}
    properties: dict[str, Json] = {
        "schema_version": {"const": "1.0"},
        "kind": {"const": "reference"},
        "topic": {"type": "string"},
        "partition": {"type": "integer", "minimum": 0},
        "offset": {"type": "integer", "minimum": 0},
        "timestamp_ms": {"type": ["integer", "null"]},
        "value_bytes": count,
        "value_sha256": digest,
        "key_bytes": count,
        "key_sha256": digest,
        "headers_kept": {
            "type": "boolean",
            "description": "False where the original headers were too large to be carried on.",
        },
        "preview_base64": {
            "type": ["string", "null"],
            "description": f"The first {PREVIEW_BYTES} bytes of the value at most.",
        },
    }
    return _schema(
        "dead-letter-reference",
        title="Dead letter by reference",
        why="Stands for a record that no topic would take, or whose bytes can't be had.",
        properties=properties,
        required=list(properties),
    )


def _when(statuses: list[str], then: Json) -> Json:
    condition = {"properties": {"status": {"enum": statuses}}}
    return {"if": condition, "then": {"properties": then}}


def _of_model(model: type[BaseModel], name: str, *, title: str) -> Json:
    # Serialisation mode lists every field of a result as required, as its readers may expect.
    schema = model.model_json_schema()
    _plain(schema)
    return {"$schema": DIALECT, "$id": _id(name), **schema, "title": title}


def _schema(name: str, *, title: str, why: str, properties: Json, required: list[str]) -> Json:
    return {
        "$schema": DIALECT,
        "$id": _id(name),
        "title": title,
        "description": why,
        "type": "object",
        "properties": properties,
        "required": required,
    }


def _id(name: str) -> str:
    return f"urn:anythingllm-consumer:schema:{name}:1.0"


def _plain(node: Any) -> None:
    """Takes out what pydantic adds for itself: titles of fields, closed objects, null defaults."""
    if isinstance(node, dict):
        if isinstance(node.get("title"), str):
            del node["title"]
        if node.get("additionalProperties") is False:
            # A closed schema would make every later 1.x field an error for its readers.
            del node["additionalProperties"]
        if "default" in node and node["default"] is None:
            del node["default"]
        for value in node.values():
            _plain(value)
    elif isinstance(node, list):
        for value in node:
            _plain(value)
