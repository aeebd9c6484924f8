"""``workspaces rebuild``: a workspace made anew, on purpose. Kafka is in memory."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterable, Mapping
from datetime import timedelta

import pytest

from consumer.cli.workspaces.rebuild import HowFar
from consumer.kafka.group_lock import LockConfig
from consumer.model import origin as of
from consumer.operations import under_way
from consumer.operations.audit import audit
from consumer.operations.rebuilding import rebuilding
from consumer.operations.replay.run_store import lock_group
from tests.commands import Commands, Ended
from tests.doubles.kafka_clients import Killed
from tests.doubles.stage import MemoryStage
from tests.operations.auditing import SECOND
from tests.operations.conftest import MakeStage, Operator
from tests.operations.test_audit import files_of
from tests.staging import Json, document, texts
from tests.tiers import quick_first

pytestmark = pytest.mark.network("kernel")


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is waited for comes in milliseconds, and rows are told apart by them."""
    monkeypatch.setattr(under_way, "_POLL_SECONDS", 0.02)
    monkeypatch.setattr(audit, "PAUSE", 0.0)
    monkeypatch.setattr(rebuilding, "_DATES", timedelta(0))


def aged(stage: MemoryStage, seconds: float = 60.0) -> None:
    """All that is stored was stored some time ago."""
    stage.simulator.damage("aged", "docs", seconds=seconds)


async def rebuild(
    operator: Operator, *words: str, beside: bool = True, **settings: str
) -> tuple[int, Json, Ended]:
    """The command with ``--json``, beside a service: exit code, what it says, and its end."""
    if beside:
        operator.stage.start()
        await operator.stage.joined()
    try:
        ended = await operator.run(
            "workspaces", "rebuild", "docs", "--json", *words, **SECOND | settings
        )
    finally:
        await operator.stage.stop()
    return ended.code, json.loads(ended.lines[-1]) if ended.lines else {}, ended


def locations(stage: MemoryStage, ids: Iterable[str]) -> set[str]:
    return {file.location for each in ids for file in files_of(stage, each)}


def stored(stage: MemoryStage) -> Mapping[str, list[str]]:
    return {id: sorted(held) for id, held in stage.stored().items()}


async def test_every_document_is_made_anew_once(operator: Operator) -> None:
    """Plan, done, nothing double; what others put there is told and stays as it is."""
    stage = operator.stage
    await stage.worked(*(document(f"d{n}", texts(f"d{n}", 3)) for n in range(4)))
    notes = {
        "url": "file://notes.txt",
        "title": "notes.txt",
        "docAuthor": "",
        "description": "",
        "docSource": "by hand",
        "chunkSource": "",
        "published": "",
        "wordCount": 2,
        "token_count_estimate": 3,
    }
    foreign = await stage.simulator.model.store("notes", notes, "Somebody's notes.", ["docs"], ())
    aged(stage)
    before, as_stored = locations(stage, ("d0", "d1", "d2", "d3")), stored(stage)

    planned = await rebuild(operator)
    untouched = locations(stage, ("d0", "d1", "d2", "d3"))
    done = await rebuild(operator, "--yes")
    again = await rebuild(operator)

    assert (planned[0], planned[1]["documents"], planned[1]["chunks"]) == (3, 4, 12)
    assert (planned[1]["foreign_documents"], untouched) == (2, before)
    assert (done[0], done[1]["done"], done[1]["left"], done[2].err) == (0, 4, [], "")
    assert not before & locations(stage, ("d0", "d1", "d2", "d3"))
    assert stored(stage) == as_stored
    assert foreign.location in stage.simulator.state.files
    assert (again[0], again[1]["documents"], again[1]["since"]) == (3, 4, None)  # on purpose
    results = stage.results[-4:]
    assert {each["status"] for each in results} == {"succeeded"}
    assert all(each["replay_of"] for each in results)


async def test_what_is_not_in_the_topic_is_listed_and_nothing_is_done(operator: Operator) -> None:
    """AnythingLLM gives no texts back: what went could not come again."""
    stage = operator.stage
    await stage.worked(document("lost", ["a"]))
    stage.empty(stage.documents)
    await stage.worked(document("there", ["b"]))
    aged(stage)
    before = locations(stage, ("lost", "there"))

    planned = await rebuild(operator)
    code, _, ended = await rebuild(operator, "--yes")

    assert planned[1]["unproven"] == [{"identity": "lost", "why": "no_event"}]
    assert (planned[0], code) == (3, 1)
    assert "1 documents could not be made anew" in ended.err
    assert locations(stage, ("lost", "there")) == before


async def test_what_other_events_of_it_say_proves_nothing(operator: Operator) -> None:
    """One that waits for another workspace, or that can't be carried out, brings nothing back."""
    stage = operator.stage
    await stage.worked(document("moves", ["a"]), document("spoilt", ["b"]))
    stage.empty(stage.documents)
    aged(stage)
    stage.publish({**document("moves", ["a"]), "workspace": "other"})
    stage.publish({**document("spoilt", ["b"]), "chunks": "none"})

    planned = await rebuild(operator, beside=False)
    code, _, _ = await delete_workspace(operator, "--yes")

    assert planned[1]["unproven"] == [
        {"identity": "moves", "why": "no_event"},
        {"identity": "spoilt", "why": "no_event"},
    ]
    assert (code, len(stored(stage))) == (1, 2)


@pytest.mark.slow
async def test_stored_newer_than_its_events_is_not_proven(operator: Operator) -> None:
    stage = operator.stage
    await stage.worked(document("one", ["a"], day=3))
    stage.empty(stage.documents)
    await stage.worked(document("one", ["a"], day=0))
    aged(stage)

    _, planned, _ = await rebuild(operator)

    assert planned["unproven"] == [{"identity": "one", "why": "older_events"}]


@pytest.mark.parametrize("call", quick_first([3, 1]))
async def test_stopped_it_goes_on_with_what_is_left(operator: Operator, call: int) -> None:
    """What was made anew by then is not made anew again, unless that is asked for."""
    stage = operator.stage
    await stage.worked(*(document(f"d{n}", texts(f"d{n}", 26)) for n in range(3)))
    aged(stage)

    operator.next_process().line.kill_at(call, "publish")
    with pytest.raises(Killed):
        await rebuild(operator, "--yes")
    stage.start()
    await stage.settled()
    await stage.stop()
    planned = await rebuild(operator)
    restarted = await rebuild(operator, "--restart")
    code, done, _ = await rebuild(operator, "--yes")

    ahead = call - 1
    assert (planned[1]["done"], planned[1]["documents"]) == (ahead, 3 - ahead)
    assert restarted[1]["documents"] == 3
    assert (code, done["done"], done["left"]) == (0, 3, [])
    asked = [r for r in stage.everything("replay") if r.header(of.REBUILD) is not None]
    assert len(asked) == 3


async def test_what_was_done_when_it_was_stopped_is_done_and_not_for_ever(
    operator: Operator,
) -> None:
    """Else the next one, for yet another model, would find nothing to do for a week."""
    stage = operator.stage
    await stage.worked(document("one", ["a"]))
    aged(stage)
    operator.next_process().line.kill_at(1, "publish", done=True)
    with pytest.raises(Killed):
        await rebuild(operator, "--yes")
    await stage.worked()

    code, done, _ = await rebuild(operator, "--yes")
    _, next_time, _ = await rebuild(operator)

    assert (code, done["done"], done["left"]) == (0, 1, [])
    assert (next_time["since"], next_time["documents"]) == (None, 1)


async def test_what_can_t_be_made_anew_any_more_is_told_at_the_end(operator: Operator) -> None:
    """Retention took its event after the plan: nothing of it goes, and the next run goes on."""
    stage = operator.stage
    await stage.worked(*(document(f"d{n}", texts(f"d{n}", 26)) for n in range(2)))
    aged(stage)
    stage.start()
    await stage.joined()
    held = stage.simulator.faults.add("hold", path="*/remove-documents", times=1)
    work = asyncio.ensure_future(operator.run("workspaces", "rebuild", "docs", "--yes", **SECOND))
    await stage.simulator.journal.wait_for("request.held")
    stage.empty(stage.documents)
    held.released = True
    ended = await work
    await stage.stop()
    _, next_time, _ = await rebuild(operator)

    assert ended.code == 3
    assert "1 documents made anew, 0 left" in ended.out
    assert "can't be made anew any more" in ended.out
    assert sorted(map(len, stored(stage).values())) == [26, 26]
    assert (next_time["done"], len(next_time["unproven"])) == (1, 1)


async def test_what_goes_for_ever_is_told_before(operator: Operator) -> None:
    """The former text of a document whose newest one is refused: it stays until then."""
    stage = operator.stage
    await stage.worked(document("one", ["former"]), document("two", ["b"]))
    stage.simulator.faults.add("status", path="*/raw-text", contains="bad", status=422)
    await stage.worked(document("one", ["bad"], day=1))
    aged(stage)

    _, planned, _ = await rebuild(operator, beside=False)
    shown = await operator.run("workspaces", "rebuild", "docs", **SECOND)

    assert (stored(stage)["one"], planned["with_former_texts"]) == (["former"], 1)
    assert "1 of them lack chunks of their newest version" in shown.out


async def test_a_newer_event_meanwhile_is_made_anew_as_well(operator: Operator) -> None:
    """What it keeps of the former version has the former vectors."""
    stage = operator.stage
    await stage.worked(document("one", ["same", "old"]), document("two", ["b"]))
    aged(stage)
    before = locations(stage, ("one", "two"))
    stage.publish(document("one", ["same", "new"], day=1))

    code, done, _ = await rebuild(operator, "--yes")

    assert (code, done["left"]) == (0, [])
    assert stored(stage)["one"] == ["new", "same"]
    assert not before & locations(stage, ("one", "two"))


async def test_deleted_meanwhile_stays_deleted(operator: Operator) -> None:
    stage = operator.stage
    await stage.worked(document("one", ["a"]), document("two", ["b"]))
    aged(stage)
    stage.publish(None, key="one")

    code, done, _ = await rebuild(operator, "--yes")

    assert (code, done["left"], list(stored(stage))) == (0, [], ["two"])


async def test_beside_an_outage_nothing_is_lost(operator: Operator) -> None:
    """AnythingLLM's embedder is away once a document was taken out; the service waits, and dies."""
    stage = operator.stage
    await stage.worked(document("one", texts("one", 3)))
    aged(stage)
    stage.simulator.faults.add("status", path="*/raw-text", status=500, times=None)
    service = stage.start()
    await stage.joined()
    ended = operator.run("workspaces", "rebuild", "docs", "--yes", **SECOND)
    work = asyncio.ensure_future(ended)
    await stage.simulator.journal.wait_for("document.removed", count=3)
    service.stop()
    await stage.stop()
    assert stored(stage).get("one", []) == []
    stage.simulator.faults.rules.clear()
    stage.start()
    code = (await work).code
    await stage.stop()

    assert (code, stored(stage)["one"]) == (0, sorted(texts("one", 3)))


async def test_without_the_service_nothing_is_published(operator: Operator) -> None:
    stage = operator.stage
    await stage.worked(document("one", ["a"]))
    aged(stage)

    code, _, ended = await rebuild(operator, "--yes", beside=False)

    assert (code, stage.everything("replay")) == (1, [])
    assert "has no members: the service does the work, start it" in ended.err


@pytest.mark.parametrize(
    ("database", "first"),
    quick_first(
        [
            ("pgvector", "DROP TABLE anythingllm_vectors takes the vectors of all of them"),
            ("lancedb", "--delete-workspace deletes it and makes it anew: its chats go"),
        ]
    ),
)
async def test_another_dimension_needs_something_else_first(
    make_stage: MakeStage, commands: Commands, database: str, first: str
) -> None:
    """Documents that were taken out could not be stored again: none is."""
    stage = await make_stage(vector_db=database)
    operator = Operator(stage, commands)
    await stage.worked(document("one", ["a"]))
    aged(stage)
    stage.simulator.faults.embedder_dimension = 32
    before = locations(stage, ("one",))

    planned = await rebuild(operator, beside=False)
    code, _, ended = await rebuild(operator, "--yes", beside=False)

    assert any(first in each for each in planned[1]["refused"])
    assert (planned[0], code) == (3, 1)
    assert first in ended.err.replace("\n", " ")
    assert locations(stage, ("one",)) == before


async def delete_workspace(operator: Operator, *words: str) -> tuple[int, Json, Ended]:
    return await rebuild(operator, "--delete-workspace", *words, beside=False)


@pytest.fixture
async def used(make_stage: MakeStage, commands: Commands) -> Operator:
    """With two documents in a workspace where nobody else has anything, and a third one gone."""
    stage = await make_stage(workspaces=())
    stage.simulator.state.create_workspace("docs", {"openAiPrompt": "Answer in verse.", "topN": 7})
    await stage.worked(*(document(f"d{n}", texts(f"d{n}", 2)) for n in range(3)))
    for file in files_of(stage, "d2"):
        await stage.simulator.model.remove(file.location)
    aged(stage)
    return Operator(stage, commands)


async def test_deleted_and_made_anew_for_vectors_of_another_length(used: Operator) -> None:
    """What people set stays; what they removed stays removed; all the rest is stored anew."""
    stage, state = used.stage, used.stage.simulator.state
    before = state.workspaces["docs"].id
    state.workspaces["docs"].fields["name"] = "The handbook"
    stage.simulator.faults.embedder_dimension = 32

    planned = await delete_workspace(used)
    code, done, ended = await delete_workspace(used, "--yes")
    kept = state.workspaces["docs"].fields
    emptied = stage.stored()
    await stage.worked()
    await used.run("workspaces", "repair", "--yes", **SECOND)

    assert (planned[0], planned[1]["documents"], planned[1]["refused"]) == (3, 2, [])
    assert planned[1]["not_made_anew"] == [{"identity": "d2", "why": "missing"}]
    assert (code, done["waiting"], done["left"], ended.err) == (0, 2, [], "")
    assert (emptied, kept["id"] == before) == ({}, False)
    assert (kept["name"], kept["slug"]) == ("The handbook", "docs")
    assert (kept["openAiPrompt"], kept["topN"]) == ("Answer in verse.", 7)
    assert stored(stage) == {f"d{n}": sorted(texts(f"d{n}", 2)) for n in range(2)}
    assert all(copies == 1 for _, _, copies in stage.simulator.chunks("docs"))


@pytest.mark.parametrize(
    ("path", "is_gone"),
    quick_first([("*/workspace/new", True), ("*/docs/update", True), ("*/workspace/docs", False)]),
)
async def test_where_it_is_not_made_anew_what_was_set_in_it_is_told(
    used: Operator, path: str, is_gone: bool
) -> None:
    """Nothing else has that any more; and running the command again would not go on."""
    stage, prompt = used.stage, "Answer in verse. " * 500
    stage.simulator.state.workspaces["docs"].fields["openAiPrompt"] = prompt
    method = "POST" if is_gone else "DELETE"
    stage.simulator.faults.add("reset", path=path, method=method, times=1)

    code, told, ended = await delete_workspace(used, "--yes")
    said = " ".join(ended.err.split())
    await stage.worked()

    assert code == 1
    assert (told["workspace"], told["settings"]["openAiPrompt"]) == ("docs", prompt)
    assert ("'docs' was deleted" in said, "may be deleted" in said) == (is_gone, not is_gone)
    assert "the service, once it is started, makes those anew" in said
    assert "running it again" not in said
    assert stored(stage) == {f"d{n}": sorted(texts(f"d{n}", 2)) for n in range(2)}


@pytest.mark.slow
async def test_a_service_that_starts_while_it_is_deleted_is_told(used: Operator) -> None:
    """What it stored by then is gone, and it believes that it is there."""
    stage = used.stage
    held = stage.simulator.faults.add("hold", path="*/docs/update", times=1)
    work = asyncio.ensure_future(delete_workspace(used, "--yes"))
    await stage.simulator.journal.wait_for("request.held")
    stage.start()
    await stage.joined()
    held.released = True
    code, _, ended = await work

    assert code == 1
    assert "`audit --republish --workspace docs --yes`" in " ".join(ended.err.split())


async def test_it_is_not_deleted_where_the_service_would_begin_behind_the_events(
    used: Operator,
) -> None:
    """A group without a place on the replay topic begins at its end, where that is set."""
    stage = used.stage
    before = stored(stage)
    stage.kafka.delete(stage.settings.kafka.replay_topic)
    stage.kafka.create(stage.settings.kafka.replay_topic, 3, {})
    latest = {"KAFKA_AUTO_OFFSET_RESET": "latest"}
    words = ("--delete-workspace", "--yes")

    code, _, ended = await rebuild(used, *words, beside=False, **latest)
    stage.commit_everything(stage.settings.kafka.replay_topic)
    after, _, _ = await rebuild(used, *words, beside=False, **latest)

    assert (code, after) == (1, 0)
    assert "KAFKA_AUTO_OFFSET_RESET is latest" in ended.err
    assert before
    assert stored(stage) == {}


async def test_it_is_not_deleted_beside_the_service(used: Operator) -> None:
    """Which would call an event stored whose text was just deleted."""
    before = stored(used.stage)
    code, _, ended = await rebuild(used, "--delete-workspace", "--yes")

    assert (code, used.stage.everything("replay"), stored(used.stage)) == (1, [], before)
    assert "stop all instances, start them when this has ended" in ended.err


async def test_it_is_not_deleted_with_documents_of_others(operator: Operator) -> None:
    """Theirs would go, and nothing of ours brings them back."""
    await operator.stage.worked(document("one", ["a"]))
    aged(operator.stage)
    code, _, ended = await delete_workspace(operator, "--yes")

    assert (code, list(stored(operator.stage))) == (1, ["one"])
    assert "documents of others are in it, which would go with it" in ended.err


@pytest.mark.slow
async def test_a_collection_that_another_one_has_is_not_deleted(
    make_stage: MakeStage, commands: Commands
) -> None:
    """The other workspace would be empty afterwards; what was published is harmless."""
    stage = await make_stage(workspaces=(), vector_db="milvus")
    for slug in ("a-b", "a_b"):
        stage.simulator.state.create_workspace(slug, {})
    await stage.worked({**document("one", ["a"]), "workspace": "a-b"})
    stage.simulator.damage("aged", "a-b", seconds=60.0)
    operator = Operator(stage, commands)
    ended = await operator.run(
        "workspaces", "rebuild", "a-b", "--delete-workspace", "--yes", **SECOND
    )

    assert ended.code == 1
    assert "has the same collection" in ended.err
    assert "a-b" in stage.simulator.state.workspaces


@pytest.mark.parametrize("call", quick_first([2, 1]))
async def test_killed_before_the_deletion_nothing_is_lost(used: Operator, call: int) -> None:
    """Events that were published make their documents anew where they are."""
    stage = used.stage
    before = stored(stage)
    used.next_process().line.kill_at(call, "publish", done=True)
    with pytest.raises(Killed):
        await delete_workspace(used, "--yes")
    assert stored(stage) == before
    await stage.worked()

    assert stored(stage) == before


@pytest.mark.slow
async def test_an_event_that_is_too_large_keeps_it_from_being_deleted(used: Operator) -> None:
    """By then some are published, which is harmless."""
    stage = used.stage
    before = stored(stage)
    stage.kafka.delete(stage.settings.kafka.replay_topic)
    stage.kafka.create(stage.settings.kafka.replay_topic, 3, {"max.message.bytes": "300"})
    code, _, ended = await delete_workspace(used, "--yes")

    assert (code, stored(stage)) == (1, before)
    assert "raise its max.message.bytes" in ended.err
    assert "not deleted, 2 documents would be lost" in ended.err


async def test_people_are_told_what_it_means_for_searches(operator: Operator) -> None:
    """And about how long it takes, before anything is done."""
    stage = operator.stage
    await stage.worked(document("one", texts("one", 3)))
    stage.publish(document("new", ["not stored yet"]))

    ended = await operator.run("workspaces", "rebuild", "docs", **SECOND)

    assert ended.code == 3
    assert "1 documents (3 chunks) in docs to make anew: 3 removals and uploads, about 0 s" in (
        ended.out
    )
    assert "the service has not come to its event" in ended.out
    assert "searches in docs are incomplete until it ends" in ended.err
    assert ended.err.endswith("nothing was changed\n"), "the service does not run: not by --yes"


def test_who_interrupts_it_hears_how_far_it_got(capsys: pytest.CaptureFixture[str]) -> None:
    """And that nothing of it is lost."""
    far = HowFar(lambda stage, done, total: None)

    def interrupted() -> None:
        with far.told_when_interrupted():
            far("made anew", 8, 40)
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        interrupted()

    said = " ".join(capsys.readouterr().err.split())
    assert said.startswith("interrupted after 8 of 40 documents; the service goes on with those")


async def test_one_at_a_time(operator: Operator) -> None:
    """Neither beside another one nor beside a replay: they have one lock."""
    stage = operator.stage
    await stage.worked(document("one", ["a"]))
    aged(stage)
    lock = LockConfig(lock_group(stage.settings), "dlq", "dlq-replay.x", 1.0)
    async with stage.clients.lock(lock, waiting=lambda members: None, rng=random.Random(1)):
        code, _, ended = await rebuild(operator, "--yes")

    assert (code, stage.everything("replay")) == (1, [])
    assert "another rebuilding, republishing or replay is at work" in ended.err


@pytest.mark.slow
async def test_of_a_workspace_that_is_not_there_it_is_said(operator: Operator) -> None:
    ended = await operator.run("workspaces", "rebuild", "nowhere", "--yes", **SECOND)

    assert ended.code == 1
    assert "`workspaces list` shows those it has" in ended.err
