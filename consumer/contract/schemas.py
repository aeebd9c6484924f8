"""The published schemas, generated from the models (schemas/README.md; ``schemas export``).

Four JSON Schemas in 2020-12 and in draft 7, and an AsyncAPI document. A test holds the committed
files equal to what this module makes, so the models are the only place to change.

They are what every 1.x keeps: `consumer.contract.open_schema`. What only today's version keeps (no
other fields, statuses or reasons; counters that fit the status) is in the models, which refuse to
write anything else, and in the README's words.
"""

from __future__ import annotations

import orjson
from pydantic import BaseModel

from consumer.contract.asyncapi import ASYNCAPI, asyncapi
from consumer.contract.dead_letter import ADDED_HEADERS
from consumer.contract.open_schema import DIALECT, VERSION, Json, in_draft_7, known, opened
from consumer.contract.processed_document import ProcessedDocumentEvent
from consumer.contract.reference import PREVIEW_BYTES
from consumer.contract.upload_result import UploadResult
from consumer.model.outcome import FailureReason

EVENT = "processed-document.schema.json"
RESULT = "upload-result.schema.json"
REFERENCE = "dead-letter-reference.schema.json"
HEADERS = "dead-letter-headers.schema.json"
DRAFT_7 = "draft-07"
"""The folder of the same schemas in draft 7."""

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
    """Every generated file: its name in ``schemas/``, by folder, and its content."""
    schemas = {
        EVENT: event_schema(),
        RESULT: result_schema(),
        HEADERS: headers_schema(),
        REFERENCE: reference_schema(),
    }
    made = schemas | {f"{DRAFT_7}/{name}": in_draft_7(each) for name, each in schemas.items()}
    made[ASYNCAPI] = asyncapi(list(schemas.values()))
    option = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    return {name: orjson.dumps(content, option=option) for name, content in made.items()}


def event_schema() -> Json:
    """ProcessedDocument. It can't say everything: byte limits, duplicate chunk ids, real dates."""
    return _of_model(ProcessedDocumentEvent, "processed-document", title="ProcessedDocument")


def result_schema() -> Json:
    """UploadResult as every 1.x writes it: each field is there, others may come beside them."""
    schema = _of_model(UploadResult, "upload-result", title="UploadResult")
    schema["properties"]["schema_version"] |= VERSION
    del schema["properties"]["schema_version"]["const"]
    return schema


def headers_schema() -> Json:
    """The headers that a dead letter has besides the original ones; all are UTF-8 text."""
    properties: dict[str, Json] = {}
    for name in ADDED_HEADERS:
        properties[name] = {"type": "string", "description": _HEADER_MEANINGS[name]}
        if name in _NUMBERS:
            properties[name]["pattern"] = "^[0-9]+$"
    properties["dlq.original-timestamp"]["pattern"] = "^-?[0-9]+$"
    properties["dlq.reason"] |= known([reason.value for reason in FailureReason])
    properties["dlq.trace-id"]["pattern"] = "^[0-9a-f]{32}$"
    return _schema(
        "dead-letter-headers",
        title="DeadLetterHeaders",
        why="Added to the original headers. A header whose value is unknown is left out.",
        properties=properties,
        required=list(_ALWAYS),
    )


def reference_schema() -> Json:
    """The value of a dead letter whose original is too large or could not be read from Kafka."""
    count = {"type": ["integer", "null"], "format": "int64", "minimum": 0}
    digest = {"type": ["string", "null"], "pattern": "^[0-9a-f]{64}$"}
    place = {"type": "integer", "minimum": 0}
    properties: dict[str, Json] = {
        "schema_version": dict(VERSION),
        "kind": {"type": "string", "pattern": "^reference$", "examples": ["reference"]},
        "topic": {"type": "string"},
        "partition": place,
        "offset": place | {"format": "int64"},
        "timestamp_ms": {"type": ["integer", "null"], "format": "int64"},
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
        title="DeadLetterReference",
        why="Stands for a record that no topic would take, or whose bytes can't be had.",
        properties=properties,
        required=list(properties),
    )


def _of_model(model: type[BaseModel], name: str, *, title: str) -> Json:
    schema = opened(model.model_json_schema())
    return {"$schema": DIALECT, "$id": _id(name), "title": title, **schema}


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
