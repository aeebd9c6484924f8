"""`dlq replay` as a process that is killed, and whose Kafka goes away."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import re
from collections import Counter
from pathlib import Path

import pytest

from consumer.kafka.reader import read_topic
from consumer.model.record import Record
from consumer.sandbox.kafka import LocalKafka
from tests.e2e.support import Json, Process, Stage, stored, until, uploads, write_events

RUN = re.compile(r"^run (\d{8}-\d{6}-[0-9a-f]{4}): ", re.MULTILINE)


def documents(count: int, word: str = "REFUSED") -> list[Json]:
    """Events of one chunk each, which AnythingLLM refuses as long as it is told to."""
    return [
        {
            "id": f"{word.lower()}-{number}",
            "title": f"Number {number}",
            "technology": "replays",
            "source_url": f"https://docs.example/{word}/{number}",
            "created_at": "2026-03-01T00:00:00Z",
            "chunks": [{"id": f"c-{number}", "content": f"{word} {number}, like no other."}],
        }
        for number in range(count)
    ]


async def dead_lettered(stage: Stage, tmp_path: Path, count: int) -> Process:
    """So many dead letters, and the service running with their cause mended."""
    stage.simulator.faults.add("status", status=422, path="*/raw-text", contains="REFUSED")
    service = await stage.run()
    await stage.publish(write_events(tmp_path / "events.ndjson", documents(count)))
    await stage.until_results(count)
    stage.simulator.faults.clear()
    return service


async def replays(stage: Stage) -> list[Record]:
    topic = stage.settings["KAFKA_REPLAY_TOPIC"]
    return [record async for record in read_topic(stage.connection, topic)]


def audited(process: Process, event: str = "replay.published") -> list[Json]:
    """The audit lines on standard error."""
    lines = [line for line in process.err.splitlines() if line.startswith("{")]
    entries = [json.loads(line) for line in lines if line.endswith("}")]
    return [entry for entry in entries if entry["event"] == event]


async def begun(process: Process) -> str:
    """The id of the run, once it has begun."""

    def found() -> str | None:
        shown = RUN.search(process.err)
        assert shown or process.running, process.err
        return shown[1] if shown else None

    return str(await until(found, "a run begins"))


@pytest.mark.slow
async def test_exported_packed_and_replayed(stage: Stage, tmp_path: Path) -> None:
    """`dlq export` to `replay --from-file`, packed or by standard input; a run from it resumes."""
    await dead_lettered(stage, tmp_path, 5)
    path = tmp_path / "letters.ndjson.gz"
    exported = await stage.command("dlq", "export", "--output", str(path))
    process = await stage.programs.start(
        "dlq", "replay", "--from-file", str(path), "--yes", "--rate", "2", settings=stage.settings
    )
    run = await begun(process)
    await until(lambda: audited(process), "a record is replayed")
    await process.kill()
    lines = gzip.decompress(path.read_bytes())
    piped = await stage.command("dlq", "replay", "--from-file", "-", stdin=lines)
    resumed = await stage.command("dlq", "replay", "--resume", run, "--rate", "50", "--json")
    path.write_bytes(gzip.compress(lines[:-20]))
    damaged = await stage.command("dlq", "replay", "--from-file", str(path))
    missing = await stage.command("dlq", "replay", "--from-file", str(tmp_path / "none"))

    assert exported.code == 0
    assert piped.code == 3
    assert (resumed.code, resumed.json["published"]) == (0, 5), resumed.err
    assert Counter(Counter(r.key for r in await replays(stage)).values()) == {1: 5}
    assert (damaged.code, missing.code) == (2, 2)
    assert "letter 5 of the file" in damaged.err


@pytest.mark.release
@pytest.mark.timeout(300)
async def test_kafka_down_in_the_middle(
    own_stage: Stage, own_kafka: LocalKafka, tmp_path: Path
) -> None:
    """The run ends with a line and goes on when Kafka is back; every record once."""
    stage = own_stage
    await dead_lettered(stage, tmp_path, 12)
    process = await stage.programs.start(
        "dlq", "replay", "--yes", "--rate", "2", settings=stage.settings
    )
    run = await begun(process)
    await until(lambda: len(audited(process)) >= 2, "some are replayed")
    await own_kafka.stop()
    code = await process.ended(90)
    await own_kafka.start()
    done = await stage.command("dlq", "replay", "--resume", run, "--rate", "100", "--json")

    assert code == 1
    assert f"dlq replay --resume {run}" in process.err
    assert "Traceback" not in process.err
    assert (done.code, done.json["published"]) == (0, 12), done.err
    assert Counter(Counter(r.key for r in await replays(stage)).values()) == {1: 12}


@pytest.mark.release
@pytest.mark.timeout(600)
async def test_killed_twenty_times_each_record_has_effect_once(
    stage: Stage, tmp_path: Path
) -> None:
    """SIGKILL at any moment, resumed by the id each time: one replay and one result a letter."""
    count, kills = 120, 20
    rng = random.Random(20)
    stage.settings["KAFKA_SESSION_TIMEOUT_SECONDS"] = "2"  # waited for after each kill
    await dead_lettered(stage, tmp_path, count)
    words = ["dlq", "replay", "--yes", "--rate", "12"]
    run = ""
    for number in range(kills):
        process = await stage.programs.start(*words, settings=stage.settings)
        run = await begun(process)
        wanted = rng.choice([0, 1, 2, 5, 9]) if number else 3

        def so_far(process: Process = process, wanted: int = wanted) -> bool:
            return len(audited(process)) >= wanted or not process.running

        await until(so_far, "some are replayed")
        assert process.running, f"done after {number} kills: {process.err[-500:]}"
        await process.kill()
        words = ["dlq", "replay", "--resume", run, "--rate", "12"]
    interrupted = await stage.command("dlq", "runs", "--json")
    async with asyncio.timeout(30):
        # The group counts a killed member in until the session timeout.
        while interrupted.json["state"] == "running":
            interrupted = await stage.command("dlq", "runs", "--json")
    last = await stage.command("dlq", "replay", "--resume", run, "--rate", "500", "--json")
    results = await stage.until_results(2 * count)
    runs = await stage.command("dlq", "runs", "--json")

    assert interrupted.json["state"] == "interrupted"
    assert last.code == 0, last.err
    assert last.json["published"] == count
    made_of = Counter(record.header("dlq.letter") for record in await replays(stage))
    assert (len(made_of), set(made_of.values())) == (count, {1})
    answered = Counter(r.replay_of.event_id for r in results if r.replay_of)
    assert (len(answered), set(answered.values())) == (count, {1})
    assert {r.status for r in results if r.replay_of} == {"succeeded"}
    assert set(Counter(uploads(stage.simulator)).values()) == {1}
    assert len(stored(stage.simulator)) == count
    assert runs.json["results"] == {"succeeded": count}
    assert (runs.json["selected"], runs.json["skipped"]) == (count, 0)
