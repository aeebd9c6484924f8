"""What the present code writes for a recorded input, and reads of what it wrote.

Each function takes a case of a recorded file and gives its ``written`` and ``read`` anew; the
program that recorded them (tests/data/cdefe5a/record.py) does the same with the code of then.
"""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
from pydantic import SecretStr

from consumer.anythingllm.upload_body import upload_body
from consumer.contract.dead_letter import Cause, DeadLetter, qualified, restored, stacktrace_of
from consumer.contract.exported_letter import decode_exported, encode_exported
from consumer.contract.received_letter import Letter, letter_of
from consumer.contract.received_result import read_result
from consumer.contract.reference import Reference, reference_to
from consumer.model.fault import Fault
from consumer.model.identity import IdentityTemplate
from consumer.model.marker import Marker, decode_marker, unit_of
from consumer.model.origin import Origin, origin_of
from consumer.model.outcome import (
    Applied,
    Deleted,
    FailedChunk,
    FailureReason,
    Outcome,
    Refused,
    Superseded,
)
from consumer.model.record import Coordinates, Record, Unreadable
from consumer.model.routing import Routing
from consumer.model.version import DocumentVersion, version_of
from consumer.operations.letters.selection import Selection
from consumer.operations.letters.standing import replayed_of
from consumer.operations.replay.run import (
    Commit,
    ReplayRun,
    RunFile,
    RunProgress,
    commits_of,
    run_in,
)
from consumer.operations.replay.verdict import replay_of
from consumer.pipeline.decode import DecodeLimits, decode
from consumer.pipeline.ports import TooLarge
from consumer.pipeline.read import Reader
from consumer.pipeline.settle import Address, Settler
from consumer.settings import Settings
from consumer.settings.table import TABLE
from consumer.telemetry.metrics import Metrics
from tests.compatibility import since
from tests.compatibility.forms import (
    Json,
    Pairs,
    Sent,
    bytes_in,
    digest,
    form_of,
    headers_in,
    in_short,
)

DEAD_LETTERS = "documents.processed.dlq"
REPLAYS = "documents.processed.replay"


# -- values ----------------------------------------------------------------------------------------


def record_in(given: Json) -> Record:
    """A record as the files have it."""
    why = given.get("unreadable")
    return Record(
        Coordinates(given["topic"], given["partition"], given["offset"]),
        given["timestamp_ms"],
        bytes_in(given.get("key")),
        bytes_in(given.get("value")),
        headers_in(given.get("headers", [])),
        Unreadable(FailureReason(why["reason"]), why["problem"]) if why else None,
    )


def _version(given: Json) -> DocumentVersion:
    instant = datetime.fromisoformat(given["instant"])
    return DocumentVersion(instant, given.get("partition"), given.get("offset"))


def _outcome(given: Json) -> Outcome:
    match given["kind"]:
        case "applied":
            return Applied(
                slug=given["slug"],
                version=_version(given["version"]),
                uploaded=tuple(given.get("uploaded", ())),
                unchanged=tuple(given.get("unchanged", ())),
                failed=tuple(map(_failed, given.get("failed", ()))),
                removed_chunks=given.get("removed", 0),
            )
        case "superseded":
            return Superseded(slug=given["slug"], version=_version(given["version"]))
        case "deleted":
            return Deleted(slug=given["slug"], removed_chunks=given["removed"])
    raise ValueError(given["kind"])


def _failed(given: Json) -> FailedChunk:
    return FailedChunk(
        chunk_id=given["chunk_id"],
        reason=FailureReason(given["reason"]),
        message=given["message"],
        http_status=given.get("http_status"),
        attempts=given["attempts"],
        fault=Fault(given["fault"]),
    )


# -- markers ---------------------------------------------------------------------------------------


def marked(given: Json) -> Json:
    """What is uploaded for the units of a document, and the markers in it."""
    document = decode(orjson.dumps(given["event"]), DecodeLimits())
    version, _ = version_of(document, record_in(given["record"]), is_replay=given["is_replay"])
    units = [
        unit_of(tuple(document.chunks[n] for n in numbers), document, version)
        for numbers in given["units"]
    ]
    bodies = [upload_body(given["slug"], unit, unit.marker.encode()) for unit in units]
    for body in bodies:
        body["textContent"] = since.text_of_pack(body["textContent"])
    return {
        "written": in_short_each(bodies),
        "read": in_short_each([marker_read(body["metadata"]["docSource"]) for body in bodies]),
    }


def in_short_each(nodes: list[Any]) -> list[Any]:
    """Each of them with digests in the place of what is long."""
    return [in_short(node) for node in nodes]


def marker_read(doc_source: str) -> Json | None:
    """The marker in a ``docSource``."""
    marker = decode_marker(doc_source)
    return None if marker is None else _marker(marker)


def _marker(marker: Marker) -> Json:
    return {
        "document_id": marker.document_id,
        "source_url": marker.source_url,
        "technology": marker.technology,
        "total_chunks": marker.total_chunks,
        "instant": marker.version.instant.isoformat(),
        "partition": marker.version.partition,
        "offset": marker.version.offset,
        "chunks": [[c.id, c.index, c.digest, c.sha256] for c in marker.chunks],
    }


# -- the settle station ----------------------------------------------------------------------------


async def settled(given: Json, address: Json) -> Json:
    """What is published for an event and its outcome, and what readers make of it."""
    sent = await _sent(given, address)
    return {
        "written": [each.form() for each in sent],
        "read": [_read_back(each, given["completed_at"]) for each in sent],
    }


async def _sent(given: Json, address: Json) -> list[Sent]:
    refusing = list(given.get("refused_by", ()))
    sent: list[Sent] = []

    async def publish(topic: str, key: bytes | None, value: bytes | None, headers: Pairs) -> None:
        if topic in refusing:
            refusing.remove(topic)
            raise TooLarge("too large for its topic")
        sent.append(Sent(topic, key, since.without_reason(value), headers))

    routing = given.get("routing", {})
    reader = Reader(
        limits=DecodeLimits(**given.get("limits", {})),
        identity=IdentityTemplate.parse(given.get("identity", "{id}")),
        routing=Routing(
            workspace_template=routing.get("workspace", "{technology}"),
            allowed=tuple(routing.get("allowed", ("*",))),
        ),
        replay_topic=address["replay"],
        metrics=Metrics(),
        now=lambda: datetime.fromisoformat(given["received_at"]),
    )
    event = reader.read(record_in(given["record"]))
    refused = event.body if isinstance(event.body, Refused) else None
    outcome = refused or _outcome(given["outcome"])
    settler = Settler(
        publish,
        Address(**address),
        metrics=Metrics(),
        now=lambda: datetime.fromisoformat(given["completed_at"]),
    )
    await settler.settle(event, outcome, seconds=1.0)
    return sent


def _read_back(sent: Sent, written_at: str) -> Json:
    if not any(name == "dlq.reason" for name, _ in sent.headers):
        read = read_result(sent.value or b"").model_dump(
            mode="json", exclude=set(since.ADDED_TO_RESULTS)
        )
        return in_short(read)  # type: ignore[no-any-return]
    stamp = int(datetime.fromisoformat(written_at).timestamp() * 1000)
    at = Coordinates(sent.topic, 2, 7)
    return letter_read(Record(at, stamp, sent.key, sent.value, sent.headers))


# -- dead letters ----------------------------------------------------------------------------------


def dead_lettered(given: Json) -> Json:
    """A dead letter of any cause, and what its readers make of it."""
    original = record_in(given["record"])
    kinds: dict[str | None, Record | Reference] = {
        None: original,
        "reference": reference_to(original),
        "place": Reference(original.at),
    }
    letter = DeadLetter(
        record=kinds[given.get("as")],
        origin=origin_of(original, is_replay=given.get("is_replay", False)),
        cause=_cause(given["cause"]),
        event_id=given["event_id"],
        trace_id=given["trace_id"],
        group="anythingllm-consumer",
        task="host-1",
        failed_at=datetime.fromisoformat(given["failed_at"]),
        identity=given.get("identity"),
        document_id=given.get("document_id"),
        workspace=given.get("workspace"),
    )
    sent = Sent(DEAD_LETTERS, letter.key, letter.value, letter.headers)
    return {
        "written": {**sent.form(), "size": letter.size},
        "read": _read_back(sent, given["failed_at"]),
    }


def _cause(given: Json) -> Cause:
    exception, stacktrace = given.get("exception"), given.get("stacktrace")
    if "raised_by" in given:
        exception, stacktrace = _raised(given["raised_by"])
    return Cause(
        reason=FailureReason(given["reason"]),
        message=given["message"],
        stage=given["stage"],
        class_name=given["class_name"],
        exception=exception,
        stacktrace=stacktrace,
        attempts=given.get("attempts", 0),
        failed_chunks=tuple(given.get("failed_chunks", ())),
        http_status=given.get("http_status"),
    )


def _raised(source: str) -> tuple[str, str]:
    """Class and places of the exception that a program ends with, without our own frame."""
    try:
        exec(compile(source, "/somewhere/on/a/machine/consumer/station.py", "exec"), {})  # noqa: S102
    except Exception as error:
        ours = error.__traceback__
        shown = stacktrace_of(error.with_traceback(ours.tb_next if ours else None))
        return qualified(error), shown
    raise AssertionError("it raises nothing")


def letter_read(record: Record) -> Json:
    """A letter as it is read, the line that exports it, and its original's headers."""
    line = encode_exported(record)
    assert decode_exported(line) == record
    return {
        "letter": _letter(letter_of(record)),
        "exported": digest(line),
        "restored": [[name, form_of(value)] for name, value in restored(record.headers)],
    }


def _letter(letter: Letter) -> Json:
    referred = letter.referred
    return {
        "event": letter.event,
        "is_ours": letter.is_ours,
        "origin": _origin(letter.origin),
        "event_id": letter.event_id,
        "reason": letter.reason,
        "message": letter.message,
        "stage": letter.stage,
        "identity": in_short(letter.identity),
        "document_id": in_short(letter.document_id),
        "workspace": letter.workspace,
        "technology": letter.technology,
        "attempts": letter.attempts,
        "failed_chunks": letter.failed_chunks,
        "failed_chunk_ids": in_short(list(letter.failed_chunk_ids)),
        "http_status": letter.http_status,
        "first_failed_at": _text(letter.first_failed_at),
        "last_failed_at": _text(letter.last_failed_at),
        "failed_at": _text(letter.failed_at),
        "trace_id": letter.trace_id,
        "group": letter.group,
        "by_reference": letter.by_reference,
        "size": letter.size,
        "referred": referred and [str(referred.at), referred.value_bytes, referred.value_sha256],
        "version": _text(letter.version),
        "tombstone": letter.tombstone,
        "digest": letter.digest,
    }


def _origin(origin: Origin) -> Json:
    return {
        "at": str(origin.at),
        "timestamp_ms": origin.timestamp_ms,
        "replays": origin.replays,
        "event_id": origin.event_id,
        "first_failed_at": _text(origin.first_failed_at),
    }


def _text(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat()


# -- replay runs -----------------------------------------------------------------------------------


def committed(given: Json) -> Json:
    """What a run commits, and the run in it."""
    run, progress = _run(given["run"]), _progress(given["progress"])
    commits = commits_of(run, progress, everything=given["everything"])
    written = [[topic, n, each.offset, each.text] for (topic, n), each in commits.items()]
    return {"written": written, "read": run_read(written) if given["everything"] else None}


def run_read(written: list[list[Any]]) -> Json:
    """The run in what a group has committed."""
    commits = {(topic, n): Commit(offset, text) for topic, n, offset, text in written}
    run, progress = run_in(commits)
    return {
        "id": run.id,
        "started_at": _text(run.started_at),
        "operator": run.operator,
        "source": run.source,
        "ends": _pairs(run.ends),
        "replay_topic": run.replay_topic,
        "replay_ends": _pairs(run.replay_ends),
        "selection": _selection(run.selection),
        "from_parked": run.from_parked,
        "force": run.force,
        "despite_missing_results": run.despite_missing_results,
        "rate": run.rate,
        "selected": run.selected,
        "file": run.file and [run.file.path, run.file.sha256],
        "next": _pairs(progress.next),
        "published": progress.published,
        "parked": progress.parked,
        "skipped": dict(progress.skipped),
        "done": progress.done,
    }


def _pairs(by_partition: Any) -> list[list[int]]:
    return [list(pair) for pair in sorted(by_partition.items())]


def _selection(selection: Selection) -> Json:
    """The conditions that are given."""
    found: Json = {}
    for each in fields(Selection):
        value = getattr(selection, each.name)
        if isinstance(value, frozenset):
            value = sorted(value) or None
        if isinstance(value, datetime):
            value = value.isoformat()
        if value is not None:
            found[each.name] = value
    return found


def _run(given: Json) -> ReplayRun:
    more = {**given}
    started_at = datetime.fromisoformat(more.pop("started_at"))
    selection: Json = {
        name: frozenset(value) if isinstance(value, list) else value
        for name, value in more.pop("selection", {}).items()
    }
    for name in {"since", "until"} & selection.keys():
        selection[name] = datetime.fromisoformat(selection[name])
    return ReplayRun(
        started_at=started_at,
        ends=dict(enumerate(more.pop("ends"))),
        replay_ends=dict(enumerate(more.pop("replay_ends"))),
        selection=Selection(**selection),
        file=RunFile(**more.pop("file")) if "file" in more else None,
        **more,
    )


def _progress(given: Json) -> RunProgress:
    return RunProgress(**{**given, "next": dict(enumerate(given.get("next", [])))})


def replayed(given: Json) -> Json:
    """A letter as it is replayed, and what the service makes of that record's headers."""
    letter = letter_of(record_in(given["letter"]))
    original = record_in(given["original"] if "original" in given else given["letter"])
    replay = replay_of(letter, original, given["run"])
    sent = Sent(REPLAYS, replay.key, replay.value, replay.headers)
    record = Record(Coordinates(REPLAYS, 1, 3), 9, replay.key, replay.value, replay.headers)
    found = replayed_of(record)
    return {
        "written": {**sent.form(), "partition": replay.partition},
        "read": {
            "origin": _origin(origin_of(record, is_replay=True)),
            "run": found and found.run,
            "letter": found and found.letter,
            "original": found and str(found.original),
            "headers": [[name, form_of(value)] for name, value in restored(record.headers)],
        },
    }


# -- settings --------------------------------------------------------------------------------------


def values_of(settings: Settings) -> Json:
    """Every setting by its name in the environment."""
    values = {
        row.name: _plain(getattr(getattr(settings, row.group), row.key)) for row in TABLE.values()
    }
    return {**values, "ROUTING_MAP": dict(settings.routing.map)}


def _plain(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, IdentityTemplate):
        return value.text
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Path) else value
