"""``audit --republish``: what AnythingLLM lost comes back from the topic. Kafka is in memory."""

from __future__ import annotations

import asyncio
import json
import random

import pytest

from consumer.kafka.group_lock import LockConfig
from consumer.model import origin as of
from consumer.model.record import Record
from consumer.operations.audit import audit
from consumer.operations.audit.audit import open_audit
from consumer.operations.audit.findings import AuditSummary
from consumer.operations.audit.searching import SearchScope
from consumer.operations.replay.run_store import lock_group
from consumer.operations.republish.outgoing import republished
from consumer.operations.republish.plan import NotPublished, lost_in
from consumer.operations.republish.republish import Republish, RepublishTell
from tests.doubles.kafka_clients import Killed
from tests.doubles.stage import MemoryStage
from tests.operations.auditing import SECOND, at_once
from tests.operations.conftest import Operator
from tests.operations.test_audit import age, files_of, store_again
from tests.staging import Json, document, texts


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is at work that could need the time between the two looks."""
    monkeypatch.setattr(audit, "PAUSE", 0.0)


def emptied(stage: MemoryStage, slug: str = "docs") -> None:
    """The workspace is made anew, as after a restore: nothing is in it."""
    state = stage.simulator.state
    stage.simulator.model.delete_workspace(state.workspaces[slug])
    state.create_workspace(slug, {})


async def remove_by_hand(
    stage: MemoryStage, document_id: str, *, chunks: int | None = None
) -> None:
    """Somebody removes a document, or some of its chunks, in AnythingLLM's pages."""
    for file in files_of(stage, document_id)[:chunks]:
        await stage.simulator.model.remove(file.location)


async def republish(operator: Operator, *words: str, **settings: str) -> tuple[int, Json]:
    """The command with ``--json``: its exit code and its totals."""
    ended = await operator.run(
        "audit", "--republish", "--json", "--no-search", *words, **SECOND | settings
    )
    totals = json.loads(ended.lines[-1])
    assert "republish" in totals, ended.err
    return ended.code, totals


async def is_clean(operator: Operator) -> bool:
    ended = await operator.run("audit", "--no-search", **SECOND)
    return ended.code == 0


def replays(stage: MemoryStage) -> list[Record]:
    return stage.as_they_came(stage.settings.kafka.replay_topic)


def uploads(stage: MemoryStage) -> int:
    return stage.simulator.journal.count("document.stored")


async def test_an_emptied_workspace_comes_back(operator: Operator) -> None:
    """Without --yes it is only said; with it each newest event is published, byte for byte."""
    stage = operator.stage
    await stage.worked(
        *(document(f"d{n}", texts(f"d{n}", 2)) for n in range(5)),
        document("d1", texts("new", 3), day=2),
    )
    stage.publish(None, key="d2")
    await stage.worked()
    emptied(stage)

    planned = await republish(operator)
    nothing = replays(stage)
    code, done = await republish(operator, "--yes")

    assert (planned[0], planned[1]["republish"]["to_publish"], nothing) == (3, 4, [])
    assert (code, done["republish"]["published"], done["republish"]["left"]) == (0, 4, {})
    originals = {record.at: record for record in stage.everything(stage.documents)}
    for record in replays(stage):
        origin = of.origin_of(record, is_replay=True)
        assert record.value == originals[origin.at].value
        assert record.at.partition == origin.at.partition
        assert origin.timestamp_ms == originals[origin.at].timestamp_ms
    await stage.worked()
    assert await is_clean(operator)
    assert stage.simulator.state.workspaces["docs"].rows  # and d2 stays deleted
    assert not files_of(stage, "d2")


async def test_what_waits_for_the_service_is_not_published_twice(operator: Operator) -> None:
    """Run again before the service has come to it, it has nothing to do."""
    stage = operator.stage
    await stage.worked(*(document(f"d{n}", ["text"]) for n in range(3)))
    emptied(stage)

    await republish(operator, "--yes")
    code, again = await republish(operator, "--yes")

    assert (code, again["republish"]["to_publish"]) == (0, 0)
    assert len(replays(stage)) == 3


@pytest.mark.parametrize("call", [1, 2, 3])
async def test_killed_in_the_middle_and_run_again(operator: Operator, call: int) -> None:
    """Whatever was published by then, in the end each event was published once."""
    stage = operator.stage
    await stage.worked(*(document(f"d{n}", ["text"]) for n in range(3)))
    emptied(stage)

    operator.next_process().line.kill_at(call, "publish", done=call != 2)
    with pytest.raises(Killed):
        await republish(operator, "--yes", "--rate", "10")
    await republish(operator, "--yes")

    origins = sorted(of.origin_of(record, is_replay=True).at for record in replays(stage))
    assert origins == sorted(record.at for record in stage.everything(stage.documents))


async def test_a_run_that_was_stopped_beyond_its_half_is_done_to_its_end(
    operator: Operator,
) -> None:
    """The service has worked what was published; the rest was not removed by hand."""
    stage = operator.stage
    await stage.worked(*(document(f"d{n}", ["text"]) for n in range(3)))
    emptied(stage)

    operator.next_process().line.break_at(3, "publish")
    stopped = await operator.run(
        "audit", "--republish", "--yes", "--rate", "10", "--no-search", **SECOND
    )
    await stage.worked()
    code, done = await republish(operator, "--yes")
    await stage.worked()

    assert (stopped.code, "2 of 3 were published: Kafka: " in stopped.err) == (1, True)
    assert (code, done["republish"]["published"], done["republish"]["left"]) == (0, 1, {})
    assert await is_clean(operator)


async def test_workspaces_that_are_no_longer_ours_are_not_told_of(operator: Operator) -> None:
    """Their documents were not looked at: they may well be there."""
    stage = operator.stage
    await stage.worked(document("one", ["a"]))
    stage.empty(stage.documents)

    _, ours = await republish(operator)
    emptied(stage)
    _, lost = await republish(operator)
    _, others = await republish(
        operator, ROUTING_WORKSPACE="next", ROUTING_ALLOWED_WORKSPACES="next"
    )

    counts = [len(each["republish"]["forgotten"]) for each in (ours, lost, others)]
    assert counts == [0, 1, 0]


async def test_nothing_is_waited_for_after_the_last_one(operator: Operator) -> None:
    """At one event in 1,000 seconds the last of them would end a quarter of an hour late."""
    stage = operator.stage
    await stage.worked(document("one", ["a"]))
    emptied(stage)

    async with asyncio.timeout(60):
        code, done = await republish(operator, "--yes", "--rate", "0.001")

    assert (code, done["republish"]["published"]) == (0, 1)


async def test_what_was_perhaps_removed_by_hand_is_asked_for(operator: Operator) -> None:
    """One document is gone and its workspace stands; what is only incomplete comes back."""
    stage = operator.stage
    await stage.worked(*(document(f"d{n}", texts(f"d{n}", 3)) for n in range(4)))
    await remove_by_hand(stage, "d1")
    await remove_by_hand(stage, "d2", chunks=1)
    stored = uploads(stage)

    code, done = await republish(operator, "--yes")
    again, more = await republish(operator, "--yes", "--include-removed")
    await stage.worked()

    assert (code, done["republish"]["published"]) == (3, 1)
    assert done["republish"]["left"] == {"perhaps_removed": 1}
    assert [each["identity"] for each in done["republish"]["left_documents"]] == ["d1"]
    assert (again, more["republish"]["published"]) == (0, 1)
    assert uploads(stage) - stored == 4  # what is stored is not uploaded again
    assert await is_clean(operator)


async def test_stale_text_goes(operator: Operator) -> None:
    """A text of an older version is stored still; the newest event, published again, removes it."""
    stage = operator.stage
    await stage.worked(document("one", ["old", "same"]))
    old = files_of(stage, "one")[0]
    await stage.worked(document("one", ["same"], day=1))
    await store_again(stage, old)
    age(stage)
    stored = uploads(stage)

    code, done = await republish(operator, "--yes")
    await stage.worked()

    assert (code, done["republish"]["published"]) == (0, 1)
    assert [file.text for file in files_of(stage, "one")] == ["same"]
    assert uploads(stage) == stored


async def test_a_deletion_that_only_its_result_tells_of(operator: Operator) -> None:
    """The tombstone is gone from the topic, and the document's event is there still."""
    stage = operator.stage
    await stage.worked(document("one", ["a"]), document("two", ["b"]))
    stage.publish(None, key="two", topic=stage.settings.kafka.replay_topic)
    await stage.worked()
    stage.empty(stage.settings.kafka.replay_topic)
    emptied(stage)

    code, done = await republish(operator, "--yes")

    assert (code, done["republish"]["published"]) == (3, 1)
    assert done["republish"]["left"] == {"deleted": 1}


async def test_what_is_no_longer_in_the_topic_is_listed(operator: Operator) -> None:
    """Only its result tells that it was stored: nobody but its publisher has the text."""
    stage = operator.stage
    await stage.worked(document("one", ["a"]), document("two", ["b"]))
    stage.empty(stage.documents)
    await stage.worked(document("three", ["c"]))
    emptied(stage)

    code, done = await republish(operator, "--yes")
    shown = await operator.run("audit", "--republish", "--no-search", **SECOND)

    assert (code, done["republish"]["published"]) == (3, 1)
    assert done["republish"]["forgotten"] == [
        {"workspace": "docs", "identity": "one"}, {"workspace": "docs", "identity": "two"},
    ]  # fmt: skip
    assert "docs\tone" in shown.lines


async def test_a_newer_event_that_comes_meanwhile_wins(stage: MemoryStage) -> None:
    """A tombstone between the look and the publishing: the document stays gone."""
    await stage.worked(document("one", ["a"]), document("two", ["b"]))
    emptied(stage)
    settings, rng = stage.with_settings(**SECOND), random.Random(1)
    opened = open_audit(settings, stage.clients, rng=rng, scope=SearchScope.NONE, sleep=at_once)
    summary = AuditSummary()
    async with opened as looking:
        await looking.look()
        lost = [each for found in looking.found(summary) if (each := lost_in(found)) is not None]
        republish = Republish(settings, stage.clients, looking)
        look = await republish.look(lost, summary, workspace=None, include_removed=False)
        stage.publish(None, key="one")
        outcome = await republish.carry_out(
            look, RepublishTell(), operator="tester@here", rate=None, rng=rng
        )

    assert outcome.published == 1
    assert [(each.identity, why) for each, why in outcome.left] == [("one", NotPublished.NEWER)]


async def test_a_deletion_while_its_event_waits_is_told_where_a_restart_forgets_it(
    operator: Operator,
) -> None:
    """What a tombstone did leaves no trace in AnythingLLM; its event in the topic still tells."""
    stage = operator.stage
    await stage.worked(document("one", ["a"]))
    (event,) = stage.everything(stage.documents)
    emptied(stage)
    stage.publish(None, key="one")
    await stage.worked()
    replay = stage.settings.kafka.replay_topic
    stage.kafka.append(republished(event, replay_topic=replay, run="run", cluster_id="c"))
    await stage.worked()
    age(stage)

    code, totals = await republish(operator, "--yes")
    stage.publish(None, key="one")
    await stage.worked()

    assert (code, totals["not_removed"], totals["republish"]["published"]) == (3, 1, 0)
    assert await is_clean(operator)


async def test_one_run_at_a_time(operator: Operator) -> None:
    """While dead letters are replayed nothing is published, and it is said why."""
    stage = operator.stage
    await stage.worked(document("one", ["a"]))
    emptied(stage)
    lock = LockConfig(lock_group(stage.settings), "dlq", "dlq-replay.x", 1.0)
    async with stage.clients.lock(lock, waiting=lambda members: None, rng=random.Random(1)):
        ended = await operator.run("audit", "--republish", "--no-search", "--yes", **SECOND)

    assert ended.code == 1
    assert "a replay of dead letters, is at work" in ended.err
    assert replays(stage) == []


async def test_too_few_partitions_are_said_beforehand(operator: Operator) -> None:
    """Published to another partition, an event would lose its order to live ones."""
    stage = operator.stage
    await stage.worked(*(document(f"d{n}", ["a"]) for n in range(9)))
    stage.kafka.delete(stage.settings.kafka.replay_topic)
    stage.kafka.create(stage.settings.kafka.replay_topic, 1)
    emptied(stage)

    planned = await operator.run("audit", "--republish", "--no-search", **SECOND)
    refused = await operator.run("audit", "--republish", "--no-search", "--yes", **SECOND)

    assert (planned.code, "as things are, --yes would refuse" in planned.err) == (3, True)
    assert planned.err.endswith("nothing was changed\n"), "and not that --yes does it"
    assert (refused.code, "--partitions 3" in refused.err) == (1, True)
    assert replays(stage) == []


@pytest.mark.parametrize("word", ["--yes", "--include-removed", "--rate=3"])
async def test_its_options_need_it(operator: Operator, word: str) -> None:
    """An audit alone changes nothing, whatever else is said."""
    ended = await operator.run("audit", word, **SECOND)

    assert (ended.code, "belong to --republish" in ended.err) == (2, True)


@pytest.mark.parametrize("how", ["made anew", "by hand"])
async def test_a_service_that_runs_meanwhile_looks_before_it_believes_itself(
    operator: Operator, how: str
) -> None:
    """Its picture of the workspace is minutes old and says that everything is stored."""
    stage = operator.stage
    stage.start()
    stage.publish_all(document(f"d{n}", texts(f"d{n}", 2)) for n in range(3))
    await stage.settled()
    if how == "made anew":
        emptied(stage)
    else:
        for number in range(3):
            await remove_by_hand(stage, f"d{number}")

    code, done = await republish(operator, "--yes")
    await stage.settled()
    await stage.stop()

    assert (code, done["republish"]["published"]) == (0, 3)
    assert all(files_of(stage, f"d{n}") for n in range(3))
    assert await is_clean(operator)
