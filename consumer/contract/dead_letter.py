"""Dead letters: an event that can't be stored, whole, with why (schemas/README.md, "Dead letters").

- Key, value and headers of the original are carried on byte for byte, so that a replay publishes
  them again. Only a record that no topic would take, or that can't be had, is replaced by a
  reference (`consumer.contract.reference`).
- Two families of headers are added: Kafka Connect's ``__connect.errors.*`` for existing tools, and
  ``dlq.*`` for what Connect lacks. Each is there once: an older one of the same name is replaced.
- A header whose value is unknown is left out.
- No secret, response body, local variable or document text is in a header. All that can be long is
  capped, because the topic takes only 64 KiB more than the input topic.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson

from consumer.contract.reference import Reference, encode_reference
from consumer.contract.upload_result import one_line
from consumer.model import origin as of
from consumer.model.names import Identity, Slug, TraceId
from consumer.model.outcome import FailureReason
from consumer.model.record import Headers, Record

CONNECTOR = "anythingllm-consumer"
MAX_MESSAGE_CHARACTERS = 1_000
MAX_STACKTRACE_BYTES = 8_192
MAX_CHUNK_ID_BYTES = 8_192
MAX_IDENTITY_BYTES = 16_384
# What a by-reference dead letter still carries of key and original headers, each in bytes.
MAX_KEPT_BYTES = 16_384

CLASS_NAME = "__connect.errors.class.name"
CONNECTOR_NAME = "__connect.errors.connector.name"
TASK_ID = "__connect.errors.task.id"
STAGE = "__connect.errors.stage"
EXCEPTION_CLASS = "__connect.errors.exception.class.name"
EXCEPTION_MESSAGE = "__connect.errors.exception.message"
EXCEPTION_STACKTRACE = "__connect.errors.exception.stacktrace"
REASON = "dlq.reason"
GROUP = "dlq.group"
IDENTITY = "dlq.identity"
DOCUMENT_ID = "dlq.document-id"
WORKSPACE = "dlq.workspace"
ATTEMPTS = "dlq.attempts"
FAILED_CHUNKS = "dlq.failed-chunks"
HTTP_STATUS = "dlq.http-status"
LAST_FAILED_AT = "dlq.last-failed-at"
TRACE_ID = "dlq.trace-id"
TRACEPARENT = "dlq.traceparent"  # set where the letter is published, and only if that is traced

ADDED_HEADERS = (
    of.TOPIC, of.PARTITION, of.OFFSET, CONNECTOR_NAME, TASK_ID, STAGE, CLASS_NAME,
    EXCEPTION_CLASS, EXCEPTION_MESSAGE, EXCEPTION_STACKTRACE,
    REASON, GROUP, IDENTITY, DOCUMENT_ID, WORKSPACE, ATTEMPTS, FAILED_CHUNKS, HTTP_STATUS,
    of.FIRST_FAILED_AT, LAST_FAILED_AT, of.TIMESTAMP, of.EVENT_ID, TRACE_ID, TRACEPARENT,
    of.REPLAYS,
)  # fmt: skip
# Also stripped: what a replayed record carries beside them.
_ADDED = frozenset((*ADDED_HEADERS, of.RUN, of.LETTER, of.REPACK, of.REBUILD))


@dataclass(frozen=True, slots=True)
class Cause:
    """Why an event became a dead letter.

    Args:
        reason: the contract's word for it.
        message: one line for a person.
        stage: the station that gave up: ``poll``, ``decode``, ``plan``, ``upload`` or ``remove``.
        class_name: the part of the code that gave up.
        exception: by `qualified`, where there was one.
        stacktrace: by `stacktrace_of`, where there was an exception.
        attempts: how often the most tried chunk was tried.
        failed_chunks: ids of the chunks that are not stored.
        http_status: of the last answer, where there was one.
    """

    reason: FailureReason
    message: str
    stage: str
    class_name: str
    exception: str | None = None
    stacktrace: str | None = None
    attempts: int = 0
    failed_chunks: tuple[str, ...] = ()
    http_status: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One dead letter.

    Args:
        record: the record as it came, or a reference to it.
        origin: the original record; the record itself unless it was replayed.
        event_id: of the event's result.
        trace_id: 32 hex characters.
        group: the consumer group.
        task: names this instance.
        failed_at: aware; now. The time of the first failure is kept through replays.
        identity: where known.
        document_id: where readable.
        workspace: its slug, where known.
    """

    record: Record | Reference
    origin: of.Origin
    cause: Cause
    event_id: str
    trace_id: TraceId
    group: str
    task: str
    failed_at: datetime
    identity: Identity | None = None
    document_id: str | None = None
    workspace: Slug | None = None

    @property
    def key(self) -> bytes | None:
        """The original key; with a reference only where it is small."""
        key = self.record.key
        if isinstance(self.record, Reference) and key is not None and len(key) > MAX_KEPT_BYTES:
            return None
        return key

    @property
    def value(self) -> bytes | None:
        """The original value, or the reference's JSON; None for a tombstone."""
        if isinstance(self.record, Reference):
            return encode_reference(self.record, headers_kept=self._keeps_headers)
        return self.record.value

    @property
    def headers(self) -> Headers:
        """The original headers without older ones of ours, then ours."""
        original = restored(self.record.headers) if self._keeps_headers else ()
        added = self._places() | self._causes() | self._facts()
        return original + tuple(
            (name, added[name].encode("utf-8", "backslashreplace"))
            for name in ADDED_HEADERS
            if added.get(name) is not None
        )

    @property
    def size(self) -> int:
        """Bytes of key, value and headers together."""
        return len(self.key or b"") + len(self.value or b"") + _size(self.headers)

    @property
    def _keeps_headers(self) -> bool:
        if not isinstance(self.record, Reference):
            return True
        return _size(restored(self.record.headers)) <= MAX_KEPT_BYTES

    def _places(self) -> dict[str, str]:
        at = self.origin.at
        return {
            of.TOPIC: at.topic,
            of.PARTITION: str(at.partition),
            of.OFFSET: str(at.offset),
            of.TIMESTAMP: str(self.origin.timestamp_ms),
            of.REPLAYS: str(self.origin.replays),
            # The id of the event's first result: it is set once and kept through replays.
            of.EVENT_ID: self.origin.event_id or self.event_id,
            of.FIRST_FAILED_AT: rfc3339(self.origin.first_failed_at or self.failed_at),
            LAST_FAILED_AT: rfc3339(self.failed_at),
        }

    def _causes(self) -> dict[str, str]:
        cause = self.cause
        found = {
            REASON: cause.reason.value,
            STAGE: cause.stage,
            CLASS_NAME: cause.class_name,
            EXCEPTION_CLASS: cause.exception,
            EXCEPTION_MESSAGE: one_line(cause.message, MAX_MESSAGE_CHARACTERS),
            EXCEPTION_STACKTRACE: _cut(cause.stacktrace, MAX_STACKTRACE_BYTES),
            ATTEMPTS: str(cause.attempts),
            FAILED_CHUNKS: _chunk_ids(cause.failed_chunks) if cause.failed_chunks else None,
            HTTP_STATUS: None if cause.http_status is None else str(cause.http_status),
        }
        return {name: value for name, value in found.items() if value is not None}

    def _facts(self) -> dict[str, str]:
        identity = self.identity
        if identity is not None and len(identity.encode()) > MAX_IDENTITY_BYTES:
            identity = None  # Half an identity would name another document.
        found = {
            CONNECTOR_NAME: CONNECTOR,
            TASK_ID: self.task,
            GROUP: self.group,
            TRACE_ID: self.trace_id,
            IDENTITY: identity,
            DOCUMENT_ID: self.document_id,
            WORKSPACE: self.workspace,
        }
        return {name: value for name, value in found.items() if value is not None}


def restored(headers: Headers) -> Headers:
    """The original headers of a dead letter: what replay publishes again."""
    return tuple((name, value) for name, value in headers if name not in _ADDED)


def published_again(
    headers: Headers, origin: of.Origin, added: Mapping[str, str | None]
) -> Headers:
    """The headers with which an event goes to the replay topic: its own, its place, and more.

    Without its place it would be a new event, newer than everything.

    Args:
        headers: of the event's record, or of its dead letter.
        origin: where the event first came from.
        added: more of ours, by name; None is left out.
    """
    place = {
        of.TOPIC: origin.at.topic,
        of.PARTITION: str(origin.at.partition),
        of.OFFSET: str(origin.at.offset),
        of.TIMESTAMP: str(origin.timestamp_ms),
    }
    told = (*place.items(), *added.items())
    ours = tuple((name, text.encode()) for name, text in told if text is not None)
    return restored(headers) + ours


def stacktrace_of(error: BaseException) -> str:
    """Where an exception was raised: classes, files, lines and functions, for it and its causes.

    It has no messages, source lines or local variables: foreign exceptions quote what they were
    given, which here is document text or the body of an answer.
    """
    lines: list[str] = []
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        lines.append(qualified(current))
        walked = traceback.walk_tb(current.__traceback__)
        lines += [f"  at {_frame(frame.f_code.co_filename, function=frame.f_code.co_name)}:{line}"
                  for frame, line in walked]  # fmt: skip
        hidden = current.__suppress_context__
        current = current.__cause__ or (None if hidden else current.__context__)
    return _cut("\n".join(lines), MAX_STACKTRACE_BYTES) or ""


def qualified(error: BaseException) -> str:
    """An exception's class with its module."""
    return f"{type(error).__module__}.{type(error).__qualname__}"


def _frame(path: str, *, function: str) -> str:
    # The last three parts: enough to find the file, nothing about the machine.
    return "/".join(path.replace("\\", "/").split("/")[-3:]) + f" {function}"


def _chunk_ids(chunk_ids: tuple[str, ...]) -> str:
    kept: list[str] = []
    size = 0
    for chunk_id in chunk_ids:
        size += len(orjson.dumps(chunk_id)) + 1
        if size > MAX_CHUNK_ID_BYTES:
            break
        kept.append(chunk_id)
    return orjson.dumps({"count": len(chunk_ids), "ids": kept}).decode()


def _cut(text: str | None, max_bytes: int) -> str | None:
    if text is None or len(text.encode("utf-8", "backslashreplace")) <= max_bytes:
        return text
    encoded = text.encode("utf-8", "backslashreplace")[: max_bytes - 4]
    return encoded.decode("utf-8", "ignore") + "\n..."


def _size(headers: Iterable[tuple[str, bytes]]) -> int:
    return sum(len(name.encode()) + len(value or b"") for name, value in headers)


def rfc3339(instant: datetime) -> str:
    """An aware instant as all our headers write it: UTC, with a Z."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
