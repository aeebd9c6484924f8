"""``audit``: clean after ordinary work, every planted damage named rightly. Kafka is in memory."""

from __future__ import annotations

import asyncio
import json

import pytest

from consumer.model.marker import decode_marker
from consumer.model.names import Location, Slug
from consumer.model.record import Coordinates
from consumer.operations.audit.audit import PAUSE, UnknownWorkspace
from consumer.operations.audit.states import DocumentState
from consumer.sandbox.simulator import Damage
from consumer.sandbox.simulator.state import SourceFile
from tests.client.support import client_for
from tests.client.support import document as uploadable
from tests.commands import Commands, Ended
from tests.doubles.stage import MemoryStage
from tests.operations.auditing import SECOND, look
from tests.operations.conftest import MakeStage, Operator
from tests.staging import Json, document, texts

DOCS = Slug("docs")

FINDING = {
    "kind", "note", "workspace", "identity", "document_id", "event", "chunks", "chunks_stored",
    "chunks_surplus", "chunks_not_found", "finding", "what_to_do",
}  # fmt: skip


def age(stage: MemoryStage) -> None:
    """Nothing that is stored can be under way any more."""
    for slug in stage.simulator.state.workspaces:
        stage.simulator.damage(Damage.AGED, slug, seconds=1_000)


async def audit(operator: Operator, *words: str, **settings: str) -> Ended:
    """The command; further settings win."""
    return await operator.run("audit", *words, **SECOND | settings)


def read(ended: Ended) -> tuple[list[Json], Json]:
    """The findings and the totals of ``--json``."""
    assert ended.err == ""
    *findings, totals = [json.loads(line) for line in ended.lines]
    return findings, totals


def files_of(stage: MemoryStage, document_id: str) -> list[SourceFile]:
    """The files that hold a document's chunks, by chunk index."""
    found = []
    for file in stage.simulator.state.files.values():
        marker = decode_marker(file.metadata["docSource"])
        if marker is not None and marker.document_id == document_id:
            found.append((marker.chunks[0].index, file))
    return [file for _, file in sorted(found, key=lambda pair: pair[0])]


async def store_again(stage: MemoryStage, file: SourceFile) -> None:
    """A second copy of a chunk, as an upload leaves it that was repeated in vain."""
    metadata = dict(file.metadata)
    await stage.simulator.model.store("again", metadata, file.text, ["docs"], frozenset())


# -- all is well -----------------------------------------------------------------------------------


async def test_a_normal_run_audits_clean(operator: Operator) -> None:
    """New versions, unchanged ones, an emptied and a deleted document, junk: all is explained."""
    stage = operator.stage
    await stage.worked(
        *(document(f"d{n}", texts(f"d{n}", 1 + n % 4)) for n in range(10)),
        document("d1", texts("d1", 5), day=2),
        document("d1", texts("late", 2), day=1),
        document("d2", [], day=1),
        document("d3", texts("d3", 4), day=1),
    )
    stage.publish(None, key="d4")
    stage.publish(b"{nonsense", key="d5")
    stage.publish({"id": "d6", "title": "no chunks"}, key="d6")
    await stage.worked()  # who nobody can name gets no answer
    ended = await audit(operator, "--json")

    findings, totals = read(ended)
    assert (ended.code, findings) == (0, [])
    assert totals == {
        "events": 17, "invalid_events": 2, "events_not_committed": 0,
        "documents": 9, "stored": 9, "waiting": 0, "dead_letter": 0, "settling": 0, "missing": 0,
        "incomplete": 0, "stale": 0, "double": 0, "not_removed": 0, "unexpected": 0,
        "no_dead_letter": 0, "newer": 0, "not_found": 0, "unexplained": 0, "notes": 0,
        "notices": [],
        "searched": {
            "documents": 8, "chunks_found": 22, "chunks_not_found": 0, "chunks_not_told": 0,
            "chunks_not_looked_at": 0, "workspaces_not_told": [],
        },
    }  # fmt: skip

    shown = await audit(operator)
    assert (shown.code, shown.err) == (0, "")
    assert shown.lines[0] == "totals:"
    assert shown.lines[2].split("\t") == ["stored", "9", "stored completely, once"]
    assert shown.lines[-2] == (
        "searched for chunks of 8 documents: 22 found, 0 not found, 0 could not be told, "
        "0 not looked at"
    )
    assert shown.lines[-1] == (
        "17 events (2 can't be carried out, 0 not committed), 9 documents, 9 stored: "
        "0 unexplained, 0 notes"
    )


async def test_an_empty_topic_has_nothing_to_explain(stage: MemoryStage) -> None:
    """It is said that nothing was there to look at."""
    seen = await look(stage)

    assert (seen.found, seen.summary.unexplained) == ([], 0)
    assert seen.summary.notices == (f"{stage.documents} is empty",)


async def test_what_the_group_has_not_come_to_is_explained(stage: MemoryStage) -> None:
    """Not committed explains it, whether the group has never committed or is only behind."""
    stage.publish_all([document("one", texts("one", 2))])
    before = await look(stage)
    await stage.worked()
    stage.publish_all([document("one", texts("more", 3), day=1), document("two", ["two"])])
    stage.publish(None, key="three")
    after = await look(stage)

    group = stage.settings.kafka.group_id
    assert (before.found, after.found) == ([], [])
    assert before.summary.states == {DocumentState.WAITING: 1}
    assert before.summary.notices == (
        f"the group {group} has committed nothing: every event waits for it",
    )
    assert (after.summary.states, after.summary.not_committed) == ({DocumentState.WAITING: 2}, 3)
    assert after.summary.notices == ()


# -- planted damage --------------------------------------------------------------------------------


async def test_each_damage_is_named(operator: Operator) -> None:
    """A chunk gone, a document gone, a double, one left over, one never worked: exit 3."""
    stage = operator.stage
    names = ("whole", "holed", "gone", "doubled", "older", "deleted")
    await stage.worked(*(document(name, texts(name, 3)) for name in names))
    holed, gone = files_of(stage, "holed"), files_of(stage, "gone")
    left, older = files_of(stage, "deleted")[0], files_of(stage, "older")[0]
    stage.publish(None, key="deleted")
    await stage.worked(document("older", texts("newer", 2), day=1))
    async with client_for(stage.simulator) as client:
        await client.storage.remove(
            DOCS, [Location(holed[1].location), *(Location(f.location) for f in gone)]
        )
    for file in (files_of(stage, "doubled")[2], left, older):
        await store_again(stage, file)
    age(stage)
    stage.publish_all([document("skipped", texts("skipped", 2))])
    stage.commit_everything()
    ended, shown = await audit(operator, "--json"), await audit(operator)

    findings, totals = read(ended)
    assert ended.code == 3
    assert sorted((each["kind"], each["identity"]) for each in findings) == [
        ("double", "doubled"),
        ("incomplete", "holed"),
        ("missing", "gone"),
        ("missing", "skipped"),
        ("not-removed", "deleted"),
        ("stale", "older"),
    ]
    assert all(set(each) == FINDING and each["what_to_do"] for each in findings)
    assert (totals["unexplained"], totals["stored"], totals["documents"]) == (6, 1, 6)
    (of_holed,) = [each for each in findings if each["identity"] == "holed"]
    assert (of_holed["chunks"], of_holed["chunks_stored"]) == (3, 2)
    assert of_holed["finding"] == "1 of 3 chunks are not stored"
    assert of_holed["event"]["topic"] == stage.documents
    assert shown.code == 3
    assert "audit --republish --yes" in shown.out
    assert shown.lines[-1].endswith("6 unexplained, 0 notes")


async def test_what_is_published_again_is_mended(stage: MemoryStage) -> None:
    """The advice is right: publishing a document again brings its lost chunk back."""
    event = document("holed", texts("holed", 3))
    await stage.worked(event)
    async with client_for(stage.simulator) as client:
        await client.storage.remove(DOCS, [Location(files_of(stage, "holed")[1].location)])
    damaged = await look(stage)
    await stage.worked(event)
    mended = await look(stage)

    assert (damaged.named, mended.named) == ([("incomplete", "holed")], [])


async def test_a_dead_letter_explains_what_it_names_and_no_more(stage: MemoryStage) -> None:
    """Refused chunks are explained while their letter is open; a further one that is gone is not.

    Stale chunks stay with it: nothing is removed before the new version is whole.
    """
    stage.simulator.faults.add(
        "status", status=422, body="{}", path="*/raw-text", contains="refuse"
    )
    await stage.worked(document("a", texts("old", 2)), document("b", texts("b", 3)))
    await stage.worked(
        document("a", ["refuse this", *texts("a", 2)], day=1),
        document("b", ["refuse that", *texts("b", 3)], day=1),
    )
    explained = await look(stage)
    async with client_for(stage.simulator) as client:
        await client.storage.remove(DOCS, [Location(files_of(stage, "b")[0].location)])
    seen = await look(stage)

    assert (explained.found, explained.summary.states) == ([], {DocumentState.DEAD_LETTER: 2})
    assert seen.named == [("incomplete", "b")]
    assert seen.found[0].text == (
        "2 of 4 chunks are not stored, and its dead letter explains 1 of them"
    )
    assert seen.summary.states[DocumentState.DEAD_LETTER] == 1


async def test_an_invalid_event_needs_its_dead_letter(stage: MemoryStage) -> None:
    """Committed without a dead letter: it is lost, and is found by its place."""
    stage.publish(b"{nonsense", key="lost", partition=1)
    waiting = await look(stage)
    stage.commit_everything()
    lost = await look(stage)

    assert waiting.found == []
    (found,) = lost.found
    assert (found.state, found.event) == (
        DocumentState.NO_DEAD_LETTER,
        Coordinates(stage.documents, 1, 0),
    )
    assert lost.summary.unexplained == 1


async def test_what_no_event_tells_of(stage: MemoryStage) -> None:
    """Stored by us, never published: a fault, but only a note once the topic has lost its start."""
    await stage.worked(document("one", texts("one", 2)))
    async with client_for(stage.simulator) as client:
        await client.upload_document("docs", uploadable("a", id="stray", url="https://e.com/s"))
    faulty = await look(stage)
    stage.empty(stage.documents)
    noted = await look(stage)

    assert (faulty.named, faulty.summary.unexplained) == ([("unexpected", "stray")], 1)
    assert noted.named == [("unexpected", "one"), ("unexpected", "stray")]
    assert all(each.is_note for each in noted.found)
    assert (noted.summary.noted, noted.summary.unexplained) == (2, 0)
    assert "has lost its first records" in noted.summary.notices[1]


async def test_what_is_young_may_be_about_to_be_put_right(stage: MemoryStage) -> None:
    """A double within ANYTHINGLLM_AMBIGUITY_SECONDS is no fault; the service may be at it."""
    await stage.worked(document("one", texts("one", 2)))
    await store_again(stage, files_of(stage, "one")[0])
    young = await look(stage, ANYTHINGLLM_AMBIGUITY_SECONDS="600")
    age(stage)
    old = await look(stage, ANYTHINGLLM_AMBIGUITY_SECONDS="600")

    assert (young.found, young.summary.states) == ([], {DocumentState.SETTLING: 1})
    assert old.named == [("double", "one")]


async def test_a_newer_version_than_any_event_is_a_note(stage: MemoryStage) -> None:
    """Somebody wrote it past the topic: it is told and not judged."""
    event = document("one", texts("one", 1))
    await stage.worked(event, document("one", texts("newest", 2), day=9))
    stage.kafka.delete(stage.documents)
    stage.create_topics("documents in")
    stage.publish(event)
    stage.commit_everything()
    seen = await look(stage)

    assert seen.named == [("newer", "one")]
    assert (seen.summary.noted, seen.summary.unexplained) == (1, 0)


async def test_only_what_is_wrong_at_both_looks_is_told(stage: MemoryStage) -> None:
    """What is mended between them is in order; what breaks between them has been looked at once."""
    names = ("mended", "broken", "breaks")
    await stage.worked(*(document(name, texts(name, 2)) for name in names))
    of = {name: files_of(stage, name)[0] for name in names}
    async with client_for(stage.simulator) as client:
        await client.storage.remove(
            DOCS, [Location(of["mended"].location), Location(of["broken"].location)]
        )

        async def between(seconds: float) -> None:
            await store_again(stage, of["mended"])
            await client.storage.remove(DOCS, [Location(of["breaks"].location)])

        seen = await look(stage, sleep=between)

    assert seen.named == [("incomplete", "broken")]
    assert seen.summary.states == {
        DocumentState.STORED: 1,
        DocumentState.INCOMPLETE: 1,
        DocumentState.SETTLING: 1,
    }


# -- one workspace ---------------------------------------------------------------------------------


async def test_one_workspace_alone(make_stage: MakeStage) -> None:
    """Only what belongs there is judged; one that nobody knows is an error."""
    stage = await make_stage(workspaces=("docs", "other"))
    await stage.worked(
        *(
            document(f"{technology}-{n}", texts(f"{technology}{n}", 2), technology=technology)
            for technology in ("docs", "other")
            for n in range(3)
        ),
    )
    async with client_for(stage.simulator) as client:
        await client.storage.remove(DOCS, [Location(files_of(stage, "docs-0")[0].location)])
    docs, other = await look(stage, DOCS), await look(stage, Slug("other"))

    assert (docs.named, other.named) == ([("incomplete", "docs-0")], [])
    assert (docs.summary.documents, other.summary.documents) == (3, 3)
    with pytest.raises(UnknownWorkspace, match="nowhere"):
        await look(stage, Slug("nowhere"))


# -- what can't be had -----------------------------------------------------------------------------


async def test_what_is_missing_is_said_in_one_line(
    make_stage: MakeStage, commands: Commands
) -> None:
    """No topic, no Kafka, no AnythingLLM: exit 1, never a hang, no traceback."""
    stage = await make_stage(topics=False)
    operator = Operator(stage, commands)
    no_topic = await audit(operator)
    stage.create_topics("documents in")
    no_letters = await audit(operator)
    stage.create_topics()
    operator.next_process().line.cut()
    no_kafka = await audit(operator)
    no_server = await audit(operator, ANYTHINGLLM_ENDPOINT="http://127.0.0.1:1")
    no_workspace = await audit(operator, "--workspace", "nowhere")
    no_slug = await audit(operator, "--workspace", "No Slug")

    every = (no_topic, no_letters, no_kafka, no_server, no_workspace)
    assert [(each.code, each.out, each.err.count("\n")) for each in every] == [(1, "", 1)] * 5
    assert no_slug.code == 2
    assert f"there is no topic {stage.documents}" in no_topic.err
    assert f"there is no topic {stage.settings.kafka.dead_letters_topic}" in no_letters.err
    assert no_kafka.err.startswith("error: Kafka: ")
    assert no_server.err.startswith("error: AnythingLLM GET ")
    assert "that ANYTHINGLLM_ENDPOINT leads to it" in no_server.err


async def test_a_kafka_that_goes_away_is_no_finding(operator: Operator) -> None:
    """At whatever moment: an audit of a half of the events would call the other half lost."""
    stage = operator.stage
    await stage.worked(document("one", texts("one", 2)))
    stage.publish(None, key="two")
    moments = 0
    while True:
        operator.next_process().line.break_at(moments + 1)
        ended = await audit(operator)
        if ended.code == 0:
            break
        moments += 1
        assert (ended.code, ended.out) == (1, "")
        assert ended.err.startswith("error: Kafka: ")

    assert moments > 12


# -- beside a living service -----------------------------------------------------------------------


async def test_beside_a_service_that_works(stage: MemoryStage) -> None:
    """However often it looks while documents come, change and go, it finds nothing unexplained."""
    stage.start()

    async def publish() -> None:
        for round in range(6):
            names = [f"d{n}" for n in range(12)]
            stage.publish_all(
                document(name, texts(f"{name}-{round % 3}", 1 + (round + n) % 3), day=round)
                for n, name in enumerate(names)
            )
            stage.publish(None, key=f"d{round}")
            stage.publish(b"junk", key="junk")
            # The next ones come while some of these are at work.
            await stage.wait_results(13 * round + 6)

    async def soon(seconds: float) -> None:
        """What is young may be found late; here it has gone, or is found."""
        await asyncio.sleep(min(seconds, PAUSE))

    publishing = asyncio.create_task(publish())
    living = []
    while not publishing.done():
        living += (await look(stage, sleep=soon)).found
    await publishing
    await stage.settled()
    last = await look(stage)

    assert living == []
    assert (last.found, last.summary.invalid, last.summary.documents) == ([], 6, 12 - 1)
