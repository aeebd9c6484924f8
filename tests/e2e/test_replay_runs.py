"""`dlq replay` and `dlq runs` as an operator meets them: processes, kills, Ctrl-C, outages."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import re
import shlex
import signal
from collections import Counter
from pathlib import Path

import pytest

from consumer.kafka.reader import read_topic
from consumer.model.record import Record
from consumer.sandbox.kafka import LocalKafka
from tests.conftest import MakeTopic
from tests.e2e.support import REPOSITORY, Json, Process, Stage, stored, until, uploads, write_events

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


async def test_a_plan_then_the_deed_then_nothing(stage: Stage, tmp_path: Path) -> None:
    """Exit 3 with what would be done, 0 with what was, 0 with nothing to do; scripts get JSON."""
    await dead_lettered(stage, tmp_path, 4)
    shown = await stage.command("dlq", "replay", "--reason", "rejected")
    planned = await stage.command("dlq", "replay", "--json")
    untouched = await replays(stage)
    other = await stage.command("dlq", "replay", "--reason", "oversized", "--yes")
    done = await stage.command("dlq", "replay", "--yes", "--json")
    await stage.until_results(8)
    again = await stage.command("dlq", "replay", "--yes", "--json")
    runs = await stage.command("dlq", "runs", "--json")
    table = await stage.command("dlq", "runs")

    assert (shown.code, planned.code, other.code, done.code, again.code) == (3, 3, 0, 0, 0)
    assert "to replay\t4" in shown.out
    assert "--yes does it" in shown.err
    assert planned.json["state"] == "planned"
    assert planned.json["plan"]["replay"] == 4
    assert planned.json["plan"]["reasons"] == {"rejected": 4}
    assert untouched == []
    assert (done.json["state"], done.json["published"], done.json["skipped"]) == ("done", 4, 0)
    assert (again.json["state"], again.json["plan"]["resolved"]) == ("nothing to do", 4)
    audit = [json.loads(line) for line in done.err.splitlines() if line.startswith("{")]
    lines = [entry for entry in audit if entry["event"] == "replay.published"]
    assert len({(line["letter"], line["event_id"]) for line in lines}) == 4
    assert {(line["run"], "@" in line["operator"]) for line in lines} == {(done.json["run"], True)}
    assert runs.json["run"] == done.json["run"]
    assert (runs.json["state"], runs.json["results"]) == ("done", {"succeeded": 4})
    assert done.json["run"] in table.out


async def test_ctrl_c_says_how_to_resume(stage: Stage, tmp_path: Path) -> None:
    """Exit 130 within moments; the run goes on by its id alone, and nothing is replayed twice."""
    await dead_lettered(stage, tmp_path, 6)
    process = await stage.programs.start(
        "dlq", "replay", "--yes", "--rate", "2", settings=stage.settings
    )
    run = await begun(process)
    await until(lambda: audited(process), "a record is replayed")
    process.signal(signal.SIGINT)
    code = await process.ended(10)
    listed = await stage.command("dlq", "runs", "--json")
    done = await stage.command("dlq", "replay", "--resume", run, "--rate", "100", "--json")
    done_again = await stage.command("dlq", "replay", "--resume", run)

    assert code == 130
    assert f"dlq replay --resume {run}" in process.err
    assert "Traceback" not in process.err
    assert listed.json["state"] == "interrupted"
    assert 1 <= listed.json["published"] < 6
    assert (done.code, done.json["published"]) == (0, 6)
    assert done_again.code == 0
    assert Counter(Counter(r.key for r in await replays(stage)).values()) == {1: 6}


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


async def test_the_readme_can_be_pasted(stage: Stage, tmp_path: Path) -> None:
    """Every command of its section on replaying, one after the other, with open letters there."""
    section = (REPOSITORY / "README.md").read_text().split("### Replaying", 1)[1]
    block = section.split("```sh\n", 1)[1].split("```", 1)[0]
    await dead_lettered(stage, tmp_path, 3)
    ended = [
        await stage.command(*shlex.split(line)[1:]) for line in block.splitlines() if line.strip()
    ]

    assert len(ended) == 7
    assert [(one.code, one.err) for one in ended if one.code not in {0, 3}] == []
    assert ended[0].code == 3
    assert "3 replayed" in ended[1].out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--from elsewhere", "parked"),
        ("--rate 0", "--rate"),
        ("--resume x --reason rejected", "leave filters"),
        ("--resume x", "dlq runs"),
        ("--since yesterday", "no time"),
        ("not-an-event", "neither an event id"),
    ],
)
async def test_wrong_options_are_exit_2(stage: Stage, words: str, told: str) -> None:
    """One line that says what is possible; nothing is asked of Kafka before."""
    ended = await stage.command("dlq", "replay", *words.split())

    assert ended.code == 2
    assert told in ended.err


async def test_kafka_that_is_not_there_is_a_line(stage: Stage) -> None:
    """Exit 1 within seconds, and no API key is needed for any of it."""
    nowhere = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "ANYTHINGLLM_API_KEY": ""}
    for words in (["replay"], ["replay", "--yes"], ["runs"]):
        ended = await stage.command("dlq", *words, settings=nowhere)
        assert ended.code == 1
        assert ended.err.startswith("error: Kafka: ")
        assert ended.seconds < 30


async def test_check_finds_what_replay_would_stumble_over(
    stage: Stage, make_topic: MakeTopic
) -> None:
    """Results kept shorter than dead letters, by time or size; a replay topic without headroom."""
    results = await make_topic("results", retention_ms=604_800_000, retention_bytes=10_000)
    replay = await make_topic("replay", partitions=4, max_message_bytes=8 * 1024 * 1024)
    other = {"KAFKA_RESULTS_TOPIC": results, "KAFKA_REPLAY_TOPIC": replay}
    ended = await stage.command("check", "--json", settings=other)

    wrong = [found for found in map(json.loads, ended.lines) if not found["ok"]]
    assert ended.code == 3
    assert [found["finding"].split(" is ")[0] for found in wrong] == [
        "max.message.bytes",
        "retention.ms",
        "retention.bytes",
    ]
    assert "retention.ms=-1" in wrong[1]["what_to_do"]


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_kafka_down_in_the_middle(stage: Stage, tmp_path: Path, kafka: LocalKafka) -> None:
    """The run ends with a line and goes on when Kafka is back; every record once."""
    await dead_lettered(stage, tmp_path, 12)
    process = await stage.programs.start(
        "dlq", "replay", "--yes", "--rate", "2", settings=stage.settings
    )
    run = await begun(process)
    await until(lambda: len(audited(process)) >= 2, "some are replayed")
    await kafka.stop()
    try:
        code = await process.ended(90)
    finally:
        await kafka.start()
    done = await stage.command("dlq", "replay", "--resume", run, "--rate", "100", "--json")

    assert code == 1
    assert f"dlq replay --resume {run}" in process.err
    assert "Traceback" not in process.err
    assert (done.code, done.json["published"]) == (0, 12), done.err
    assert Counter(Counter(r.key for r in await replays(stage)).values()) == {1: 12}


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_killed_twenty_times_each_record_has_effect_once(
    stage: Stage, tmp_path: Path
) -> None:
    """SIGKILL at any moment, resumed by the id each time: one replay and one result a letter."""
    count, kills = 120, 20
    rng = random.Random(20)
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
