"""Which dead letters are replayed, as what, and what comes of it. Kafka is in memory."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import replace

import orjson
import pytest

from consumer.contract.received_letter import letter_of
from consumer.kafka.connection import KafkaUnavailableError
from consumer.model.reason import FailureReason
from consumer.model.record import Record
from consumer.model.remedy import REMEDIES
from consumer.operations.letters.selection import Selection
from consumer.operations.replay.prospects import GONE
from consumer.operations.replay.replay import ReplayRefused
from consumer.operations.replay.run_store import list_runs
from consumer.operations.replay.sources import WrongFileError
from consumer.operations.replay.verdict import ReplayVerdict
from tests.doubles.stage import MemoryStage
from tests.operations.conftest import MakeStage
from tests.operations.letters import by_reference, refuse, refused
from tests.operations.replaying import (
    exported,
    original_headers,
    parked,
    payload_of,
    plan,
    replay,
    replays,
)
from tests.staging import Json, document, header, statuses, texts
from tests.unit.contract.other_letters import connect_record, share_record, spring_record

# -- causes, what is uploaded, how often -----------------------------------------------------------


async def test_one_cause_after_the_other_and_each_only_once(stage: MemoryStage) -> None:
    """Replaying A leaves B alone, and then B is complete as well; a second time nothing is open."""
    refuse(stage, "REFUSED", 422)
    refuse(stage, "TOO-LONG", 413)
    stage.start()
    stage.publish_all([document(f"a-{n}", [f"REFUSED {n}"]) for n in range(5)])
    stage.publish_all([document(f"b-{n}", [f"TOO-LONG {n}"]) for n in range(3)])
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


async def test_only_the_chunks_that_failed_are_uploaded(stage: MemoryStage) -> None:
    """A document of 200 chunks, of which 3 were refused: exactly these 3."""
    refuse(stage)
    words = [t + " REFUSED" * (n in (3, 70, 199)) for n, t in enumerate(texts("guide", 200))]
    stage.start()
    stage.publish(document("guide", words))
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


async def test_what_is_under_way_is_not_replayed_again(stage: MemoryStage) -> None:
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


async def test_stale_letters_are_left_and_told(stage: MemoryStage) -> None:
    """A newer version is stored, another document was deleted since: old text does not return."""
    refuse(stage)
    stage.start()
    stage.publish(document("newer", ["REFUSED"], day=1))
    stage.publish(document("deleted", ["REFUSED"], day=1))
    stage.publish(document("open", ["REFUSED"], day=1))
    await stage.wait_results(3)
    stage.publish(document("newer", ["mended"], day=2))
    stage.publish(None, key="deleted")
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
    stage.start(ROUTING_ALLOWED_WORKSPACES="docs,elsewhere")
    for slug in ("docs", "elsewhere"):
        stage.publish(document("guide", [f"a text for {slug}"], workspace=slug))
    await stage.wait_results(2)
    await stage.stop()
    stage.start()
    stage.publish(None, key="guide", headers=(("workspace", b"elsewhere"),))
    (letter,) = await stage.wait_dead_letters(1)
    await stage.wait_results(3)
    await stage.stop()
    stage.start(ROUTING_ALLOWED_WORKSPACES="docs,elsewhere")
    as_it_was = await plan(stage)
    mended = stage.with_settings(ROUTING_ALLOWED_WORKSPACES="docs,elsewhere")
    done = await replay(stage, settings=mended)
    result = (await stage.wait_results(4))[3]
    again = await replay(stage)

    assert header(letter, "dlq.reason") == "unroutable"
    assert as_it_was.plan.counts == {ReplayVerdict.HOPELESS: 1}
    assert done.look.plan.helps == {"it has a workspace by now": 1}
    assert done.progress.published == 1
    (record,) = await replays(stage)
    assert (record.key, record.value, record.header("workspace")) == (b"guide", None, b"elsewhere")
    assert (result["status"], result["workspace_slug"]) == ("deleted", "elsewhere")
    assert stage.stored("elsewhere") == {}
    assert stage.stored("docs") == {"guide": ["a text for docs"]}
    assert again.run is None


# -- bytes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_file", [False, True], ids=["from the topic", "from a file"])
async def test_every_byte_is_as_it_was(stage: MemoryStage, by_file: bool) -> None:
    """Key, value and headers after dead letter, export, import and replay."""
    odd = (("a", b"\x00\xff"), ("a", b"twice"), ("ünï", b""), ("traceparent", b"nonsense"))
    originals = [
        (b"\xff\xfe key", b"\x00\x01 no json \xff", odd),
        (None, b"null", ()),
        (b"", b"", odd),
        (b"k", b'{"id": "x", "chunks": 17}\n', odd[:1]),
    ]
    stage.start()
    for key, value, headers in originals:
        stage.publish(value, key=key, headers=headers, partition=1)
    await stage.wait_dead_letters(4)
    lines = exported(stage.dead_letters)
    source = (lambda: lines) if by_file else None
    hopeless = await plan(stage, lines=source, path="x")
    done = await replay(stage, lines=source, path="x", include_hopeless=True)
    await stage.wait_dead_letters(8)

    found = await replays(stage)
    assert hopeless.plan.counts == {ReplayVerdict.HOPELESS: 4}
    assert done.progress.published == 4
    assert Counter((r.key, r.value, tuple(original_headers(r))) for r in found) == Counter(
        originals
    )
    assert {record.at.partition for record in found} == {1}
    again = [(r.key, r.value, tuple(original_headers(r))) for r in stage.dead_letters[4:]]
    assert Counter(again) == Counter(originals)
    assert len({header(letter, "dlq.event-id") for letter in stage.dead_letters}) == 4
    assert {header(letter, "dlq.replays") for letter in stage.dead_letters[4:]} == {"1"}


async def test_a_file_has_the_same_guards_as_the_topic(stage: MemoryStage) -> None:
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


async def test_a_file_replays_what_the_topic_has_lost(stage: MemoryStage) -> None:
    """Exported, gone from the topic, replayed: guarded by what results say of its event."""
    await refused(stage, 2)
    lines = exported(stage.dead_letters)
    stage.publish(document("refused-1", ["mended"], day=5))
    await stage.wait_results(3)
    stage.empty(stage.settings.kafka.dead_letters_topic)
    stage.simulator.faults.clear()
    done = await replay(stage, lines=lambda: lines, path="x")
    results = await stage.wait_results(4)

    assert done.look.plan.counts == {ReplayVerdict.REPLAY: 1, ReplayVerdict.STALE: 1}
    assert (results[-1]["document_id"], results[-1]["status"]) == ("refused-0", "succeeded")
    assert results[-1]["replay_of"] is not None


# -- by reference ----------------------------------------------------------------------------------


async def test_a_letter_by_reference_replays_its_original(stage: MemoryStage) -> None:
    """Fetched from where it lay, key, value and headers; its own letter holds none of it."""
    stage.publish(document("large", ["a text"]), headers=(("kind", b"large"),), partition=2)
    (original,) = stage.everything(stage.documents)
    by_reference(stage, original)
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
    stage: MemoryStage, changes: Json, why: str
) -> None:
    """Skipped and told; nothing is published in its place; `dlq show` says the same beforehand."""
    stage.publish(document("large", ["a text"]))
    (original,) = stage.everything(stage.documents)
    by_reference(stage, original, **changes)
    (letter,) = map(letter_of, await stage.wait_dead_letters(1))
    if not changes:
        stage.empty(stage.documents)
    shown = await payload_of(stage.clients, letter)
    looked = await plan(stage, include_hopeless=True)
    done = await replay(stage, include_hopeless=True)
    again = await plan(stage, include_hopeless=True)
    beforehand = await plan(stage)

    assert shown is None
    assert (beforehand.plan.hopeless == {GONE: 1}) == (not changes), "as far as the place tells"
    assert looked.plan.originals_there == (1 if changes else 0), "by the place alone"
    ((reason, count),) = done.progress.skipped.items()
    assert why in reason
    assert (count, done.progress.published, done.progress.done) == (1, 0, True)
    assert await replays(stage) == []
    assert again.plan.to_do == 1


# -- what is not ours, what is missing -------------------------------------------------------------


async def test_foreign_letters_need_force(stage: MemoryStage) -> None:
    """Left without it, told; with it an event that begins where the letter lies, once."""
    letters = stage.settings.kafka.dead_letters_topic
    event = orjson.dumps(document("theirs", ["a text"]))
    forged = (("dlq.event-id", b"x"), ("dlq.replays", b"99"), ("theirs", b"1"))
    stage.publish(event, key=b"theirs", headers=forged, topic=letters)
    stage.publish(b"\xff\x00", key=None, topic=letters)
    await stage.wait_dead_letters(2)
    without = await replay(stage)
    done = await replay(stage, force=True)
    stage.start()
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
    assert last.plan.counts[ReplayVerdict.HOPELESS] == 1
    assert last.plan.hopeless == {REMEDIES[FailureReason.UNDECODABLE].fails: 1}


async def test_letters_of_others_replay_their_originals(stage: MemoryStage) -> None:
    """With its headers and on its partition: also where the letter has no payload at all."""
    for id in ("shared", "sprung", "connected"):
        stage.publish(document(id, ["a text"]), headers=(("kind", id.encode()),), partition=2)
    shared, sprung, connected = stage.everything(stage.documents)
    put(stage, share_record(shared), spring_record(sprung, value=b"anew"))
    put(stage, connect_record(connected))
    without = await plan(stage)
    looked = await plan(stage, force=True)
    done = await replay(stage, force=True)
    published = await replays(stage)

    assert without.plan.counts == {ReplayVerdict.FOREIGN: 3}
    assert (looked.plan.by_reference, looked.plan.originals_there) == (1, 1)
    assert done.progress.published == 3
    assert {each.key: (each.value, each.at.partition) for each in published} == {
        each.key: (each.value, 2) for each in (shared, sprung, connected)
    }
    assert {each.key: original_headers(each) for each in published} == {
        each.key: [("kind", each.key)] for each in (shared, sprung, connected)
    }


async def test_an_original_of_others_that_is_gone_or_elsewhere(stage: MemoryStage) -> None:
    """What has no payload is left, and told why; what has one is replayed as it is."""
    stage.publish(document("shared", ["a text"]))
    (original,) = stage.everything(stage.documents)
    elsewhere = replace(original, at=replace(original.at, topic=stage.settings.kafka.results_topic))
    put(stage, share_record(elsewhere), share_record(original), spring_record(original))
    stage.empty(stage.documents)
    shown = await payload_of(stage.clients, letter_of(share_record(elsewhere)))
    done = await replay(stage, force=True)

    assert shown is None
    assert done.progress.skipped == {
        "without payload, and the original is on a topic that has no events": 1,
        "by reference, and the original is not there any more": 1,
    }
    (published,) = await replays(stage)
    assert (published.key, published.value) == (original.key, original.value)


def put(stage: MemoryStage, *letters: Record) -> None:
    """Dead letters of others, on the stage's topic."""
    for each in letters:
        topic = stage.settings.kafka.dead_letters_topic
        stage.publish(each.value, key=each.key, headers=each.headers, topic=topic)


async def test_results_that_do_not_reach_back_stop_a_run(stage: MemoryStage) -> None:
    """Nobody can tell what is stale then; it names the setting, and does as it is told."""
    await refused(stage, 2)
    stage.empty(stage.settings.kafka.results_topic)
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


async def test_a_replay_topic_with_fewer_partitions_is_refused(stage: MemoryStage) -> None:
    """On another partition a replay could overtake a live event of its document."""
    few = f"{stage.settings.kafka.replay_topic}-few"
    stage.kafka.create(few)
    refuse(stage)
    stage.publish(document("guide", ["REFUSED"]), partition=2)
    await stage.worked()
    settings = stage.with_settings(KAFKA_REPLAY_TOPIC=few)
    with pytest.raises(ReplayRefused, match=r"has 1 partitions.* --partitions 3"):
        await replay(stage, settings=settings)


@pytest.mark.parametrize("name", ["DEAD_LETTERS", "REPLAY", "RESULTS"])
async def test_a_missing_topic_is_a_line_and_no_hang(stage: MemoryStage, name: str) -> None:
    """It names the topic and the command that makes it."""
    settings = stage.with_settings(**{f"KAFKA_{name}_TOPIC": "test-nowhere"})
    async with asyncio.timeout(20):
        with pytest.raises(KafkaUnavailableError, match=r"test-nowhere.*topics create"):
            await replay(stage, settings=settings)


async def test_an_empty_topic_is_nothing_to_do(stage: MemoryStage) -> None:
    """No run is made of it."""
    done = await replay(stage)

    assert (done.run, done.look.plan.to_do, done.progress.done) == (None, 0, True)
    assert await list_runs(stage.settings, stage.clients) == []


async def test_a_record_that_does_not_fit_is_skipped_alone(make_stage: MakeStage) -> None:
    """A topic that takes less than it should: those that fit go on, it is told, it stays open."""
    stage = await make_stage(topics=False)
    small = {"max.message.bytes": "20000"}
    stage.kafka.create(stage.settings.kafka.replay_topic, 3, small)
    stage.create_topics()
    noise = random.Random(1).randbytes(40_000).hex()
    refuse(stage)
    stage.start()
    for id, more in (("a", ""), ("large", noise), ("z", "")):
        stage.publish(document(id, [f"REFUSED {id} {more}"]), partition=0)
    await stage.wait_results(3)
    done = await replay(stage)
    await stage.wait_results(5)

    assert done.progress.published == 2
    assert done.progress.skipped == {"too large for its topic": 1}
    assert {header(r, "dlq.letter") is not None for r in await replays(stage)} == {True}
    assert [(each.key) for each in await replays(stage)] == [b"a", b"z"]
