"""An operator's whole way on a real Kafka, a journey a theme; each command once as a process.

What decides along it is proven on a Kafka in memory: tests/operations.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import re
import secrets
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path

import pytest

from consumer.contract.exported_letter import decode_exported
from consumer.contract.received_letter import letter_of
from consumer.kafka.reader import read_topic
from consumer.kafka.topic_spec import TopicSpec
from consumer.model.names import Location, Slug
from tests.client.support import client_for
from tests.commands import Commands, clean_environment
from tests.e2e.support import Process, Programs, until
from tests.integration.kafka_support import delete_records
from tests.integration.service_fixtures import MakeStage, Stage
from tests.operations.auditing import look
from tests.operations.letters import foreign_letters
from tests.operations.replaying import (
    Told,
    letters_of,
    original_headers,
    parked,
    replay,
    replays,
    resume,
)
from tests.staging import Json, document, eventually, texts
from tests.terminals import written_to
from tests.topics import create_topics


def objects(out: str) -> list[Json]:
    """JSON lines."""
    return [json.loads(line) for line in out.splitlines()]


def on_a_terminal(programs: Programs, settings: Mapping[str, str], *words: str) -> str:
    """What a command writes to a terminal of 100 columns."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "consumer", *words],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        cwd=programs.folder,
        env=clean_environment(programs.folder, settings) | {"COLUMNS": "100", "TERM": "xterm"},
    )
    os.close(theirs)
    written = written_to(ours)
    assert process.wait(30) == 0
    return written.decode()


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
    await stage.wait_committed()  # else a rebalance would have it all dead-lettered once more


async def refused(stage: Stage, count: int) -> None:
    """So many documents that are refused whole, and nobody at work."""
    stage.simulator.faults.add("status", status=422, path="*/raw-text", contains="REFUSED")
    await stage.publish_all([document(f"d-{n}", [f"REFUSED {n}"]) for n in range(count)])
    await stage.start()
    await stage.wait_results(count)
    await stage.finish()


async def test_a_dead_letter_from_its_cause_to_its_resolution(
    stage: Stage, programs: Programs, commands: Commands
) -> None:
    """Listed, shown, counted; mended, replayed, answered: then it is open no more."""
    await failing(stage)
    listed, shown, counted, planned = await asyncio.gather(
        programs.run("dlq", "list", "--json", settings=stage.env),
        programs.run("dlq", "show", "guide", "--json", settings=stage.env),
        programs.run("dlq", "stats", "--json", settings=stage.env),
        commands.run("dlq", "replay", "--reason", "rejected", "--json", settings=stage.env),
    )
    stage.simulator.faults.clear()
    before = stage.uploads()
    replayed = await programs.run(
        "dlq", "replay", "--reason", "rejected", "--yes", "--json", settings=stage.env
    )
    last = (await stage.wait_results(4))[3]
    runs, results, after = await asyncio.gather(
        programs.run("dlq", "runs", "--json", settings=stage.env),
        programs.run("results", "--json", "--document", "guide", settings=stage.env),
        commands.run("dlq", "list", "--all", "--document", "guide", "--json", settings=stage.env),
    )

    assert (listed.code, shown.code, counted.code, planned.code) == (0, 0, 0, 3)
    assert {(one["reason"], one["standing"]) for one in objects(listed.out)} == {
        (reason, "open") for reason in ("rejected", "invalid", "undecodable", "unroutable")
    }
    assert shown.json["failed_chunk_ids"] == ["guide_chunk_3"]
    assert (shown.json["stored_now"]["chunks"], shown.json["answered"]) == (19, True)
    assert counted.json["letters"] == 4
    assert (planned.json["plan"]["replay"], planned.json["instances"]) == (1, 1)
    assert (replayed.code, replayed.json["published"]) == (0, 1)
    assert (last["status"], last["uploaded_chunk_ids"]) == ("succeeded", ["guide_chunk_3"])
    assert stage.uploads() - before == 1
    assert (runs.json["state"], runs.json["results"]) == ("done", {"succeeded": 1})
    assert sorted(one["status"] for one in objects(results.out)) == ["partial", "succeeded"]
    assert (after.json["standing"], after.json["last_status"]) == ("resolved", "succeeded")
    (record,) = await replays(stage)
    assert (record.at.partition, record.key) == (0, b"guide")


async def test_on_a_terminal_tables_and_bars_are_drawn(stage: Stage, programs: Programs) -> None:
    """Only what tells letters apart; a bar a day; what letters say can't steer the terminal."""
    for key, value, headers in foreign_letters():
        topic = stage.settings.kafka.dead_letters_topic
        await stage.publish(value, key=key, headers=headers, topic=topic)
    listed, stats = await asyncio.gather(
        asyncio.to_thread(on_a_terminal, programs, stage.env, "dlq", "list"),
        asyncio.to_thread(on_a_terminal, programs, stage.env, "dlq", "stats"),
    )

    assert "place" in listed
    assert "standing" not in listed
    assert "foreign" in listed
    assert "█" * 50 in stats
    assert "\x1b]0;title" not in listed + stats


async def test_parked_exported_and_brought_back(
    stage: Stage, programs: Programs, commands: Commands, tmp_path: Path
) -> None:
    """The copy is the letter byte for byte, in the topic and in the file; then it is replayed."""
    await failing(stage)
    letters = {letter_of(each).reason: each for each in stage.dead_letters}
    name = letter_of(letters["rejected"]).event
    packed = tmp_path / "letters.ndjson.gz"
    exported = await programs.run("dlq", "export", "--output", str(packed), settings=stage.env)
    put_aside = await programs.run("dlq", "park", name, "--yes", settings=stage.env)
    (copy,) = await parked(stage)
    stage.simulator.faults.clear()
    back = await commands.run("dlq", "replay", "--from", "parked", "--yes", settings=stage.env)
    await stage.wait_results(4)
    left = await commands.run("dlq", "list", "--parked", "--json", settings=stage.env)

    assert (exported.code, put_aside.code, back.code, left.out) == (0, 0, 0, "")
    original = letters["rejected"]
    assert (copy.key, copy.value, copy.headers) == (
        original.key, original.value, original.headers
    )  # fmt: skip
    lines = gzip.decompress(packed.read_bytes()).splitlines()
    assert sorted(map(decode_exported, lines), key=lambda one: one.at) == sorted(
        stage.dead_letters, key=lambda one: one.at
    )
    assert sorted(stage.stored()) == ["guide"]


async def test_a_letter_by_reference_stands_for_its_original(
    make_stage: MakeStage, commands: Commands
) -> None:
    """Too large for its topic: `show` and replay fetch the original, until that has expired."""
    stage = await make_stage(topics=False)
    await stage.create_topics(
        "documents in", "replayed dead letters in", "results out", "dead letters put aside"
    )
    letters = stage.settings.kafka.dead_letters_topic
    spec = TopicSpec(letters, "dead letters out", 1, {"max.message.bytes": "20000"})
    await create_topics(stage.connection, [spec])
    stage.follow(letters)
    garbage = secrets.token_bytes(60_000)
    await stage.start()
    await stage.publish(garbage, key="large", headers=(("kind", b"large"),), partition=1)
    await stage.wait_dead_letters(1)
    await stage.finish()
    shown = await commands.run("dlq", "show", "0@0", "--json", "--payload", settings=stage.env)
    done = await replay(stage)
    (record,) = await replays(stage)
    await delete_records(stage.connection, stage.documents, {1: 1})
    gone = await commands.run("dlq", "show", "0@0", settings=stage.env)

    assert (shown.json["by_reference"], shown.json["original_there"]) == (True, True)
    assert len(shown.json["payload"]["base64"]) == 80_000
    assert done.progress.published == 1
    assert (record.key, record.value, record.at.partition) == (b"large", garbage, 1)
    assert original_headers(record) == [("kind", b"large")]
    assert "its original is not there any more" in gone.err


async def test_the_second_operator_is_refused_with_the_reason(
    stage: Stage, commands: Commands
) -> None:
    """Who is at it, since which run, and from where; the first one goes on undisturbed."""
    await refused(stage, 12)
    quick = stage.env | {"KAFKA_SESSION_TIMEOUT_SECONDS": "2"}
    at_work = Told()
    first = asyncio.create_task(
        replay(
            stage,
            settings=stage.with_settings(KAFKA_SESSION_TIMEOUT_SECONDS="2"),
            told=at_work,
            rate=0.8,
            operator="alice@one",
        )
    )
    await eventually(lambda: at_work.runs)
    second = await commands.run("dlq", "replay", "--yes", settings=quick)
    runs = await commands.run("dlq", "runs", "--json", settings=stage.env)
    so_far = at_work.done
    await eventually(lambda: at_work.done > so_far)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    done = await resume(stage, runs.json["run"], rate=1000.0)

    assert second.code == 1
    assert re.search(r"run \d{8}-\d{6}-\w{4} of alice@one, from 127", second.err)
    assert "waiting that long" in second.err
    assert runs.json["state"] == "running"
    assert done.progress.published == 12
    assert sorted(Counter(letters_of(await replays(stage))).values()) == [1] * 12


async def begun(process: Process) -> str:
    """The id of the run that a process carries out, once it has replayed something."""

    def found() -> str | None:
        shown = re.search(r"^run (\S+): ", process.err, re.MULTILINE)
        assert process.running, process.err
        return shown[1] if shown and '"replay.published"' in process.err else None

    return str(await until(found, "a record is replayed"))


async def test_interrupted_and_killed_a_run_goes_on(
    stage: Stage, programs: Programs, commands: Commands
) -> None:
    """Ctrl-C ends it within moments with the command to resume it; after SIGKILL it is the same.

    It goes on by its id alone, and nothing is replayed twice.
    """
    await refused(stage, 8)
    quick = stage.env | {"KAFKA_SESSION_TIMEOUT_SECONDS": "2"}
    words = ("dlq", "replay", "--rate", "2")
    first = await programs.start(*words, "--yes", settings=quick)
    run = await begun(first)
    first.signal(signal.SIGINT)
    code = await first.ended()
    listed = await commands.run("dlq", "runs", "--json", settings=quick)
    second = await programs.start(*words, "--resume", run, settings=quick)
    await begun(second)
    await second.kill()
    done = await commands.run("dlq", "replay", "--resume", run, "--rate", "100", settings=quick)
    done_again = await commands.run("dlq", "replay", "--resume", run, settings=quick)
    runs = await commands.run("dlq", "runs", "--json", settings=quick)

    assert code == 130
    assert f"dlq replay --resume {run}" in first.err
    assert "Traceback" not in first.err
    assert listed.json["state"] == "interrupted"
    assert 1 <= listed.json["published"] < 8
    assert (done.code, done_again.code) == (0, 0)
    assert (runs.json["state"], runs.json["published"], runs.json["skipped"]) == ("done", 8, 0)
    assert sorted(Counter(letters_of(await replays(stage))).values()) == [1] * 8


async def test_an_audit_and_a_story_of_what_is_lost(
    stage: Stage, programs: Programs, commands: Commands
) -> None:
    """Clean while all is well; then a chunk that is gone is named, and its document's story told.

    Two versions, a deleted document and junk are explained, and so is what waits.
    """
    await stage.publish_all(
        [
            *(document(f"d{n}", texts(f"d{n}", 1 + n % 4)) for n in range(8)),
            document("d1", texts("newer", 3), day=1),
        ]
    )
    await stage.publish(None, key="d4")
    await stage.publish(b"{nonsense", key="d5")
    await stage.start()
    await stage.wait_results(10)
    await stage.wait_committed()
    second = {"ANYTHINGLLM_AMBIGUITY_SECONDS": "1", "UPLOAD_TIMEOUT_SECONDS": "1"}
    clean = await programs.run("audit", "--json", settings=stage.env | second)
    await stage.finish()
    files = stage.simulator.state.files.values()
    (lost,) = [file for file in files if file.text == texts("d2", 3)[1]]
    async with client_for(stage.simulator) as client:
        await client.storage.remove(Slug("docs"), [Location(lost.location)])
    await stage.publish(document("d1", ["waiting"], day=2))
    damaged, whole, waiting, quick = await asyncio.gather(
        commands.run("audit", "--json", settings=stage.env | second),
        programs.run("where", "d2", "--json", settings=stage.env),
        commands.run("where", "d1", "--json", settings=stage.env),
        commands.run("where", "d1", "--json", "--quick", settings=stage.env),
    )

    (totals,) = objects(clean.out)
    assert (clean.code, totals["events"], totals["documents"]) == (0, 11, 7)
    assert (totals["stored"], totals["unexplained"], totals["invalid_events"]) == (7, 0, 1)
    found, totals = objects(damaged.out)
    assert (damaged.code, found["kind"], found["identity"]) == (3, "incomplete", "d2")
    assert (totals["stored"], totals["waiting"], totals["unexplained"]) == (5, 1, 1)
    (held,) = whole.json["stored"]
    assert (whole.code, held["chunks"], held["chunks_wanted"], held["complete"]) == (0, 2, 3, False)
    assert [each["status"] for each in whole.json["results"]] == ["succeeded"]
    assert [each["progress"] for each in waiting.json["events"]] == ["done", "done", "waiting"]
    assert quick.json["events"] == waiting.json["events"]
    assert len(quick.json["narrowed"]) == 4


async def test_an_audit_beside_a_service_that_works(stage: Stage) -> None:
    """However often it looks while documents come, change and go, it finds nothing unexplained.

    What seems to be wrong is looked at twice. So a document does one of the three here: one that
    does another between the events and the listing of each look can seem to be wrong both times.
    """
    await stage.publish_all(document(f"d{n}", texts(f"d{n}", 1 + n % 3)) for n in range(24))
    await stage.start()
    await stage.wait_results(24)

    async def publish() -> None:
        for n in range(24):
            await stage.publish(document(f"more-{n}", texts(f"more-{n}", 1 + n % 3)))
            if n % 4 == 0:
                await stage.publish(None, key=f"d{n}")
                await stage.publish(b"junk", key="junk")
            else:
                await stage.publish(document(f"d{n}", texts(f"new d{n}", 1 + n % 2), day=1))

    publishing = asyncio.create_task(publish())
    living = [await look(stage, sleep=asyncio.sleep) for _ in range(3)]
    await publishing
    await stage.wait_results(24 + 2 * 24)
    await stage.wait_committed()
    last = await look(stage, sleep=asyncio.sleep)

    # A note only: what was stored after the events had been read is newer than any event read.
    assert [[one for one in each.found if not one.is_note] for each in living] == [[], [], []]
    assert (last.found, last.summary.invalid, last.summary.documents) == ([], 6, 24 + 24 - 6)


@pytest.mark.slow
async def test_two_hundred_poison_replays_do_not_pause_the_live_stream(
    make_stage: MakeStage,
) -> None:
    """Live documents are answered meanwhile; the breaker stays closed and the fuse whole."""
    stage = await make_stage({"FUSE_WINDOW": "60", "FUSE_MINIMUM": "20", "FUSE_SHARE": "0"})
    stage.simulator.faults.embedder_poison = ["POISON"]
    await stage.start()
    await stage.publish_all([document(f"p-{n}", [f"POISON {n}"]) for n in range(200)])
    await stage.wait_dead_letters(200, seconds=100)
    await stage.finish()
    stage.running.clear()
    running = await stage.start(FUSE_SHARE="0.5")
    done = await replay(stage)
    live = [document(f"live-{n}", [f"a live text {n}"]) for n in range(30)]
    await stage.publish_all(live)
    results = await stage.wait_results(430, seconds=100)

    assert done.progress.published == 200
    by_status = Counter(r["status"] for r in results if r["document_id"].startswith("live"))
    assert by_status == {"succeeded": 30}
    positions = [n for n, r in enumerate(results) if r["document_id"].startswith("live")]
    assert positions[-1] < 429, "live documents waited for all of the replays"
    assert not running.service.condition.ready()


@pytest.mark.slow
async def test_a_document_from_its_publishing_to_its_deletion(
    stage: Stage, programs: Programs, tmp_path: Path
) -> None:
    """Published and waited for, found by its trace; deleted by its id, and found by that."""
    await stage.start()
    path = tmp_path / "events.ndjson"
    path.write_text(json.dumps(document("guide", texts("guide", 3))))
    stored = await programs.run("publish", "--wait", "--json", str(path), settings=stage.env)
    trace = stored.json["events"][0]["trace_id"]
    by_trace = await programs.run("results", "--json", "--trace", trace, settings=stage.env)
    deleted = await programs.run("publish", "--delete", "--wait", "guide", settings=stage.env)
    story = await programs.run("results", "--json", "--document", "guide", settings=stage.env)

    assert (stored.code, stored.json["results"]) == (0, {"succeeded": 1})
    assert by_trace.json["document_id"] == "guide"
    assert (deleted.code, deleted.err) == (0, "")
    assert deleted.out.endswith("results: 1 deleted; 3 chunks removed\n")
    assert [one["status"] for one in objects(story.out)] == ["deleted", "succeeded"]
    assert stage.stored() == {}


@pytest.mark.slow
async def test_who_waits_for_results_is_told_what_came_when_he_leaves(
    stage: Stage, programs: Programs, tmp_path: Path
) -> None:
    """Ctrl-C while nobody runs the service: exit 130; the event lies there all the same."""
    path = tmp_path / "events.ndjson"
    path.write_text(json.dumps(document("guide", ["a text"])))
    process = await programs.start("publish", "--wait", str(path), settings=stage.env)
    async with aclosing(read_topic(stage.connection, stage.documents, follow=True)) as records:
        await anext(records)
    process.signal(signal.SIGINT)

    assert await process.ended() == 130
    # The acknowledgement may have been on its way to it still.
    assert re.match(r"interrupted: ([01]) of 1 events (are|were) published", process.err)
