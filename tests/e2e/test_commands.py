"""The commands, as a person at a terminal and a script in a pipe meet them."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import resource
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from consumer.kafka.publisher import OutgoingRecord, Publisher
from consumer.kafka.reader import read_topic
from consumer.kafka.topics import open_admin
from consumer.sandbox.kafka.broker import free_ports
from consumer.sandbox.samples import sample_documents
from tests.conftest import MakeTopic
from tests.e2e.support import (
    CANARY,
    PATIENCE,
    Ended,
    Json,
    Programs,
    Stage,
    clean_environment,
    until,
    write_events,
)

SUMMARY = {"valid", "invalid", "published", "dry_run"}


@pytest.fixture
def nowhere() -> dict[str, str]:
    """A Kafka that is not there."""
    (port,) = free_ports(1, random.Random())
    return {"KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{port}"}


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


def one_error(ended: Ended) -> str:
    """The only line of standard error, which is an error."""
    (line,) = ended.err.splitlines()
    assert line.startswith("error: ")
    return line


# -- help ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("", ["demo", "run", "check", "publish", "results", "topics create", "Exit codes"]),
        (
            "run",
            ["SIGTERM", "SHUTDOWN_DRAIN_SECONDS", "--fail-fast", "ANYTHINGLLM_API_KEY", "/readyz"],
        ),
        ("publish", ["--dry-run", "--skip-invalid", "Example", "stdin"]),
        ("results", ["--follow", "--failed", "--trace", "Example"]),
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
    without_key = {**bare_stage.settings, "ANYTHINGLLM_API_KEY": ""}
    first = await bare_stage.programs.run("topics", "create", "--json", settings=without_key)
    again = await bare_stage.programs.run("topics", "create", "--json", settings=without_key)
    shown = await bare_stage.programs.run("topics", "create", settings=without_key)
    checked = await bare_stage.command("check")
    async with open_admin(bare_stage.connection) as admin:
        names = [value for name, value in bare_stage.settings.items() if name.endswith("_TOPIC")]
        states = await admin.states(names)
        await admin.delete(names)

    assert sorted(first.json["created"]) == sorted(names)
    assert again.json == {"created": [], "existed": first.json["created"]}
    assert (first.code, again.code, shown.code) == (0, 0, 0)
    assert shown.out.count("exists already") == 5
    assert {state.partitions for state in states.values()} == {12}
    assert checked.code == 0, checked.out
    assert "WRONG" not in checked.out


async def test_check_finds_nothing_where_all_is_right(stage: Stage) -> None:
    """Every finding is a line of JSON with what was looked at; nothing is changed."""
    ended = await stage.command("check", "--json")

    findings = [json.loads(line) for line in ended.lines]
    assert ended.code == 0
    assert ended.err == ""
    assert all(found["ok"] for found in findings)
    subjects = [found["subject"] for found in findings]
    assert subjects[:2] == ["settings", "Kafka"]
    assert sum(subject.startswith("topic ") for subject in subjects) == 5
    assert stage.simulator.state.workspaces == {}


def wrong_findings(ended: Ended) -> list[Json]:
    """What `check --json` has to be mended."""
    return [found for found in map(json.loads, ended.lines) if not found["ok"]]


@pytest.mark.parametrize(
    ("faults", "settings", "subject", "what_to_do"),
    [
        ({}, {"ANYTHINGLLM_API_KEY": CANARY + "x"}, "AnythingLLM key", "ANYTHINGLLM_API_KEY"),
        ({}, {"ANYTHINGLLM_ENDPOINT": "http://127.0.0.1:1"}, "AnythingLLM", "ANYTHINGLLM_ENDPOINT"),
        ({"collector": "down"}, {}, "AnythingLLM collector", "log"),
        ({"embedder_down": True}, {}, "AnythingLLM embedder", "embedder settings"),
        ({}, {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}, "Kafka", "KAFKA_BOOTSTRAP_SERVERS"),
        ({}, {"KAFKA_PARKED_TOPIC": "test-nowhere"}, "topic test-nowhere", "topics create"),
    ],
    ids=["key", "server", "collector", "embedder", "kafka", "topic"],
)
async def test_check_names_what_is_wrong_once(
    stage: Stage, faults: Json, settings: dict[str, str], subject: str, what_to_do: str
) -> None:
    """Exit 3; one finding for one cause, with what to do, and not what follows from it."""
    stage.simulator.faults.update(faults)
    ended = await stage.command("check", "--json", settings=settings)

    (found,) = wrong_findings(ended)
    assert ended.code == 3
    assert found["subject"] == subject
    assert what_to_do in found["what_to_do"]
    assert ended.err == ""
    assert ended.seconds < PATIENCE / 2


async def test_check_holds_topics_to_the_contract(stage: Stage, make_topic: MakeTopic) -> None:
    """Dead letters that expire, records that do not fit, replays out of order: all of it."""
    letters = await make_topic("letters", retention_ms=1000, max_message_bytes=1000)
    replay = await make_topic("replay", partitions=2, max_message_bytes=9_000_000)
    other = {"KAFKA_DEAD_LETTERS_TOPIC": letters, "KAFKA_REPLAY_TOPIC": replay}
    ended = await stage.command("check", "--json", settings=other)

    assert ended.code == 3
    told = [found["subject"] + ": " + found["finding"] for found in wrong_findings(ended)]
    assert [text.split(" is ")[0] for text in told[:2]] == [
        f"topic {letters}: retention.ms",
        f"topic {letters}: max.message.bytes",
    ]
    assert "partitions" in told[2]
    assert len(told) == 3


@pytest.mark.parametrize("words", ["check", "publish x"])
async def test_wrong_settings_are_exit_2_everywhere(programs: Programs, words: str) -> None:
    """One mistake has one code and one text, whatever the command."""
    wrong = {"ANYTHINGLLM_API_KEY": "k" * 9, "KAFKA_BOOTSTRAP_SERVERS": "a:b", "ADMIN_PORT": "x"}
    ended = await programs.run(*words.split(), settings=wrong)

    assert ended.code == 2
    assert ended.out == ""
    assert "KAFKA_BOOTSTRAP_SERVERS" in ended.err
    assert "ADMIN_PORT" in ended.err


# -- publish ---------------------------------------------------------------------------------------


async def test_published_events_carry_their_identity(stage: Stage, tmp_path: Path) -> None:
    """The bytes are those of the file, the key is the identity; no API key is needed."""
    documents = sample_documents(5, shape="mixed")
    lines = [json.dumps(document, ensure_ascii=False).encode() for document in documents]
    path = write_events(tmp_path / "events.ndjson", lines)
    settings = {"ANYTHINGLLM_API_KEY": "", "DOCUMENT_IDENTITY": "{source_url}"}
    ended = await stage.command("publish", "--json", str(path), settings=settings)

    assert ended.code == 0
    assert ended.err == ""
    assert ended.json == {"valid": 5, "invalid": 0, "published": 5, "dry_run": False}
    assert await keys(stage) == sorted(
        (document["source_url"], line) for document, line in zip(documents, lines, strict=True)
    )


async def test_files_may_be_packed_and_come_through_a_pipe(
    stage: Stage, events: Path, tmp_path: Path
) -> None:
    """A .gz, standard input and a list in one JSON file, together or alone."""
    packed = tmp_path / "more.gz"
    packed.write_bytes(gzip.compress(events.read_bytes()))
    listed = tmp_path / "list.json"
    listed.write_text(json.dumps(sample_documents(2, seed=9), indent=1))
    ended = await stage.command(
        "publish", "--json", str(packed), "-", str(listed), stdin=events.read_bytes()
    )

    assert ended.json["published"] == 3 + 3 + 2
    assert len(await keys(stage)) == 8


async def test_a_dry_run_needs_no_kafka(
    stage: Stage, nowhere: dict[str, str], events: Path, mixed: Path
) -> None:
    """It says what would happen, with the exit code that it would have."""
    fine = await stage.command("publish", "--dry-run", "--json", str(events), settings=nowhere)
    wrong = await stage.command("publish", "--dry-run", "--json", str(mixed), settings=nowhere)

    assert fine.json == {"valid": 3, "invalid": 0, "published": 0, "dry_run": True}
    assert wrong.json == {"valid": 2, "invalid": 2, "published": 0, "dry_run": True}
    assert (fine.code, wrong.code) == (0, 3)


async def test_an_invalid_event_stops_all_unless_told(stage: Stage, mixed: Path) -> None:
    """All or nothing by default, each problem with file and line; --skip-invalid leaves it out."""
    refused = await stage.command("publish", str(mixed))
    none = await keys(stage)
    skipped = await stage.command("publish", "--skip-invalid", "--json", str(mixed))

    assert refused.code == 3
    assert none == []
    assert f"{mixed}:2: /title: " in refused.err
    assert f"{mixed}:3: " in refused.err
    assert refused.out == "2 valid, 2 invalid, 0 published\n"
    assert skipped.code == 0
    assert set(skipped.json) == SUMMARY
    assert skipped.json["published"] == len(await keys(stage)) == 2


@pytest.mark.parametrize("where", ["kafka", "topic"])
async def test_publishing_into_nothing_ends_soon(
    stage: Stage, events: Path, nowhere: dict[str, str], where: str
) -> None:
    """Neither a missing Kafka nor a missing topic is a hang or a flood of the library's lines."""
    wrong = nowhere if where == "kafka" else {"KAFKA_DOCUMENTS_TOPIC": "test-nowhere"}
    ended = await stage.command("publish", str(events), settings=wrong)

    assert ended.code == 1
    assert next(iter(wrong.values())) in one_error(ended)
    assert ended.out == ""
    assert ended.seconds < PATIENCE / 2


async def test_a_file_that_can_not_be_read_is_wrong_usage(stage: Stage, tmp_path: Path) -> None:
    """Exit 2 and the file's name, whether it is missing, a folder, or damaged."""
    damaged = tmp_path / "damaged.gz"
    damaged.write_bytes(gzip.compress(b"{}" * 1000)[:30])
    for path in (tmp_path / "missing", tmp_path, damaged):
        ended = await stage.command("publish", str(path))
        assert ended.code == 2
        assert f"{path}: can't be read" in one_error(ended)


async def test_an_empty_file_publishes_nothing(
    stage: Stage, nowhere: dict[str, str], tmp_path: Path
) -> None:
    """A crawl without a page is no error, and Kafka is not even asked."""
    empty = tmp_path / "empty.ndjson"
    empty.write_bytes(b"")
    ended = await stage.command("publish", "--json", str(empty), settings=nowhere)

    assert ended.code == 0
    assert ended.json == {"valid": 0, "invalid": 0, "published": 0, "dry_run": False}


# -- results ---------------------------------------------------------------------------------------


def result(number: int, **fields: Any) -> Json:
    """A result as the service writes it, as far as readers look."""
    return {
        "schema_version": "1.0",
        "event_id": f"00000000-0000-5000-8000-{number:012d}",
        "trace_id": f"{number:032x}",
        "identity": f"identity-{number}",
        "document_id": f"document-{number}",
        "workspace_slug": "docs",
        "status": "succeeded",
        "total_chunks": 1,
        "successful_uploads": 1,
        "source": {"topic": "t", "partition": 0, "offset": number},
        "completed_at": "2026-11-22T10:00:00Z",
        **fields,
    }


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


async def test_results_are_found_by_what_people_ask(stage: Stage) -> None:
    """By document, identity, trace and failure; junk in the topic is told and passed over."""
    failed = result(2, status="failed", errors=["chunk c: refused"], failed_uploads=1)
    await put_results(stage, [result(1), failed, b"junk", result(3, status="invalid")])

    async def found(*options: str) -> list[str]:
        ended = await stage.command("results", "--json", *options)
        assert ended.code == 0
        return [json.loads(line)["document_id"] for line in ended.lines]

    assert await found() == ["document-1", "document-2", "document-3"]
    assert await found("--identity", "identity-2", "--failed") == ["document-2"]
    assert await found("--document", "document-1", "--failed") == []
    assert await found("--trace", f"{3:032x}") == ["document-3"]

    shown = await stage.command("results", settings={"ANYTHINGLLM_API_KEY": ""})
    cells = [line.split("\t") for line in shown.lines]
    assert [len(line) for line in cells] == [8] * 4
    assert cells[2][1] == "failed"
    assert cells[2][-1] == "chunk c: refused"
    assert "not an upload result" in shown.err


async def test_a_large_result_comes_whole(stage: Stage) -> None:
    """JSON for scripts is never cut, whatever is in it; text for people may be."""
    large = result(1, uploaded_chunk_ids=[f"chunk\t{n} 灯\u2028" for n in range(5000)])
    await put_results(stage, [large])
    ended = await stage.command("results", "--json")

    assert ended.json == large


async def test_results_of_no_topic_or_no_kafka_end_soon(
    stage: Stage, nowhere: dict[str, str]
) -> None:
    """Exit 1 and one line that says what to do."""
    topic = await stage.command("results", settings={"KAFKA_RESULTS_TOPIC": "test-nowhere"})
    kafka = await stage.command("results", settings=nowhere)

    assert (topic.code, kafka.code) == (1, 1)
    assert "topics create" in one_error(topic)
    assert nowhere["KAFKA_BOOTSTRAP_SERVERS"] in one_error(kafka)
    assert max(topic.seconds, kafka.seconds) < PATIENCE / 2


async def test_following_goes_on_until_interrupted(stage: Stage) -> None:
    """New results come at once, also through a pipe; Ctrl-C ends it with 130 and without a word."""
    await put_results(stage, [result(1)])
    process = await stage.programs.start("results", "--follow", "--json", settings=stage.settings)
    await until(lambda: process.out.count("\n") == 1, "what is there")
    await put_results(stage, [result(2)])
    await until(lambda: process.out.count("\n") == 2, "what comes")
    process.signal(signal.SIGINT)

    assert await process.ended() == 130
    assert process.err == ""


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


@pytest.mark.parametrize("words", ["results --json", "results --follow"])
async def test_a_reader_that_has_had_enough_is_no_traceback(stage: Stage, words: str) -> None:
    """`… | head -1` ends soon and quietly, a follower with its next line."""
    await put_results(stage, [result(n, errors=["x" * 300]) for n in range(400)])
    async with reader_gone(stage, *words.split()) as process:
        assert process.stderr is not None
        err = await process.stderr.read()
        await process.wait()

    assert err == b""
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
