"""``dlq list | show | stats | park | export`` as an operator runs them, on a real Kafka.

Commands are processes: exit codes and output are what is tested. `dlq replay` has its own file.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaProducer

from consumer.contract.dead_letter import Cause, DeadLetter
from consumer.contract.exported_letter import decode_exported
from consumer.contract.received_letter import letter_of
from consumer.kafka.topics import TopicSpec, open_admin
from consumer.model.origin import Origin
from consumer.model.outcome import FailureReason
from consumer.model.record import Coordinates, Record
from consumer.operations.replay.verdict import replay_of
from tests.e2e.support import Ended, Json, Programs, clean_environment
from tests.integration.kafka_support import delete, delete_records
from tests.integration.service_fixtures import MakeStage, Stage, document, texts

MIB = 2**20
FIELDS = {
    "event", "standing", "at", "foreign", "reason", "message", "stage", "identity", "document_id",
    "workspace", "technology", "attempts", "failed_chunks", "failed_chunk_ids", "http_status",
    "first_failed_at", "failed_at", "original", "replays", "replayed", "last_status", "trace_id",
    "group", "tombstone", "by_reference", "bytes",
}  # fmt: skip


class Operator:
    """Somebody at a shell with the stage's settings."""

    def __init__(self, stage: Stage, programs: Programs) -> None:
        self.stage = stage
        self.programs = programs

    async def run(self, *words: str, **settings: str) -> Ended:
        """A `dlq` command to its end."""
        return await self.programs.run("dlq", *words, settings={**self.stage.env, **settings})

    async def listed(self, *options: str) -> list[Json]:
        """What ``dlq list --json`` says."""
        ended = await self.run("list", "--json", *options)
        assert (ended.code, ended.err) == (0, "")
        return [json.loads(line) for line in ended.lines]


@pytest.fixture
def operator(stage: Stage, programs: Programs) -> Operator:
    """An operator of the stage."""
    return Operator(stage, programs)


def _same(record: Record) -> tuple[object, ...]:
    return record.key, record.value, record.headers


# -- letters that the service wrote ----------------------------------------------------------------


async def failing(stage: Stage) -> None:
    """A refused chunk of twenty, an invalid event, garbage, an unroutable one."""
    await stage.start()
    stage.simulator.faults.add("status", status=422, path="*/raw-text", contains="REFUSED")
    refused = texts("guide", 20)
    refused[3] += " REFUSED"
    await stage.publish(document("guide", refused), partition=0)
    await stage.publish(document("sick", ["a text"]) | {"title": 17}, partition=0)
    await stage.publish(b"\xff\xfe\x00 no json", key="some key", partition=0)
    await stage.publish(document("lost", ["a text"], technology="日本語"), partition=1)
    await stage.wait_dead_letters(4)
    await stage.wait_results(3)
    await stage.stop()


async def test_letters_of_the_service_are_listed_shown_and_counted(operator: Operator) -> None:
    """What failed, why, what of it is stored; nothing of the documents' text."""
    await failing(operator.stage)
    (rejected,) = [
        each for each in operator.stage.dead_letters if b"REFUSED" in (each.value or b"")
    ]
    everything, shown, people, counted = await asyncio.gather(
        operator.listed(),
        operator.run("show", "guide", "--json"),
        operator.run("show", letter_of(rejected).event),
        operator.run("stats", "--json"),
    )
    listed, stats = {one["reason"]: one for one in everything}, counted.json

    assert set(listed) == {"rejected", "invalid", "undecodable", "unroutable"}
    assert all(set(one) == FIELDS for one in listed.values())
    assert {one["standing"] for one in listed.values()} == {"open"}
    assert listed["undecodable"]["document_id"] is None
    assert listed["unroutable"]["technology"] == "日本語"
    one = listed["rejected"]
    assert one["failed_chunk_ids"] == ["guide_chunk_3"]
    assert (one["workspace"], one["attempts"], one["http_status"]) == ("docs", 1, 422)
    assert one["original"]["topic"] == operator.stage.documents

    assert shown.code == 0
    said = shown.json
    assert {name: said[name] for name in one} == one
    assert said["answered"] is True
    assert said["stored_now"]["chunks"] == 19
    assert said["stored_now"]["total_chunks"] == 20
    assert said["stored_now"]["failed_stored"] == []
    assert "dlq replay" in said["next_step"]
    assert "payload" not in said

    assert people.code == 0
    assert "guide_chunk_3" in people.out
    assert "of the 1 that failed 0 are stored" in people.out
    for ended in (shown, people):
        assert "REFUSED" not in ended.out + ended.err

    assert stats["letters"] == 4
    assert stats["reason"] == dict.fromkeys(listed, 1)
    assert any("answered 422" in cause and "guide" not in cause for cause in stats["cause"])
    assert stats["results"]["cut"] is False


async def test_on_a_terminal_tables_and_bars_are_drawn(operator: Operator) -> None:
    """Only what tells letters apart; a bar a day; what letters say can't steer the terminal."""
    await foreign(operator.stage)
    listed = await asyncio.to_thread(on_a_terminal, operator, "list")
    stats = await asyncio.to_thread(on_a_terminal, operator, "stats")

    assert "place" in listed
    assert "standing" not in listed
    assert "foreign" in listed
    assert "█" * 50 in stats
    assert "\x1b]0;title" not in listed + stats


def on_a_terminal(operator: Operator, *words: str) -> str:
    """What a command writes to a terminal of 100 columns."""
    ours, theirs = os.openpty()
    env = clean_environment(operator.programs.folder, operator.stage.env)
    process = subprocess.Popen(
        [sys.executable, "-m", "consumer", "dlq", *words],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        cwd=operator.programs.folder,
        env=env | {"COLUMNS": "100", "TERM": "xterm"},
    )
    os.close(theirs)
    written = b""
    with suppress(OSError):  # how a terminal says that nobody writes to it any more
        while piece := os.read(ours, 65_536):
            written += piece
    os.close(ours)
    assert process.wait(30) == 0
    return written.decode()


async def test_show_gives_the_payload_only_when_asked(operator: Operator) -> None:
    """As readable JSON; bytes that are none come in base64; several letters are listed."""
    await failing(operator.stage)
    letters = map(letter_of, operator.stage.dead_letters)
    (garbage,) = [each.at for each in letters if each.reason == "undecodable"]
    event, raw, nobody = await asyncio.gather(
        operator.run("show", "guide", "--payload"),
        operator.run("show", f"{garbage.partition}@{garbage.offset}", "--payload", "--json"),
        operator.run("show", "nobody"),
    )
    await operator.stage.start()
    await operator.stage.publish(document("guide", ["another REFUSED one"]), partition=1)
    await operator.stage.wait_dead_letters(5)
    several = await operator.run("show", "guide")

    assert '  "id": "guide",' in event.out
    assert "Text 3 of guide, which is like no other. REFUSED" in event.out
    assert raw.json["payload"] == {"base64": "//4AIG5vIGpzb24="}
    assert several.code == 0
    assert several.out.count("rejected") == 2
    assert "2 letters of guide" in several.err
    assert nobody.code == 1
    assert "there is no dead letter of 'nobody'" in nobody.err


async def test_an_unreachable_anythingllm_does_not_hide_a_letter(operator: Operator) -> None:
    """What is stored is not known then, and that is said; without a key it is not even asked."""
    await failing(operator.stage)
    settings = {n: v for n, v in operator.stage.env.items() if n != "ANYTHINGLLM_API_KEY"}
    down, keyless = await asyncio.gather(
        operator.run("show", "guide", "--json", ANYTHINGLLM_ENDPOINT="http://127.0.0.1:1"),
        operator.programs.run("dlq", "show", "guide", "--json", settings=settings),
    )

    assert (down.code, keyless.code) == (0, 0)
    assert "AnythingLLM does not say" in down.json["stored_now"]["unknown"]
    assert "ANYTHINGLLM_API_KEY is not set" in keyless.json["stored_now"]["unknown"]
    assert down.seconds < 20


async def test_filters_choose_and_combine(operator: Operator) -> None:
    """In list and stats alike; `--limit` keeps the newest."""
    await failing(operator.stage)
    two, none, limited, stats = await asyncio.gather(
        operator.listed("--reason", "invalid", "--reason", "rejected", "--since", "1h"),
        operator.listed("--reason", "invalid", "--document", "guide"),
        operator.listed("--limit", "1"),
        operator.run("stats", "--json", "--technology", "日本語"),
    )

    assert {one["reason"] for one in two} == {"invalid", "rejected"}
    assert none == []
    newest = max(letter_of(each).failed_at for each in operator.stage.dead_letters)
    assert [one["failed_at"] for one in limited] == [f"{newest:%Y-%m-%dT%H:%M:%SZ}"]
    assert stats.json["reason"] == {"unroutable": 1}


async def test_results_are_filtered_by_workspace_and_time(operator: Operator) -> None:
    """What is older, or for another workspace, is left out."""
    await failing(operator.stage)
    env = operator.stage.env
    docs, lately, later, wrong = await asyncio.gather(
        operator.programs.run("results", "--json", "--workspace", "docs", settings=env),
        operator.programs.run("results", "--json", "--since", "1h", settings=env),
        operator.programs.run("results", "--since", "2100-01-01", settings=env),
        operator.programs.run("results", "--since", "soon", settings=env),
    )

    assert [json.loads(line)["document_id"] for line in docs.lines] == ["guide"]
    assert {json.loads(line)["document_id"] for line in lately.lines} == {"guide", "sick", "lost"}
    assert (later.code, later.out, later.err) == (0, "", "no such results\n")
    assert wrong.code == 2
    assert "--since 'soon' is no time" in wrong.err


# -- by reference ----------------------------------------------------------------------------------


async def test_a_letter_by_reference_is_listed_as_such(
    make_stage: MakeStage, programs: Programs
) -> None:
    """Too large for its topic: `show` says whether the original can still be had, and gets it."""
    stage = await make_stage(topics=False)
    await stage.create_topics(
        "documents in", "replayed dead letters in", "results out", "dead letters put aside"
    )
    letters = stage.settings.kafka.dead_letters_topic
    spec = TopicSpec(letters, "dead letters out", 1, {"max.message.bytes": "20000"})
    async with open_admin(stage.connection) as admin:
        await admin.create([spec], replication_factor=1)
    stage.follow(letters)
    garbage = secrets.token_bytes(60_000)
    await stage.start()
    await stage.publish(garbage, key="large", partition=1)
    await stage.wait_dead_letters(1)
    operator = Operator(stage, programs)
    (listed,) = await operator.listed()
    there = await operator.run("show", listed["event"], "--json", "--payload")
    await delete_records(stage.connection, stage.documents, {1: 1})
    gone = await operator.run("show", listed["event"])

    assert listed["by_reference"] is True
    assert listed["bytes"] < 20_000
    assert there.json["original_there"] is True
    assert len(there.json["payload"]["base64"]) == 80_000
    assert gone.code == 0
    assert "its original is not there any more" in gone.err


# -- foreign letters -------------------------------------------------------------------------------


async def foreign(stage: Stage) -> list[Record]:
    """What others may write to a dead-letter topic."""
    topic = stage.settings.kafka.dead_letters_topic
    genuine = _letter(7)
    records: list[tuple[bytes | None, bytes | None, Any]] = [
        (b"k", b"v", ()),
        (None, None, ()),
        (None, None, (("a", b"b"),)),
        (b"", b"", (("", b""),)),
        (secrets.token_bytes(300), secrets.token_bytes(3_000), (("x", secrets.token_bytes(50)),)),
        (b"k", b"{}", (("__connect.errors.topic", b"t"), ("__connect.errors.offset", b"5"))),
        (b"k", b"\x1b[2J\x1b]0;title\x07", (("dlq.reason", b"\x1b[31mred"), ("dlq.reason", b"x"))),
        (b"k", None, (("null value", None),)),
        (genuine.key, genuine.value, (*genuine.headers, ("dlq.replays", b"0"))),
    ]
    for key, value, headers in records:
        await stage.publish(value, key=key, headers=headers, topic=topic)
    return await stage.everything(topic)


async def test_letters_of_others_are_listed_shown_parked_and_exported(
    operator: Operator, tmp_path: Path
) -> None:
    """Whatever it is: no header, no key, no value, binary garbage, forged ones of ours."""
    records = await foreign(operator.stage)
    target = tmp_path / "letters.ndjson"
    red = next(
        letter_of(each).event for each in records if each.value == b"\x1b[2J\x1b]0;title\x07"
    )
    listed, people, shown, by_place, exported, planned = await asyncio.gather(
        operator.listed(),
        operator.run("list"),
        operator.run("show", red, "--payload"),
        operator.run("show", f"{records[0].at.partition}@{records[0].at.offset}"),
        operator.run("export", "--output", str(target)),
        operator.run("park", "--reason", "foreign"),
    )
    parking = await operator.run("park", "--reason", "foreign", "--yes", "--json")
    again = await operator.run("park", "--reason", "foreign", "--yes")

    assert len(listed) == len(records) == 9
    assert {(one["reason"], one["foreign"]) for one in listed} == {("foreign", True)}
    assert {one["event"] for one in listed} == {letter_of(each).event for each in records}
    assert [ended.code for ended in (people, shown, by_place, exported)] == [0] * 4
    assert "\x1b" not in people.out + people.err + shown.out + shown.err
    assert "--force" in by_place.out
    lines = [decode_exported(line) for line in target.read_bytes().splitlines()]
    assert sorted(lines, key=lambda one: one.at) == sorted(records, key=lambda one: one.at)
    assert (planned.code, parking.code, again.code) == (3, 0, 0)
    assert {json.loads(line)["outcome"] for line in parking.lines} == {"parked"}
    aside = await operator.stage.everything(operator.stage.settings.kafka.parked_topic)
    assert sorted(map(repr, map(_same, aside))) == sorted(map(repr, map(_same, records)))
    assert await operator.listed() == []
    assert len(await operator.listed("--parked")) == 9


# -- park, and back again --------------------------------------------------------------------------


async def test_park_says_what_it_would_do_and_does_it_once(operator: Operator) -> None:
    """Exit 3 while something is left to do; the copy is the letter, byte for byte."""
    await failing(operator.stage)
    letters = {letter_of(each).reason: each for each in operator.stage.dead_letters}
    parked_topic = operator.stage.settings.kafka.parked_topic
    name = letter_of(letters["invalid"]).event
    planned = await operator.run("park", name)
    nothing = await operator.stage.everything(parked_topic)
    done = await operator.run("park", name, "--yes")
    (copy,) = await operator.stage.everything(parked_topic)
    again = await operator.run("park", name, "--yes")
    still = await operator.stage.everything(parked_topic)

    assert planned.code == 3
    assert "1 to park" in planned.out
    assert "--yes does it" in planned.err
    assert nothing == []
    assert (done.code, again.code) == (0, 0)
    assert "1 parked" in done.out
    assert "it is parked" in again.err
    assert _same(copy) == _same(letters["invalid"])
    assert still == [copy]
    assert {one["reason"] for one in await operator.listed()} == {
        "rejected", "undecodable", "unroutable"
    }  # fmt: skip
    (listed,) = await operator.listed("--parked")
    assert (listed["event"], listed["standing"]) == (name, "parked")
    assert listed["at"]["topic"] == parked_topic
    assert len(await operator.listed("--all")) == 4


async def test_an_unknown_name_is_told_and_the_others_are_parked(operator: Operator) -> None:
    """Exit 1: a typing error must not look like success."""
    await failing(operator.stage)
    name = letter_of(operator.stage.dead_letters[0]).event
    ended = await operator.run("park", name, "9@99", "--yes")

    assert ended.code == 1
    assert "there is no dead letter 9@99" in ended.err
    assert len(await operator.listed("--parked")) == 1


async def test_what_was_parked_and_brought_back_is_resolved(operator: Operator) -> None:
    """Its standing follows: parked, in flight until its result is there, then resolved."""
    stage = operator.stage
    await failing(stage)
    (letter,) = [one for one in map(letter_of, stage.dead_letters) if one.reason == "rejected"]
    assert (await operator.run("park", letter.event, "--yes")).code == 0
    (record,) = await stage.everything(stage.settings.kafka.parked_topic)
    stage.simulator.faults.clear()
    back = replay_of(letter_of(record), record, "run-1")
    await stage.publish(
        back.value,
        key=back.key,
        headers=back.headers,
        partition=back.partition,
        topic=stage.settings.kafka.replay_topic,
    )
    (under_way,) = await operator.listed("--document", "guide", "--all")
    await stage.start()
    await stage.wait_results(4)
    await stage.stop()
    (after,) = await operator.listed("--document", "guide", "--all")
    shown = await operator.run("show", letter.event)

    assert under_way["standing"] == "in flight"
    assert [one["status"] for one in under_way["replayed"]] == [None]
    assert (after["standing"], after["last_status"]) == ("resolved", "succeeded")
    assert [one["status"] for one in after["replayed"]] == ["succeeded"]
    assert "run-1" in shown.out
    assert "of the 1 that failed 1 are stored" in shown.out
    assert await operator.listed("--parked") == []


async def test_a_newer_version_makes_a_letter_stale(operator: Operator) -> None:
    """What is not open any more needs no command for that."""
    stage = operator.stage
    await failing(stage)
    stage.simulator.faults.clear()
    await stage.start()
    await stage.publish(document("guide", ["a newer text"], day=1), partition=0)
    await stage.wait_results(4)
    (listed,) = await operator.listed("--document", "guide", "--all")
    people = await operator.run("list")

    assert listed["standing"] == "stale"
    assert "guide" not in people.out
    assert "1 stale" in people.err


# -- export ----------------------------------------------------------------------------------------


async def test_an_export_has_every_byte(operator: Operator, tmp_path: Path) -> None:
    """To a file, packed where its name says so, or to standard output; filters as everywhere."""
    await failing(operator.stage)
    packed = tmp_path / "letters.ndjson.gz"
    to_file, to_stdout, by_name = await asyncio.gather(
        operator.run("export", "--output", str(packed)),
        operator.run("export", "--reason", "rejected"),
        operator.run("export", letter_of(operator.stage.dead_letters[0]).event),
    )

    assert (to_file.code, to_stdout.code, to_stdout.err) == (0, 0, "1 dead letters\n")
    records = [decode_exported(line) for line in gzip.decompress(packed.read_bytes()).splitlines()]
    heard = operator.stage.dead_letters
    assert sorted(records, key=lambda one: one.at) == sorted(heard, key=lambda one: one.at)
    (rejected,) = [decode_exported(line.encode()) for line in to_stdout.lines]
    assert letter_of(rejected).reason == "rejected"
    assert [decode_exported(line.encode()) for line in by_name.lines] == heard[:1]


async def test_an_export_that_fails_leaves_no_half_file(operator: Operator, tmp_path: Path) -> None:
    """Whoever finds a file may trust it: it appears when it is whole."""
    await failing(operator.stage)
    missing = await operator.run("export", "--output", str(tmp_path / "no" / "folder" / "x"))
    kept = tmp_path / "kept"
    kept.write_text("from yesterday")
    topic = operator.stage.settings.kafka.dead_letters_topic
    await operator.stage.unfollow(topic)
    await delete(operator.stage.connection, topic)
    failed = await operator.run("export", "--output", str(kept))

    assert missing.code == 1
    assert "No such file or directory" in missing.err
    assert failed.code == 1
    assert kept.read_text() == "from yesterday"
    assert not list(tmp_path.glob(".kept*"))


# -- topics that are not as they should be ---------------------------------------------------------


async def test_empty_topics_are_done(operator: Operator, tmp_path: Path) -> None:
    """Exit 0: nothing is open."""
    runs = await asyncio.gather(
        operator.run("list"),
        operator.run("list", "--json"),
        operator.run("stats"),
        operator.run("park", "--yes"),
        operator.run("export", "--output", str(tmp_path / "x")),
    )

    assert [ended.code for ended in runs] == [0] * 5
    assert "dead letters: none" in runs[0].err
    assert runs[1].out == runs[1].err == ""
    assert (tmp_path / "x").read_bytes() == b""


@pytest.mark.parametrize("missing", ["dead letters out", "results out"])
async def test_a_topic_that_is_needed_and_missing_is_a_line(
    make_stage: MakeStage, programs: Programs, missing: str
) -> None:
    """Without dead letters there is nothing to read; without results nobody knows what is open."""
    purposes = {
        "dead letters out", "results out", "replayed dead letters in", "dead letters put aside"
    }  # fmt: skip
    stage = await make_stage(topics=False)
    await stage.create_topics(*purposes - {missing}, partitions=1)
    ended = await Operator(stage, programs).run("list")

    assert ended.code == 1
    assert "there is no topic" in ended.err
    assert "topics create" in ended.err
    assert ended.seconds < 20


async def test_without_parked_and_replay_topic_letters_are_listed(
    make_stage: MakeStage, programs: Programs
) -> None:
    """Both count as empty, and that is said; parking needs its topic."""
    stage = await make_stage(topics=False)
    await stage.create_topics("dead letters out", "results out", partitions=1)
    await stage.publish(b"v", key="k", topic=stage.settings.kafka.dead_letters_topic)
    operator = Operator(stage, programs)
    listed, parking = await asyncio.gather(
        operator.run("list", "--json"), operator.run("park", "--yes")
    )

    assert (listed.code, len(listed.lines)) == (0, 1)
    assert "taken as nothing is parked" in listed.err
    assert "taken as nothing was replayed" in listed.err
    assert parking.code == 1
    assert f"there is no topic {stage.settings.kafka.parked_topic}" in parking.err


async def test_results_that_reach_back_less_are_told(operator: Operator) -> None:
    """Then a letter may look open that was resolved long ago."""
    await failing(operator.stage)
    results = operator.stage.settings.kafka.results_topic
    ends: dict[int, int] = {}
    for record in await operator.stage.everything(results):
        ends[record.at.partition] = max(ends.get(record.at.partition, 0), record.at.offset + 1)
    await delete_records(operator.stage.connection, results, ends)
    ended = await operator.run("list")
    stats = (await operator.run("stats", "--json")).json

    assert ended.code == 0
    assert "has lost its beginning" in ended.err
    assert stats["results"]["cut"] is True


# -- many ------------------------------------------------------------------------------------------


def _letter(number: int, size: int = 200) -> DeadLetter:
    reasons = [
        FailureReason.REJECTED, FailureReason.EXHAUSTED, FailureReason.INVALID,
        FailureReason.UNROUTABLE, FailureReason.OVERSIZED,
    ]  # fmt: skip
    event = document(f"d-{number}", ["x y z " * (size // 60)] * 10)
    place = Coordinates("documents", number % 12, number)
    record = Record(place, 1_790_000_000_000 + number, b"d-%d" % number, orjson.dumps(event))
    messages = [
        f"d-{number}_chunk_3: refused by AnythingLLM (422)",
        f"d-{number}_chunk_3: failed {number} times while others did not",
        "/title: must be a string",
        "no workspace can be made of its technology",
        f"has {number} chunks, at most 20,000 are allowed",
    ]
    cause = Cause(
        reasons[number % 5], messages[number % 5], "upload", "x.Y",
        failed_chunks=(f"d-{number}_chunk_3",),
    )  # fmt: skip
    return DeadLetter(
        record=record,
        origin=Origin(place, record.timestamp_ms),
        cause=cause,
        event_id=f"00000000-0000-5000-8000-{number:012x}",
        trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
        group="group",
        task="task",
        failed_at=datetime(2026, 9, 1, tzinfo=UTC) + timedelta(minutes=5 * number),
        identity=f"d-{number}",
        document_id=f"d-{number}",
        workspace=["docs", "other"][number % 2],
    )


async def publish_letters(stage: Stage, numbers: Iterable[int], size: int) -> None:
    """Letters with their results."""
    kafka = stage.settings.kafka
    producer = AIOKafkaProducer(
        **stage.connection.client_options(), linger_ms=20, max_batch_size=200_000
    )
    async with producer:
        sent = []
        for number in numbers:
            letter = _letter(number, size)
            result = {
                "event_id": letter.event_id, "status": "failed", "identity": letter.identity,
                "document_id": letter.document_id, "workspace_slug": letter.workspace,
                "source": {"topic": "documents", "partition": number % 12, "offset": number},
                "completed_at": letter.failed_at,
            }  # fmt: skip
            sent.append(
                await producer.send(
                    kafka.dead_letters_topic,
                    key=letter.key,
                    value=letter.value,
                    headers=list(letter.headers),
                )
            )
            sent.append(
                await producer.send(kafka.results_topic, key=letter.key, value=orjson.dumps(result))
            )
        await asyncio.gather(*sent)


async def measured(operator: Operator, *words: str) -> tuple[str, float, int]:
    """Output, seconds of processor time and peak memory in bytes of a command.

    Not the time on the clock, which other work on the machine makes longer: the command computes
    in one thread and hardly waits.
    """
    script = (
        "import sys, time\n"
        "from consumer.cli.main import run_line\n"
        "code = run_line(sys.argv[1:])\n"
        # Not getrusage's memory: that of who started the process counts in it.
        "status = dict(line.split(':', 1) for line in open('/proc/self/status'))\n"
        "peak = status['VmHWM'].split()[0]\n"
        "print(code, time.process_time(), peak, file=sys.stderr)\n"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script, "dlq", *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=clean_environment(operator.programs.folder, operator.stage.env),
        cwd=operator.programs.folder,
    )
    out, err = await process.communicate()
    code, seconds, kibibytes = err.decode().splitlines()[-1].split()
    assert int(code) == 0, err
    return out.decode(), float(seconds), int(kibibytes) * 1024


async def test_ten_thousand_letters_are_counted_at_once(operator: Operator) -> None:
    """10,000 of 14 kB and five causes, with their results: in 5 s, within 200 MB."""
    await publish_letters(operator.stage, range(10_000), 14_000)
    out, seconds, peak = await measured(operator, "stats", "--json")
    stats = json.loads(out)

    assert stats["letters"] == 10_000
    assert stats["bytes"] > 130_000_000
    assert sorted(stats["reason"].values()) == [2_000] * 5
    assert stats["cause"]["#: refused by AnythingLLM (#)"] == 2_000
    assert len(stats["cause"]) == 5
    assert stats["technology"] == {"docs": 10_000}
    assert len(stats["day"]) == 35
    assert seconds < 5
    assert peak < 200 * MIB


@pytest.mark.slow
async def test_large_letters_are_read_one_after_the_other(operator: Operator) -> None:
    """40 of 7 MiB, as random as text can be: 280 MiB are listed and exported within 200 MB."""
    stage = operator.stage
    for number in range(40):
        text = secrets.token_hex(3 * MIB + MIB // 2)
        await stage.publish(
            document(f"d-{number}", [text[:-1] + str(number % 10)]),
            topic=stage.settings.kafka.dead_letters_topic,
        )
    listed, _, peak = await measured(operator, "list", "--json")
    target = operator.programs.folder / "large.ndjson"
    _, _, exporting = await measured(operator, "export", "--output", str(target))

    assert len(listed.splitlines()) == 40
    assert peak < 200 * MIB
    assert exporting < 200 * MIB
    assert target.stat().st_size > 40 * 7 * MIB
