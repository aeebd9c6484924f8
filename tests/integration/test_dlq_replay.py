"""Dead letters back on the road, on a real broker with the service and a simulated AnythingLLM."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from datetime import UTC, datetime

import orjson
import pytest

from consumer.contract.dead_letter import Cause, DeadLetter
from consumer.contract.received_letter import letter_of
from consumer.contract.reference import Reference, reference_to
from consumer.contract.upload_result import event_id_of
from consumer.kafka.connection import KafkaUnavailableError
from consumer.kafka.topics import TopicSpec, open_admin
from consumer.model.origin import Origin
from consumer.model.outcome import FailureReason
from consumer.model.record import Record
from consumer.operations.letters.payloads import payload_of
from consumer.operations.letters.selection import Selection
from consumer.operations.replay.replay import ReplayRefused
from consumer.operations.replay.run import RunProgress
from consumer.operations.replay.run_store import RunStore, list_runs
from consumer.operations.replay.sources import WrongFileError
from consumer.operations.replay.verdict import ReplayVerdict
from tests.integration.kafka_support import delete_records
from tests.integration.replay_support import (
    Told,
    exported,
    letters_of,
    original_headers,
    parked,
    plan,
    replay,
    replays,
    resume,
)
from tests.integration.service_fixtures import (
    Json,
    MakeStage,
    Stage,
    document,
    eventually,
    header,
    statuses,
    texts,
)


def refuse(stage: Stage, word: str = "REFUSED", status: int = 422) -> None:
    """Have AnythingLLM refuse every text with this word."""
    stage.simulator.faults.add("status", status=status, path="*/raw-text", contains=word)


async def emptied(stage: Stage, topic: str) -> None:
    """Delete every record of a topic, as retention does."""
    await delete_records(stage.connection, topic, dict.fromkeys(range(3), -1))


async def refused(stage: Stage, count: int = 1, word: str = "REFUSED") -> list[Json]:
    """So many documents that are refused whole, dead letters of them, and the service running."""
    refuse(stage, word)
    events = [
        document(f"{word.lower()}-{n}", [f"{word} {n}", f"{word} {n} b"]) for n in range(count)
    ]
    letters, results = len(stage.dead_letters), len(stage.results)
    await stage.publish_all(events)
    if not stage.running:
        await stage.start()
    await stage.wait_dead_letters(letters + count)
    await stage.wait_results(results + count)  # published behind the letters
    return events


# -- causes, what is uploaded, how often -----------------------------------------------------------


async def test_one_cause_after_the_other_and_each_only_once(stage: Stage) -> None:
    """Replaying A leaves B alone, and then B is complete as well; a second time nothing is open."""
    refuse(stage, "REFUSED", 422)
    refuse(stage, "TOO-LONG", 413)
    await stage.start()
    await stage.publish_all([document(f"a-{n}", [f"REFUSED {n}"]) for n in range(5)])
    await stage.publish_all([document(f"b-{n}", [f"TOO-LONG {n}"]) for n in range(3)])
    await stage.wait_results(8)
    stage.simulator.faults.clear()

    looked = await plan(stage)
    first = await replay(stage, selection=Selection(cause="422"))
    after_a = statuses((await stage.wait_results(13))[8:])
    again = await replay(stage, selection=Selection(cause="422"))
    second = await replay(stage, selection=Selection(cause="413"))
    after_b = statuses((await stage.wait_results(16))[13:])
    last = await plan(stage)
    reports = await list_runs(stage.settings, stage.clients)

    assert (looked.plan.to_do, looked.members) == (8, 1)
    assert looked.plan.reasons == {"rejected": 8}
    assert sorted(looked.plan.causes.values()) == [3, 5]
    assert (first.progress.published, first.progress.done) == (5, True)
    assert after_a == {f"a-{n}": "succeeded" for n in range(5)}
    assert again.run is None
    assert again.look.plan.counts == {ReplayVerdict.RESOLVED: 5}
    assert second.progress.published == 3
    assert after_b == {f"b-{n}": "succeeded" for n in range(3)}
    assert (last.plan.to_do, last.plan.counts) == (0, {ReplayVerdict.RESOLVED: 8})
    assert [(r.state, r.progress.published, r.fared) for r in reports] == [
        ("done", 3, {"succeeded": 3}),
        ("done", 5, {"succeeded": 5}),
    ]
    assert len(await replays(stage)) == 8


async def test_only_the_chunks_that_failed_are_uploaded(stage: Stage) -> None:
    """A document of 200 chunks, of which 3 were refused: exactly these 3."""
    refuse(stage)
    words = [t + " REFUSED" * (n in (3, 70, 199)) for n, t in enumerate(texts("guide", 200))]
    await stage.start()
    await stage.publish(document("guide", words))
    (first,) = await stage.wait_results(1)
    stage.simulator.faults.clear()
    before = stage.uploads()
    await replay(stage)
    result = (await stage.wait_results(2))[1]

    assert (first["status"], first["failed_uploads"]) == ("partial", 3)
    assert result["status"] == "succeeded"
    assert sorted(result["uploaded_chunk_ids"]) == sorted(first["failed_chunk_ids"])
    assert len(result["unchanged_chunk_ids"]) == 197
    assert stage.uploads() - before == 3
    assert result["trace_id"] == first["trace_id"]
    assert result["replay_of"]["event_id"] == first["event_id"]
    assert result["replay_of"]["offset"] == first["source"]["offset"]
    (record,) = await replays(stage)
    assert record.at.partition == first["source"]["partition"]


async def test_what_is_under_way_is_not_replayed_again(stage: Stage) -> None:
    """Published and not answered yet: a second run of another operator leaves it alone."""
    await refused(stage, 2)
    await stage.stop()
    first = await replay(stage)
    second = await replay(stage, operator="other@there")
    reports = await list_runs(stage.settings, stage.clients)

    assert first.progress.published == 2
    assert first.look.members == 0
    assert second.run is None
    assert second.look.plan.counts == {ReplayVerdict.IN_FLIGHT: 2}
    assert [report.fared for report in reports] == [{"waiting": 2}]


async def test_a_letter_that_comes_back_too_often_is_parked(make_stage: MakeStage) -> None:
    """After the set number of replays it goes aside, unchanged, and can be brought back."""
    stage = await make_stage({"REPLAY_MAX_REPLAYS": "2"})
    await refused(stage)
    for number in (1, 2):
        await replay(stage)
        await stage.wait_dead_letters(number + 1)
        await stage.wait_results(number + 1)
    last = stage.dead_letters[-1]
    looked = await plan(stage)
    guarded = await replay(stage)
    (aside,) = await parked(stage)
    nothing = await replay(stage)
    stage.simulator.faults.clear()
    back = await replay(stage, from_parked=True)
    results = await stage.wait_results(4)
    twice = await replay(stage, from_parked=True)

    assert header(last, "dlq.replays") == "2"
    assert looked.plan.counts == {ReplayVerdict.PARK: 1, ReplayVerdict.REPLACED: 2}
    assert (guarded.progress.published, guarded.progress.parked) == (0, 1)
    assert (aside.key, aside.value, aside.headers) == (last.key, last.value, last.headers)
    assert nothing.run is None
    assert nothing.look.plan.counts[ReplayVerdict.PARKED] == 1
    assert back.progress.published == 1
    assert results[-1]["status"] == "succeeded"
    assert len({header(letter, "dlq.event-id") for letter in stage.dead_letters}) == 1
    assert twice.run is None
    assert len(await replays(stage)) == 3


async def test_stale_letters_are_left_and_told(stage: Stage) -> None:
    """A newer version is stored, another document was deleted since: old text does not return."""
    refuse(stage)
    await stage.start()
    await stage.publish(document("newer", ["REFUSED"], day=1))
    await stage.publish(document("deleted", ["REFUSED"], day=1))
    await stage.publish(document("open", ["REFUSED"], day=1))
    await stage.wait_results(3)
    await stage.publish(document("newer", ["mended"], day=2))
    await stage.publish(None, key="deleted")
    await stage.wait_results(5)
    stage.simulator.faults.clear()
    done = await replay(stage)
    await stage.wait_results(6)

    assert done.look.plan.counts == {ReplayVerdict.REPLAY: 1, ReplayVerdict.STALE: 2}
    assert done.progress.published == 1
    assert done.progress.skipped == {"stale": 2}
    assert stage.stored() == {"newer": ["mended"], "open": ["REFUSED"]}


async def test_a_tombstone_replays_into_its_workspace(make_stage: MakeStage) -> None:
    """A removal that was not allowed then and is now, in the workspace that its header names."""
    stage = await make_stage(
        {"ROUTING_ALLOWED_WORKSPACES": "docs"}, workspaces=("docs", "elsewhere")
    )
    await stage.start(ROUTING_ALLOWED_WORKSPACES="docs,elsewhere")
    for slug in ("docs", "elsewhere"):
        await stage.publish(document("guide", [f"a text for {slug}"], workspace=slug))
    await stage.wait_results(2)
    await stage.stop()
    stage.running.clear()
    strict = await stage.start()
    await stage.publish(None, key="guide", headers=(("workspace", b"elsewhere"),))
    (letter,) = await stage.wait_dead_letters(1)
    await stage.wait_results(3)
    await strict.stop()
    stage.running.clear()
    await stage.start(ROUTING_ALLOWED_WORKSPACES="docs,elsewhere")
    done = await replay(stage)
    result = (await stage.wait_results(4))[3]
    again = await replay(stage)

    assert header(letter, "dlq.reason") == "unroutable"
    assert done.progress.published == 1
    (record,) = await replays(stage)
    assert (record.key, record.value, record.header("workspace")) == (b"guide", None, b"elsewhere")
    assert (result["status"], result["workspace_slug"]) == ("deleted", "elsewhere")
    assert stage.stored("elsewhere") == {}
    assert stage.stored("docs") == {"guide": ["a text for docs"]}
    assert again.run is None


# -- bytes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_file", [False, True], ids=["from the topic", "from a file"])
async def test_every_byte_is_as_it_was(stage: Stage, by_file: bool) -> None:
    """Key, value and headers after dead letter, export, import and replay."""
    odd = (("a", b"\x00\xff"), ("a", b"twice"), ("ünï", b""), ("traceparent", b"nonsense"))
    originals = [
        (b"\xff\xfe key", b"\x00\x01 no json \xff", odd),
        (None, b"null", ()),
        (b"", b"", odd),
        (b"k", b'{"id": "x", "chunks": 17}\n', odd[:1]),
    ]
    await stage.start()
    for key, value, headers in originals:
        await stage.publish(value, key=key, headers=headers, partition=1)
    await stage.wait_dead_letters(4)
    lines = exported(stage.dead_letters)
    done = await replay(stage, lines=(lambda: lines) if by_file else None, path="x")
    await stage.wait_dead_letters(8)

    found = await replays(stage)
    assert done.progress.published == 4
    assert Counter((r.key, r.value, tuple(original_headers(r))) for r in found) == Counter(
        originals
    )
    assert {record.at.partition for record in found} == {1}
    again = [(r.key, r.value, tuple(original_headers(r))) for r in stage.dead_letters[4:]]
    assert Counter(again) == Counter(originals)
    assert len({header(letter, "dlq.event-id") for letter in stage.dead_letters}) == 4
    assert {header(letter, "dlq.replays") for letter in stage.dead_letters[4:]} == {"1"}


async def test_a_file_has_the_same_guards_as_the_topic(stage: Stage) -> None:
    """What was answered since it was written is left; a line that is no letter stops all of it."""
    await refused(stage, 3)
    lines = exported(stage.dead_letters)
    stage.simulator.faults.clear()
    await replay(stage, selection=Selection(document="refused-1"))
    await stage.wait_results(4)
    done = await replay(stage, lines=lambda: [*lines, *lines], path="/a/file")
    results = await stage.wait_results(6)

    assert done.look.plan.counts == {ReplayVerdict.REPLAY: 2, ReplayVerdict.RESOLVED: 1}
    assert [r["document_id"] for r in results[4:]] in (
        ["refused-0", "refused-2"],
        ["refused-2", "refused-0"],
    )
    with pytest.raises(WrongFileError, match="letter 2 of the file: not JSON"):
        await plan(stage, lines=lambda: [lines[0], b"{nonsense"], path="x")


async def test_a_file_replays_what_the_topic_has_lost(stage: Stage) -> None:
    """Exported, gone from the topic, replayed: guarded by what results say of its event."""
    await refused(stage, 2)
    lines = exported(stage.dead_letters)
    await stage.publish(document("refused-1", ["mended"], day=5))
    await stage.wait_results(3)
    await emptied(stage, stage.settings.kafka.dead_letters_topic)
    stage.simulator.faults.clear()
    done = await replay(stage, lines=lambda: lines, path="x")
    results = await stage.wait_results(4)

    assert done.look.plan.counts == {ReplayVerdict.REPLAY: 1, ReplayVerdict.STALE: 1}
    assert (results[-1]["document_id"], results[-1]["status"]) == ("refused-0", "succeeded")
    assert results[-1]["replay_of"] is not None


# -- by reference ----------------------------------------------------------------------------------


async def by_reference(stage: Stage, record: Record, **changes: object) -> None:
    """A dead letter that only refers to a record, as the service writes it."""
    async with open_admin(stage.connection) as admin:
        cluster = await admin.cluster_id()
    reference = reference_to(record)
    if changes:
        fields = {name: getattr(reference, name) for name in Reference.__slots__}
        reference = Reference(**(fields | changes))
    letter = DeadLetter(
        record=reference,
        origin=Origin(record.at, reference.timestamp_ms or 0),
        cause=Cause(FailureReason.OVERSIZED, "too large for its topic", "settle", "x"),
        event_id=event_id_of(record, cluster),
        trace_id="0" * 31 + "1",
        group=stage.settings.kafka.group_id,
        task="test",
        failed_at=datetime(2026, 3, 2, tzinfo=UTC),
        identity="large",
        document_id="large",
    )
    topic = stage.settings.kafka.dead_letters_topic
    await stage.publish(letter.value, key=letter.key, headers=letter.headers, topic=topic)


async def test_a_letter_by_reference_replays_its_original(stage: Stage) -> None:
    """Fetched from where it lay, key, value and headers; its own letter holds none of it."""
    await stage.publish(document("large", ["a text"]), headers=(("kind", b"large"),), partition=2)
    (original,) = await stage.everything(stage.documents)
    await by_reference(stage, original)
    (letter,) = map(letter_of, await stage.wait_dead_letters(1))
    shown = await payload_of(stage.clients, letter)
    looked = await plan(stage)
    done = await replay(stage)

    assert shown == original
    assert (looked.plan.by_reference, looked.plan.originals_there) == (1, 1)
    assert done.progress.published == 1
    (record,) = await replays(stage)
    assert (record.key, record.value) == (original.key, original.value)
    assert original_headers(record) == [("kind", b"large")]
    assert record.at.partition == 2


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, "not there any more"),
        ({"value_sha256": "0" * 64}, "another record"),
        ({"value_bytes": 3}, "another record"),
        ({"key": b"another"}, "another record"),
        ({"timestamp_ms": 1}, "another record"),
    ],
    ids=["expired", "other bytes", "other size", "other key", "other timestamp"],
)
async def test_a_letter_whose_original_can_not_be_had_stays_open(
    stage: Stage, changes: Json, why: str
) -> None:
    """Skipped and told; nothing is published in its place; `dlq show` says the same beforehand."""
    await stage.publish(document("large", ["a text"]))
    (original,) = await stage.everything(stage.documents)
    await by_reference(stage, original, **changes)
    (letter,) = map(letter_of, await stage.wait_dead_letters(1))
    if not changes:
        await emptied(stage, stage.documents)
    shown = await payload_of(stage.clients, letter)
    looked = await plan(stage)
    done = await replay(stage)
    again = await plan(stage)

    assert shown is None
    assert looked.plan.originals_there == (1 if changes else 0), "by the place alone"
    ((reason, count),) = done.progress.skipped.items()
    assert why in reason
    assert (count, done.progress.published, done.progress.done) == (1, 0, True)
    assert await replays(stage) == []
    assert again.plan.to_do == 1


# -- what is not ours, what is missing -------------------------------------------------------------


async def test_foreign_letters_need_force(stage: Stage) -> None:
    """Left without it, told; with it an event that begins where the letter lies, once."""
    letters = stage.settings.kafka.dead_letters_topic
    event = orjson.dumps(document("theirs", ["a text"]))
    forged = (("dlq.event-id", b"x"), ("dlq.replays", b"99"), ("theirs", b"1"))
    await stage.publish(event, key=b"theirs", headers=forged, topic=letters)
    await stage.publish(b"\xff\x00", key=None, topic=letters)
    await stage.wait_dead_letters(2)
    without = await replay(stage)
    done = await replay(stage, force=True)
    await stage.start()
    (result,) = await stage.wait_results(1)
    await stage.wait_dead_letters(3)
    await stage.stop()
    last = await plan(stage, force=True)

    assert without.run is None
    assert without.look.plan.counts == {ReplayVerdict.FOREIGN: 2}
    assert done.progress.published == 2
    assert (result["status"], result["document_id"]) == ("succeeded", "theirs")
    assert result["replay_of"]["topic"] == letters
    assert original_headers((await replays(stage))[0]) in ([("theirs", b"1")], [])
    assert last.plan.counts[ReplayVerdict.RESOLVED] == 1
    assert last.plan.reasons == {"undecodable": 1}


async def test_results_that_do_not_reach_back_stop_a_run(stage: Stage) -> None:
    """Nobody can tell what is stale then; it names the setting, and does as it is told."""
    await refused(stage, 2)
    await emptied(stage, stage.settings.kafka.results_topic)
    stage.simulator.faults.clear()
    looked = await plan(stage)
    with pytest.raises(ReplayRefused, match=r"retention\.ms=-1"):
        await replay(stage)
    before = await replays(stage)
    done = await replay(stage, despite_missing_results=True)

    assert looked.plan.unanswered == 2
    assert "--despite-missing-results" in looked.refused[0]
    assert before == []
    assert done.progress.published == 2


async def test_a_replay_topic_with_fewer_partitions_is_refused(stage: Stage) -> None:
    """On another partition a replay could overtake a live event of its document."""
    few = f"{stage.settings.kafka.replay_topic}-few"
    async with open_admin(stage.connection) as admin:
        await admin.create([TopicSpec(few, "a test", 1)], 1)
    refuse(stage)
    await stage.start()
    await stage.publish(document("guide", ["REFUSED"]), partition=2)
    await stage.wait_results(1)
    settings = stage.with_settings(KAFKA_REPLAY_TOPIC=few)
    try:
        with pytest.raises(ReplayRefused, match=r"has 1 partitions.* --partitions 3"):
            await replay(stage, settings=settings)
    finally:
        async with open_admin(stage.connection) as admin:
            await admin.delete([few])


@pytest.mark.parametrize("name", ["DEAD_LETTERS", "REPLAY", "RESULTS"])
async def test_a_missing_topic_is_a_line_and_no_hang(stage: Stage, name: str) -> None:
    """It names the topic and the command that makes it."""
    settings = stage.with_settings(**{f"KAFKA_{name}_TOPIC": "test-nowhere"})
    async with asyncio.timeout(20):
        with pytest.raises(KafkaUnavailableError, match=r"test-nowhere.*topics create"):
            await replay(stage, settings=settings)


async def test_an_empty_topic_is_nothing_to_do(stage: Stage) -> None:
    """No run is made of it."""
    done = await replay(stage)

    assert (done.run, done.look.plan.to_do, done.progress.done) == (None, 0, True)
    assert await list_runs(stage.settings, stage.clients) == []


async def test_a_record_that_does_not_fit_is_skipped_alone(make_stage: MakeStage) -> None:
    """A topic that takes less than it should: those that fit go on, it is told, it stays open."""
    stage = await make_stage({}, topics=False)
    await stage.create_topics("documents in", "results out", "dead letters out")
    small = {"max.message.bytes": "20000"}
    replay_topic = stage.settings.kafka.replay_topic
    async with open_admin(stage.connection) as admin:
        await admin.create([TopicSpec(replay_topic, "a test", 3, small)], 1)
        await admin.create([TopicSpec(stage.settings.kafka.parked_topic, "a test", 3)], 1)
    noise = random.Random(1).randbytes(40_000).hex()
    refuse(stage)
    await stage.start()
    for id, more in (("a", ""), ("large", noise), ("z", "")):
        await stage.publish(document(id, [f"REFUSED {id} {more}"]), partition=0)
    await stage.wait_results(3)
    done = await replay(stage)
    await stage.wait_results(5)

    assert done.progress.published == 2
    assert done.progress.skipped == {"too large for its topic": 1}
    assert {header(r, "dlq.letter") is not None for r in await replays(stage)} == {True}
    assert [(each.key) for each in await replays(stage)] == [b"a", b"z"]


# -- runs ------------------------------------------------------------------------------------------


async def test_the_second_operator_is_refused_with_the_reason(stage: Stage) -> None:
    """Who is at it, since which run, and from where; the first one goes on undisturbed."""
    await refused(stage, 6)
    quick = stage.with_settings(KAFKA_SESSION_TIMEOUT_SECONDS="2")
    at_work = Told()
    first = asyncio.create_task(
        replay(stage, settings=quick, told=at_work, rate=0.8, operator="alice@one")
    )
    await eventually(lambda: at_work.runs)
    told = Told()
    with pytest.raises(ReplayRefused, match=r"run \d{8}-\d{6}-\w{4} of alice@one, from 127"):
        await replay(stage, settings=quick, told=told, operator="bob@two")
    (report,) = await list_runs(stage.settings, stage.clients)
    done = await first

    assert report.state == "running"
    assert len(told.waited_for) == 1
    assert told.runs == []
    assert done.progress.published == 6
    assert sorted(Counter(letters_of(await replays(stage))).values()) == [1] * 6


async def test_a_run_that_was_interrupted_goes_on(stage: Stage) -> None:
    """By its id alone, with the filters it had; a letter that came meanwhile is none of its."""
    await refused(stage, 8)
    told = Told()
    chosen = Selection(text="refused-", reasons=frozenset({"rejected"}))
    task = asyncio.create_task(replay(stage, told=told, rate=4, selection=chosen))
    await eventually(lambda: told.done >= 3)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    (run,) = told.runs
    (interrupted,) = await list_runs(stage.settings, stage.clients)
    await refused(stage, 1, "refused-9 REFUSED")
    done = await resume(stage, run.id, rate=1000.0)
    again = await resume(stage, run.id)
    (report,) = await list_runs(stage.settings, stage.clients)

    assert interrupted.state == "interrupted"
    assert 3 <= interrupted.progress.published < 8
    assert (done.progress.published, done.progress.done) == (8, True)
    assert again.progress.done
    assert (report.state, report.run.selected, report.progress.published) == ("done", 8, 8)
    assert sorted(Counter(letters_of(await replays(stage))).values()) == [1] * 8


async def test_what_was_published_and_not_committed_is_not_published_again(stage: Stage) -> None:
    """As after a crash between the two: the run finds its own records on the replay topic."""
    await refused(stage, 4)
    await stage.stop()
    done = await replay(stage)
    assert done.run is not None
    async with open_admin(stage.connection) as admin:
        await RunStore(admin, stage.settings).save(done.run, RunProgress())
    before = await list_runs(stage.settings, stage.clients)
    resumed = await resume(stage, done.run.id)

    assert before[0].state == "interrupted"
    assert (resumed.progress.published, resumed.progress.done) == (4, True)
    assert len(await replays(stage)) == 4


@pytest.mark.parametrize(
    ("id", "told"),
    [("nonsense", "no run"), ("20260101-000000-0000", "there is no run")],
)
async def test_a_run_that_there_is_not_is_told(stage: Stage, id: str, told: str) -> None:
    """Wrong usage, with the command that lists them."""
    with pytest.raises(ReplayRefused, match=f"{told}.*dlq runs") as refusal:
        await resume(stage, id)

    assert refusal.value.usage


async def test_filters_that_can_not_be_kept_are_refused_before_anything_is_done(
    stage: Stage,
) -> None:
    """Kafka keeps 4 KiB beside an offset, and a run must be resumable by its id alone."""
    await refused(stage, 1)
    names = frozenset(
        [f"x-{n:040}" for n in range(200)] + [header(stage.dead_letters[0], "dlq.event-id") or ""]
    )
    with pytest.raises(ReplayRefused, match="too long") as refusal:
        await replay(stage, selection=Selection(events=names))

    assert refusal.value.usage
    assert await replays(stage) == []


# -- beside live work ------------------------------------------------------------------------------


@pytest.mark.slow
async def test_two_hundred_poison_replays_do_not_pause_the_live_stream(
    make_stage: MakeStage,
) -> None:
    """Live documents are answered meanwhile; the breaker stays closed and the fuse whole."""
    stage = await make_stage({"FUSE_WINDOW": "60", "FUSE_MINIMUM": "20", "FUSE_SHARE": "0"})
    stage.simulator.faults.embedder_poison = ["POISON"]
    first = await stage.start()
    await stage.publish_all([document(f"p-{n}", [f"POISON {n}"]) for n in range(200)])
    await stage.wait_dead_letters(200, seconds=100)
    await first.stop()
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
