"""The commands as processes, and what a script in a pipe meets; on a real Kafka.

What they decide and say is proven in this process: `tests/operations`, `tests/unit/cli`.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import resource
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from consumer.kafka.publisher import OutgoingRecord, Publisher
from consumer.kafka.reader import read_topic
from consumer.kafka.topics import open_admin
from consumer.sandbox.samples import sample_documents, sample_events
from tests.e2e.support import (
    PATIENCE,
    Json,
    Programs,
    Stage,
    clean_environment,
    until,
    write_events,
)
from tests.staging import result

SUMMARY = {"valid", "invalid", "published", "dry_run"}
SENT = {"topic", "events"}


@pytest.fixture
def events(tmp_path: Path) -> Path:
    """A file of three valid events."""
    return write_events(tmp_path / "events.ndjson", sample_documents(3, shape="mixed"))


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A file of two valid events with two invalid ones between them."""
    first, second, broken = sample_documents(3)
    del broken["title"]
    lines: list[bytes | Json] = [first, broken, b"{nonsense", second]
    return write_events(tmp_path / "mixed.ndjson", lines)


async def keys(stage: Stage) -> list[tuple[str, bytes]]:
    """Key and value of every record of the documents topic, sorted."""
    topic = stage.settings["KAFKA_DOCUMENTS_TOPIC"]
    records = [record async for record in read_topic(stage.connection, topic)]
    return sorted(((r.key or b"").decode(), r.value or b"") for r in records)


# -- help ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("", ["demo", "run", "check", "publish", "results", "topics create", "Exit codes"]),
        (
            "run",
            ["SIGTERM", "SHUTDOWN_DRAIN_SECONDS", "--fail-fast", "ANYTHINGLLM_API_KEY", "/readyz"],
        ),
        ("publish", ["--dry-run", "--skip-invalid", "--delete", "--wait", "Example", "stdin"]),
        ("results", ["--follow", "--failed", "--trace", "--limit", "Example"]),
        ("demo", ["Maven", "Docker", "--kafka", "--anythingllm", "--keep"]),
    ],
)
async def test_help_is_quick_and_tells_what_is_needed(
    programs: Programs, words: str, told: list[str]
) -> None:
    """Read before anything is set up: no settings, no server, and within a second of computing."""
    for _ in range(3):  # neighbours on the same core cost time as well
        before = computed()
        ended = await programs.run(*words.split(), "--help", settings={"COLUMNS": "100"})
        if (seconds := computed() - before) < 1:
            break

    assert ended.code == 0
    assert ended.err == ""
    assert [word for word in told if word not in ended.out] == []
    assert seconds < 1


def computed() -> float:
    """Seconds of processor time of the processes that have ended: not of those beside them."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


# -- topics create, check --------------------------------------------------------------------------


async def test_topics_are_created_once(bare_stage: Stage) -> None:
    """The second time nothing changes; no API key is needed; `check` is content afterwards."""
    without_key = {"ANYTHINGLLM_API_KEY": ""}
    first = await bare_stage.program("topics", "create", "--json", settings=without_key)
    again = await bare_stage.command("topics", "create", "--json", settings=without_key)
    shown = await bare_stage.command("topics", "create", settings=without_key)
    checked = await bare_stage.program("check")
    async with open_admin(bare_stage.connection) as admin:
        names = [value for name, value in bare_stage.settings.items() if name.endswith("_TOPIC")]
        states = await admin.states(names)
        await admin.delete(names)

    assert sorted(first.json["created"]) == sorted(names)
    assert again.json == {"created": [], "existed": first.json["created"]}
    assert (first.code, again.code, shown.code) == (0, 0, 0)
    assert shown.out.count("exists already") == 5
    assert {state.partitions for state in states.values()} == {12}
    assert (checked.code, checked.err) == (0, ""), checked.out
    assert "WRONG" not in checked.out


async def test_topics_that_are_refused_are_all_named(bare_stage: Stage) -> None:
    """The first refusal is not the end; exit 1, and the names are there for scripts too."""
    create = ("topics", "create", "--replication-factor", "3")
    shown = await bare_stage.command(*create)
    told = await bare_stage.command(*create, "--json")

    assert (shown.code, told.code) == (1, 1)
    assert shown.out.count("REFUSED: InvalidReplicationFactor") == 5
    assert "5 topics could not be created" in shown.err
    assert len(told.json["refused"]) == 5


# -- publish ---------------------------------------------------------------------------------------


async def test_published_events_carry_their_identity(stage: Stage, tmp_path: Path) -> None:
    """The bytes are those of the file, the key is the identity; no API key is needed."""
    documents = sample_documents(5, shape="mixed")
    lines = [json.dumps(document, ensure_ascii=False).encode() for document in documents]
    path = write_events(tmp_path / "events.ndjson", lines)
    settings = {"ANYTHINGLLM_API_KEY": "", "DOCUMENT_IDENTITY": "{source_url}"}
    ended = await stage.program("publish", "--json", str(path), settings=settings)

    assert ended.code == 0
    assert ended.err == ""
    counted = {"valid": 5, "invalid": 0, "published": 5, "dry_run": False}
    assert {name: ended.json[name] for name in SUMMARY} == counted
    assert ended.json.keys() == SUMMARY | SENT
    assert await keys(stage) == sorted(
        (document["source_url"], line) for document, line in zip(documents, lines, strict=True)
    )


async def test_events_get_the_envelope_that_is_asked_for(stage: Stage, tmp_path: Path) -> None:
    """Value, key and headers, as the tools of others write them; else they stay as they are."""
    (line,) = sample_events(1)
    topic = stage.settings["KAFKA_DOCUMENTS_TOPIC"]
    events = write_events(tmp_path / "events.ndjson", [line])
    wrapped = ("--envelope", "cloudevents-structured", "--key-envelope", "connect")
    written = await stage.command("publish", "--json", *wrapped, str(events))
    records = [record async for record in read_topic(stage.connection, topic)]
    again = write_events(tmp_path / "again.ndjson", [record.value or b"" for record in records])
    kept = await stage.command("publish", "--json", str(again))
    records = [record async for record in read_topic(stage.connection, topic)]

    assert (written.json["published"], kept.json["published"]) == (1, 1)
    identity = json.loads(line)["id"]
    keys_there = sorted(record.key or b"" for record in records)
    payload = b'{"schema":{"type":"string","optional":false},"payload":"%b"}' % identity.encode()
    assert keys_there == sorted([identity.encode(), payload])
    assert {record.value for record in records} == {records[0].value}
    assert {record.headers for record in records} == {
        (("content-type", b"application/cloudevents+json"),)
    }
    assert line in (records[0].value or b"")


async def test_files_may_be_packed_and_come_through_a_pipe(
    stage: Stage, events: Path, tmp_path: Path
) -> None:
    """A .gz, standard input and a list in one JSON file, together or alone."""
    packed = tmp_path / "more.gz"
    packed.write_bytes(gzip.compress(events.read_bytes()))
    listed = tmp_path / "list.json"
    listed.write_text(json.dumps(sample_documents(2, seed=9), indent=1))
    ended = await stage.program(
        "publish", "--json", str(packed), "-", str(listed), stdin=events.read_bytes()
    )

    assert ended.json["published"] == 3 + 3 + 2
    assert len(await keys(stage)) == 8


async def test_an_invalid_event_stops_all_unless_told(stage: Stage, mixed: Path) -> None:
    """All or nothing by default, each problem with file and line; --skip-invalid leaves it out."""
    refused = await stage.command("publish", str(mixed))
    none = await keys(stage)
    skipped = await stage.command("publish", "--skip-invalid", "--json", str(mixed))

    assert refused.code == 3
    assert none == []
    assert f"{mixed}:2:1: /title: " in refused.err
    assert f"{mixed}:3:2: " in refused.err
    assert refused.out == "2 valid, 2 invalid, 0 published\n"
    assert skipped.code == 0
    assert set(skipped.json) == SUMMARY | SENT
    assert skipped.json["published"] == len(await keys(stage)) == 2


async def test_publishing_into_no_topic_ends_soon(stage: Stage, events: Path) -> None:
    """Neither a hang nor a flood of the library's lines."""
    wrong = {"KAFKA_DOCUMENTS_TOPIC": "test-nowhere"}
    ended = await stage.command("publish", str(events), settings=wrong)

    assert (ended.code, ended.out) == (1, "")
    (line,) = ended.err.splitlines()
    assert line.startswith("error: ")
    assert "test-nowhere" in line
    assert ended.seconds < PATIENCE / 2


# -- results ---------------------------------------------------------------------------------------


async def put_results(stage: Stage, results: list[Json | bytes]) -> None:
    """Write results as the service would."""
    publisher = Publisher(stage.connection, give_up=True)
    await publisher.start()
    topic = stage.settings["KAFKA_RESULTS_TOPIC"]
    raw = [
        value if isinstance(value, bytes) else json.dumps(value, ensure_ascii=False).encode()
        for value in results
    ]
    try:
        await asyncio.gather(
            *(publisher.publish(OutgoingRecord(topic, b"k", value)) for value in raw)
        )
    finally:
        await publisher.stop()


async def test_following_goes_on_until_interrupted(stage: Stage) -> None:
    """New results come at once, also through a pipe; Ctrl-C ends it with 130 and says how far."""
    await put_results(stage, [result(1)])
    process = await stage.programs.start(
        "results", "--follow", "--from-start", "--json", settings=stage.settings
    )
    await until(lambda: process.out.count("\n") == 1, "what is there")
    await put_results(stage, [result(2)])
    await until(lambda: process.out.count("\n") == 2, "what comes")
    process.signal(signal.SIGINT)

    assert await process.ended() == 130
    assert process.err.splitlines() == [
        "following results; Ctrl-C ends it", "interrupted: 2 results shown",
    ]  # fmt: skip


# -- pipes and simulate ----------------------------------------------------------------------------


@asynccontextmanager
async def reader_gone(stage: Stage, *words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A command whose standard output is a pipe that is closed after its first line."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "consumer", *words),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=stage.programs.folder,
        env=clean_environment(stage.programs.folder, stage.settings),
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            await process.stdout.readline()
            transport = process.stdout._transport  # type: ignore[attr-defined]
            transport.close()
            yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize("words", ["results --json", "results --follow --from-start"])
async def test_a_reader_that_has_had_enough_is_no_traceback(stage: Stage, words: str) -> None:
    """`… | head -1` ends soon and quietly, a follower with its next line."""
    await put_results(stage, [result(n, errors=["x" * 300]) for n in range(400)])
    async with reader_gone(stage, *words.split()) as process:
        assert process.stderr is not None
        err = await process.stderr.read()
        await process.wait()

    assert err in (b"", b"following results; Ctrl-C ends it\n")
    assert process.returncode == 1


async def test_simulate_says_where_and_stops_when_told(programs: Programs) -> None:
    """For anyone's tests: one line with address and key, exit 0 on SIGTERM."""
    process = await programs.start("simulate", settings={})
    await until(lambda: process.out.endswith("\n"), "the announcement")
    words = process.out.split()
    endpoint, key = words[words.index("at") + 1].rstrip(","), words[-1]
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"{endpoint}/api/v1/auth") as answer,
    ):
        assert await answer.json() == {"authenticated": True}
    process.signal(signal.SIGTERM)

    assert await process.ended() == 0
    assert process.err == ""
