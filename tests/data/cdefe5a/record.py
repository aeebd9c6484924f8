"""Fills in what commit cdefe5a writes and reads for the inputs in these files (see README.md).

Runs on the code of that commit, whose names are used here; nothing of the present `consumer` is
imported.
"""

# ruff: noqa: E402, I001 - imports follow the path they need; ruff does not know that house

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import chdir
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[2]

if __name__ == "__main__":
    _parser = argparse.ArgumentParser(description=__doc__)
    _parser.add_argument("code", type=Path, help="where that commit's files are")
    _parser.add_argument("files", nargs="*", help="which to fill in; without any all of them")
    _parser.add_argument("--folder", type=Path, default=HERE, help="where these files are")
    ARGUMENTS = _parser.parse_args()
    # Its packages come before anything that is installed or stands beside this program.
    sys.path[:1] = [str(ARGUMENTS.code.resolve()), str(REPOSITORY)]

from consumer.anythingllm.form import upload_body
from consumer.cli.common import ExitCode
from consumer.model.dead_letter import (
    Cause,
    DeadLetter,
    Reference,
    qualified,
    reference_to,
    restored,
    stacktrace_of,
)
from consumer.model.delivery import Coordinates, Record, Unreadable
from consumer.model.exported import decode_exported, encode_exported
from consumer.model.fault import Fault
from consumer.model.identity import IdentityTemplate
from consumer.model.letter import Letter, letter_of
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
from consumer.model.received import ReceivedResult, read_result
from consumer.model.replay import replay_of
from consumer.model.replay_run import (
    Commit,
    Progress,
    Run,
    RunFile,
    commits_of,
    is_run_id,
    run_id,
    run_in,
)
from consumer.model.routing import Routing
from consumer.model.schemas import files as schema_files
from consumer.model.selection import Selection
from consumer.model.standing import replayed_of
from consumer.model.version import DocumentVersion, version_of
from consumer.operations.replay_runs import lock_group, run_prefix
from consumer.pipeline.decode import DecodeLimits, decode
from consumer.pipeline.read import Reader
from consumer.pipeline.settle import Address, Settler, TooLarge
from consumer.sandbox.kafka import choose_kafka
from consumer.settings import SettingsError, load_settings
from consumer.settings.names import NAMES
from consumer.settings.table import TABLE
from consumer.telemetry.events import EVENTS
from consumer.telemetry.metrics import Metrics
from consumer.wiring import topic_specs

from tests.commands import Commands
from tests.compatibility import forms, interface, printed, takeover
from tests.compatibility.forms import (
    Json,
    Sent,
    bytes_in,
    form_of,
    headers_in,
    in_short,
    written_out,
)


def main(path: Path) -> None:
    """Fill in one file."""
    content = orjson.loads(path.read_bytes())
    FILLED[path.name](content)
    path.write_bytes(forms.laid_out(content))


# -- values ----------------------------------------------------------------------------------------


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _at(place: Json) -> Coordinates:
    return Coordinates(place["topic"], place["partition"], place["offset"])


def _record(given: Json) -> Record:
    why = given.get("unreadable")
    return Record(
        _at(given),
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
            return Superseded(given["slug"], _version(given["version"]))
        case "deleted":
            return Deleted(given["slug"], given["removed"])
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


# -- markers.json ----------------------------------------------------------------------------------


def _fill_markers(content: Json) -> None:
    for case in content["cases"]:
        given = written_out(case["given"])
        record = _record(given["record"])
        document = decode(orjson.dumps(given["event"]), DecodeLimits())
        version, _ = version_of(document, record, is_replay=given["is_replay"])
        units = [
            unit_of(tuple(document.chunks[n] for n in numbers), document, version)
            for numbers in given["units"]
        ]
        bodies = [upload_body(given["slug"], unit, unit.marker.encode()) for unit in units]
        case["written"] = [in_short(body) for body in bodies]
        markers = [decode_marker(body["metadata"]["docSource"]) for body in bodies]
        case["read"] = [in_short(_marker(marker)) for marker in markers]
    for case in content["found"]:
        case["read"] = _marker(decode_marker(written_out(case["given"])))


def _marker(marker: Marker | None) -> Json | None:
    if marker is None:
        return None
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


# -- settled.json: what the settle station publishes -----------------------------------------------


def _fill_settled(content: Json) -> None:
    for case in content["cases"]:
        given = written_out(case["given"])
        sent = asyncio.run(_settle(given, content["address"]))
        case["written"] = [each.form() for each in sent]
        case["read"] = [_read_back(each, given["completed_at"]) for each in sent]


async def _settle(given: Json, address: Json) -> list[Sent]:
    refusing = list(given.get("refused_by", ()))
    sent: list[Sent] = []

    async def publish(topic: str, key: bytes | None, value: bytes | None, headers: Any) -> None:
        if topic in refusing:
            refusing.remove(topic)
            raise TooLarge("too large for its topic")
        sent.append(Sent(topic, key, value, headers))

    reader = Reader(
        limits=DecodeLimits(**given.get("limits", {})),
        identity=IdentityTemplate.parse(given.get("identity", "{id}")),
        routing=_routing(given.get("routing", {})),
        replay_topic=address["replay"],
        metrics=Metrics(),
        now=lambda: datetime.fromisoformat(given["received_at"]),
    )
    event = reader.read(_record(given["record"]))
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


def _routing(given: Json) -> Routing:
    allowed = tuple(given.get("allowed", ("*",)))
    return Routing(given.get("workspace", "{technology}"), given.get("map", {}), allowed)


def _read_back(sent: Sent, written_at: str) -> Json:
    """As the topics' readers see it."""
    if not any(name == "dlq.reason" for name, _ in sent.headers):
        return _result(read_result(sent.value or b""))
    stamp = int(datetime.fromisoformat(written_at).timestamp() * 1000)
    at = Coordinates(sent.topic, 2, 7)
    return _letter_read(Record(at, stamp, sent.key, sent.value, sent.headers))


def _result(result: ReceivedResult) -> Json:
    return in_short(result.model_dump(mode="json"))  # type: ignore[no-any-return]


def _letter_read(record: Record) -> Json:
    """A letter as it is read, the line that exports it, and its original's headers."""
    line = encode_exported(record)
    assert decode_exported(line) == record
    return {
        "letter": _letter(letter_of(record)),
        "exported": forms.digest(line),
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


# -- dead_letters.json: letters with any cause, and those of others --------------------------------


def _fill_dead_letters(content: Json) -> None:
    for case in content["cases"]:
        given = written_out(case["given"])
        letter = _dead_letter(given)
        sent = Sent("documents.processed.dlq", letter.key, letter.value, letter.headers)
        case["written"] = {**sent.form(), "size": letter.size}
        case["read"] = _read_back(sent, given["failed_at"])
    for case in content["found"]:
        case["read"] = _letter_read(_record(written_out(case["given"])))


def _dead_letter(given: Json) -> DeadLetter:
    original = _record(given["record"])
    record: Record | Reference = original
    if given.get("as") == "reference":
        record = reference_to(original)
    if given.get("as") == "place":
        record = Reference(original.at)
    return DeadLetter(
        record=record,
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


# -- runs.json -------------------------------------------------------------------------------------


def _fill_runs(content: Json) -> None:
    for case in content["runs"]:
        given = written_out(case["given"])
        run, progress = _run(given["run"]), _progress(given["progress"])
        commits = commits_of(run, progress, everything=given["everything"])
        case["written"] = [[t, n, each.offset, each.text] for (t, n), each in commits.items()]
        case["read"] = None
        if given["everything"]:
            case["read"] = _run_read(run_in({at: Commit(o.offset, o.text)
                                             for at, o in commits.items()}))  # fmt: skip
    for case in content["replays"]:
        given = written_out(case["given"])
        letter = letter_of(_record(given["letter"]))
        replay = replay_of(letter, _record(given.get("original", given["letter"])), given["run"])
        topic = "documents.processed.replay"
        sent = Sent(topic, replay.key, replay.value, replay.headers)
        case["written"] = {**sent.form(), "partition": replay.partition}
        record = Record(Coordinates(topic, 1, 3), 9, replay.key, replay.value, replay.headers)
        case["read"] = _replayed_read(record)
    content["ids"] = {
        "id": run_id(datetime.fromisoformat("2026-11-22T10:00:00+00:00"), 0xBEE),
        "is_run_id": {text: is_run_id(text) for text in content["ids"]["is_run_id"]},
    }
    settings = load_settings({"ANYTHINGLLM_API_KEY": "k", "KAFKA_GROUP_ID": "a group"})
    content["groups"] = {"of_runs": run_prefix(settings), "lock": lock_group(settings)}


def _run(given: Json) -> Run:
    more = {**given}
    started_at = datetime.fromisoformat(more.pop("started_at"))
    selection = more.pop("selection", {})
    found: dict[str, Any] = {
        name: frozenset(value) if isinstance(value, list) else value
        for name, value in selection.items()
    }
    for name in ("since", "until"):
        if name in found:
            found[name] = datetime.fromisoformat(found[name])
    return Run(
        started_at=started_at,
        ends=dict(enumerate(more.pop("ends"))),
        replay_ends=dict(enumerate(more.pop("replay_ends"))),
        selection=Selection(**found),
        file=RunFile(**more.pop("file")) if "file" in more else None,
        **more,
    )


def _progress(given: Json) -> Progress:
    return Progress(**{**given, "next": dict(enumerate(given.get("next", [])))})


def _run_read(found: tuple[Run, Progress]) -> Json:
    run, progress = found
    selection = {
        each.name: sorted(value) if isinstance(value, frozenset) else value
        for each in fields(Selection)
        if (value := getattr(run.selection, each.name)) not in (None, frozenset())
    }
    return {
        "id": run.id,
        "started_at": _text(run.started_at),
        "operator": run.operator,
        "source": run.source,
        "ends": sorted(run.ends.items()),
        "replay_topic": run.replay_topic,
        "replay_ends": sorted(run.replay_ends.items()),
        "selection": {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in selection.items()
        },
        "from_parked": run.from_parked,
        "force": run.force,
        "despite_missing_results": run.despite_missing_results,
        "rate": run.rate,
        "selected": run.selected,
        "file": run.file and [run.file.path, run.file.sha256],
        "next": sorted(progress.next.items()),
        "published": progress.published,
        "parked": progress.parked,
        "skipped": dict(progress.skipped),
        "done": progress.done,
    }


def _replayed_read(record: Record) -> Json:
    replayed = replayed_of(record)
    return {
        "origin": _origin(origin_of(record, is_replay=True)),
        "run": replayed and replayed.run,
        "letter": replayed and replayed.letter,
        "original": replayed and str(replayed.original),
        "headers": [[name, form_of(value)] for name, value in restored(record.headers)],
    }


# -- settings.json and names.json ------------------------------------------------------------------


def _fill_settings(content: Json) -> None:
    content["table"] = [
        {
            "name": row.name,
            "file": f"[{row.group}] {row.key}",
            "default": row.spec.default,
            "required": row.spec.required,
            "allowed": row.spec.kind.allowed,
            "secret": row.spec.kind.secret,
        }
        for row in TABLE.values()
    ]
    content["environment"] = sorted(NAMES)
    with chdir(HERE):
        content["of_file"] = _values(load_settings({}, HERE / "settings.toml"))
    for case in content["problems"]:
        try:
            load_settings(case["environment"])
        except SettingsError as error:
            case["told"] = str(error)
        else:
            raise AssertionError(f"nothing is wrong with {case['environment']}")


def _values(settings: Any) -> Json:
    values = {
        row.name: _plain(getattr(getattr(settings, row.group), row.key)) for row in TABLE.values()
    }
    return {**values, "ROUTING_MAP": dict(settings.routing.map)}


def _plain(value: Any) -> Any:
    if hasattr(value, "get_secret_value"):
        return value.get_secret_value()
    if isinstance(value, IdentityTemplate):
        return value.text
    return str(value) if isinstance(value, Path) else value


def _fill_names(content: Json) -> None:
    settings = load_settings({"ANYTHINGLLM_API_KEY": "k"})
    content["exit_codes"] = {code.name: int(code) for code in ExitCode}
    content["log_events"] = sorted(EVENTS)
    content["metrics"] = interface.metrics_of(Metrics().registry)
    content["schemas"] = {name: forms.digest(text) for name, text in schema_files().items()}
    content["topics"] = [
        {
            "name": spec.name,
            "purpose": spec.purpose,
            "partitions": spec.partitions,
            "settings": dict(spec.settings),
        }
        for spec in topic_specs(settings)
    ]
    with tempfile.TemporaryDirectory() as folder:
        content["help"] = interface.help_of(content["help"], Path(folder))


# -- workspace.json and printed.json ---------------------------------------------------------------


def _fill_workspace(content: Json) -> None:
    content["beside"] = [*_units(takeover.packed(), 50, 3), *_units(takeover.ahead(), 5_000, 1)]
    content["filled"] = takeover.fill()
    state = [*content["filled"]["state"], {"workspace": None, "uploads": content["beside"]}]
    content["taken_over"] = takeover.take_over(state)


def _units(event: Json, offset: int, chunks: int) -> list[Json]:
    """Uploads of a document whose record lies there, so many chunks in a unit."""
    document = decode(orjson.dumps(event), DecodeLimits())
    at = Coordinates("documents.processed", 0, offset)
    version, _ = version_of(document, Record(at, 1_795_000_000_000, None, None))
    starts = range(0, len(document.chunks), chunks)
    units = [unit_of(document.chunks[n : n + chunks], document, version) for n in starts]
    return [upload_body("docs", unit, unit.marker.encode()) for unit in units]


def _fill_printed(content: Json) -> None:
    story = takeover.story()
    cases = orjson.loads((HERE / "settled.json").read_bytes())["cases"]
    others = orjson.loads((HERE / "dead_letters.json").read_bytes())["found"]
    content["records"] = [
        *({**event, "partition": 0} for event in story["events"]),
        *(_of_story(each) for each in story["published"]),
        *({"case": case["name"], "sent": None} for case in cases),
        *({"case": case["name"], "sent": n} for case in cases
          for n, each in enumerate(case["written"])
          if forms.is_whole(each) and (each["key"], each["value"]) != (None, None)),
        *(_of_others(case["given"]) for case in others if case["name"] in _OTHERS),
    ]  # fmt: skip
    content["records"] += list(_aside(content["records"]))
    runs = orjson.loads((HERE / "runs.json").read_bytes())["runs"]
    content["committed"] = {
        "anythingllm-consumer": [
            ["documents.processed", 0, len(story["events"]) - 1, ""],
            [
                "documents.processed",
                2,
                _events(cases) - 1,
                "",
            ],
            ["documents.processed.replay", 1, 3, ""],
        ],
        "anythingllm-consumer-replay-20261122-100000-0bee": _written(runs, "half-way"),
    }
    workspace = orjson.loads((HERE / "workspace.json").read_bytes())
    content["state"] = [*story["state"], {"workspace": None, "uploads": workspace["beside"]}]
    content["commands"] = asyncio.run(_print(content))


_OTHERS = ("without any header", "numbers that are none", "bytes that are no text")


def _of_story(sent: Json) -> Json:
    """What a life published; its task names the machine it was recorded on."""
    value = orjson.loads(sent["value"]) if sent["topic"].endswith("results") else {}
    headers = dict(sent["headers"])
    at = value.get("completed_at") or headers["dlq.last-failed-at"]
    return {
        **sent,
        "headers": [[n, "host-1" if n == "__connect.errors.task.id" else v]
                    for n, v in sent["headers"]],
        "partition": 0,
        "timestamp_ms": int(datetime.fromisoformat(at).timestamp() * 1000),
    }  # fmt: skip


def _events(cases: list[Json]) -> int:
    """How many of them are about a record of the documents topic."""
    return sum(c["given"]["record"]["topic"] == "documents.processed" for c in cases)


def _of_others(given: Json) -> Json:
    return {
        **{name: given[name] for name in ("topic", "key", "value", "headers", "timestamp_ms")},
        "partition": 1,
    }


def _aside(records: list[Json]) -> Iterator[Json]:
    """Two letters of the first partition are parked, and one is replayed."""
    letters = [r for r in records if r.get("topic") == "documents.processed.dlq"
               and not r["partition"]]  # fmt: skip
    by_reason = {dict(each["headers"])["dlq.reason"]: each for each in letters}
    yield {**by_reason["undecodable"], "topic": "documents.processed.parked"}
    yield {**by_reason["rejected"], "topic": "documents.processed.parked"}
    invalid = by_reason["invalid"]
    letter = _record({**invalid, "offset": letters.index(invalid)})
    replay = replay_of(letter_of(letter), letter, "20261122-100000-0bee")
    topic = "documents.processed.replay"
    sent = Sent(topic, replay.key, replay.value, replay.headers)
    yield {**sent.form(), "partition": 0, "timestamp_ms": invalid["timestamp_ms"]}


def _written(cases: list[Json], name: str) -> Any:
    (found,) = [case["written"] for case in cases if case["name"] == name]
    return found


async def _print(content: Json) -> list[Json]:
    broker = await choose_kafka()
    await broker.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            names = printed.Names("0000000000")
            commands = Commands(Path(folder))
            return await printed.printed(content, commands, broker.bootstrap_servers, names, HERE)
    finally:
        await broker.close()


FILLED: dict[str, Callable[[Json], None]] = {
    "markers.json": _fill_markers,
    "settled.json": _fill_settled,
    "dead_letters.json": _fill_dead_letters,
    "runs.json": _fill_runs,
    "settings.json": _fill_settings,
    "names.json": _fill_names,
    "workspace.json": _fill_workspace,
    "printed.json": _fill_printed,
}

if __name__ == "__main__":
    for name in ARGUMENTS.files or FILLED:
        main(ARGUMENTS.folder / name)
