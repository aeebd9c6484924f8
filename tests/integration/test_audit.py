"""``audit`` on a real Kafka: clean after ordinary work, and every planted damage named rightly."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from consumer.kafka.groups import GroupOffset
from consumer.kafka.topics import open_admin
from consumer.model.marker import decode_marker
from consumer.model.record import Coordinates
from consumer.operations.audit.audit import UnknownWorkspace, open_audit
from consumer.operations.audit.findings import AuditFinding, AuditSummary
from consumer.operations.audit.states import DocumentState
from consumer.sandbox.simulator import Damage
from consumer.sandbox.simulator.state import SourceFile
from tests.e2e.support import Ended, Programs
from tests.integration.client_support import client_for
from tests.integration.client_support import document as uploadable
from tests.integration.service_fixtures import MakeStage, Stage, document, texts

Json = dict[str, Any]

SECOND = {"ANYTHINGLLM_AMBIGUITY_SECONDS": "1", "UPLOAD_TIMEOUT_SECONDS": "1"}
FINDING = {
    "kind", "note", "workspace", "identity", "document_id", "event", "chunks", "chunks_stored",
    "chunks_surplus", "finding", "what_to_do",
}  # fmt: skip


def age(stage: Stage) -> None:
    """Nothing that is stored can be under way any more."""
    for slug in stage.simulator.state.workspaces:
        stage.simulator.damage(Damage.AGED, slug, seconds=1_000)


async def audit(programs: Programs, stage: Stage, *words: str, **settings: str) -> Ended:
    """The command, with the settings of the stage's services; further ones win."""
    return await programs.run("audit", *words, settings=stage.env | SECOND | settings)


@dataclass(frozen=True, slots=True)
class Seen:
    """What an audit in this process found."""

    found: list[AuditFinding]
    summary: AuditSummary

    @property
    def named(self) -> list[tuple[str, str | None]]:
        """What was found about which identity, sorted."""
        return sorted((str(each.state), each.identity) for each in self.found)


async def look(stage: Stage, workspace: str | None = None, **settings: str) -> Seen:
    """An audit in this process, which is quicker; further settings win."""
    summary = AuditSummary()
    chosen = stage.with_settings(**SECOND | settings)
    async with open_audit(chosen, stage.clients, workspace=workspace) as audit:
        await audit.look()
        return Seen(list(audit.found(summary)), summary)


def read(ended: Ended) -> tuple[list[Json], Json]:
    """The findings and the totals of ``--json``."""
    assert ended.err == ""
    *findings, totals = [json.loads(line) for line in ended.lines]
    return findings, totals


async def work(stage: Stage, *events: Json, answers: int | None = None) -> None:
    """Publish events, have a service work them, and stop it."""
    await stage.publish_all(events)
    await stage.start()
    await stage.wait_results(len(events) if answers is None else answers)
    await stage.wait_committed()
    await stage.stop()


async def commit_everything(stage: Stage) -> None:
    """What a service would do that loses events: everything counts as done."""
    _, ends = await stage.offsets()
    places = {(stage.documents, n): GroupOffset(end) for n, end in ends.items()}
    async with open_admin(stage.connection) as admin:
        await admin.commit(stage.settings.kafka.group_id, places)


def files_of(stage: Stage, document_id: str) -> list[SourceFile]:
    """The files that hold a document's chunks, by chunk index."""
    found = []
    for file in stage.simulator.state.files.values():
        marker = decode_marker(file.metadata["docSource"])
        if marker is not None and marker.document_id == document_id:
            found.append((marker.chunks[0].index, file))
    return [file for _, file in sorted(found, key=lambda pair: pair[0])]


async def store_again(stage: Stage, file: SourceFile) -> None:
    """A second copy of a chunk, as an upload leaves it that was repeated in vain."""
    metadata = dict(file.metadata)
    await stage.simulator.model.store("again", metadata, file.text, ["docs"], frozenset())


# -- all is well -----------------------------------------------------------------------------------


async def test_a_normal_run_audits_clean(stage: Stage, programs: Programs) -> None:
    """New versions, unchanged ones, an emptied and a deleted document, junk: all is explained."""
    await work(
        stage,
        *(document(f"d{n}", texts(f"d{n}", 1 + n % 4)) for n in range(10)),
        document("d1", texts("d1", 5), day=2),
        document("d1", texts("late", 2), day=1),
        document("d2", [], day=1),
        document("d3", texts("d3", 4), day=1),
    )
    await stage.publish(None, key="d4")
    await stage.publish(b"{nonsense", key="d5")
    await stage.publish({"id": "d6", "title": "no chunks"}, key="d6")
    await work(stage, answers=16)  # who nobody can name gets no answer
    ended = await audit(programs, stage, "--json")

    findings, totals = read(ended)
    assert (ended.code, findings) == (0, [])
    assert totals == {
        "events": 17, "invalid_events": 2, "events_not_committed": 0,
        "documents": 9, "stored": 9, "waiting": 0, "dead_letter": 0, "settling": 0, "missing": 0,
        "incomplete": 0, "stale": 0, "double": 0, "not_removed": 0, "unexpected": 0,
        "no_dead_letter": 0, "newer": 0, "unexplained": 0, "notes": 0, "notices": [],
    }  # fmt: skip

    shown = await audit(programs, stage)
    assert (shown.code, shown.err) == (0, "")
    assert shown.lines[1].split("\t") == ["stored", "9", "stored completely, once"]
    assert shown.lines[-1] == (
        "17 events (2 can't be carried out, 0 not committed), 9 documents, 9 stored: "
        "0 unexplained, 0 notes"
    )


async def test_an_empty_topic_has_nothing_to_explain(stage: Stage) -> None:
    """It is said that nothing was there to look at."""
    seen = await look(stage)

    assert (seen.found, seen.summary.unexplained) == ([], 0)
    assert seen.summary.notices == (f"{stage.documents} is empty",)


async def test_what_the_group_has_not_come_to_is_explained(stage: Stage) -> None:
    """Not committed explains it, whether the group has never committed or is only behind."""
    await stage.publish_all([document("one", texts("one", 2))])
    before = await look(stage)
    await work(stage, answers=1)
    await stage.publish_all([document("one", texts("more", 3), day=1), document("two", ["two"])])
    await stage.publish(None, key="three")
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


async def test_each_damage_is_named(stage: Stage, programs: Programs) -> None:
    """A chunk gone, a document gone, a double, one left over, one never worked: exit 3."""
    names = ("whole", "holed", "gone", "doubled", "older", "deleted")
    await work(stage, *(document(name, texts(name, 3)) for name in names))
    holed, gone = files_of(stage, "holed"), files_of(stage, "gone")
    left, older = files_of(stage, "deleted")[0], files_of(stage, "older")[0]
    await stage.publish(None, key="deleted")
    await work(stage, document("older", texts("newer", 2), day=1), answers=8)
    async with client_for(stage.simulator) as client:
        await client.storage.remove("docs", [holed[1].location, *(f.location for f in gone)])
    for file in (files_of(stage, "doubled")[2], left, older):
        await store_again(stage, file)
    age(stage)
    await stage.publish_all([document("skipped", texts("skipped", 2))])
    await commit_everything(stage)
    ended, shown = await asyncio.gather(audit(programs, stage, "--json"), audit(programs, stage))

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
    assert "publish the document again" in shown.out
    assert shown.lines[-1].endswith("6 unexplained, 0 notes")


async def test_what_is_published_again_is_mended(stage: Stage) -> None:
    """The advice is right: publishing a document again brings its lost chunk back."""
    event = document("holed", texts("holed", 3))
    await work(stage, event)
    async with client_for(stage.simulator) as client:
        await client.storage.remove("docs", [files_of(stage, "holed")[1].location])
    damaged = await look(stage)
    await work(stage, event, answers=2)
    mended = await look(stage)

    assert (damaged.named, mended.named) == ([("incomplete", "holed")], [])


async def test_a_dead_letter_explains_what_it_names_and_no_more(stage: Stage) -> None:
    """Refused chunks are explained while their letter is open; a further one that is gone is not.

    Stale chunks stay with it: nothing is removed before the new version is whole.
    """
    stage.simulator.faults.add(
        "status", status=422, body="{}", path="*/raw-text", contains="refuse"
    )
    await work(stage, document("a", texts("old", 2)), document("b", texts("b", 3)))
    await work(
        stage,
        document("a", ["refuse this", *texts("a", 2)], day=1),
        document("b", ["refuse that", *texts("b", 3)], day=1),
        answers=4,
    )
    explained = await look(stage)
    async with client_for(stage.simulator) as client:
        await client.storage.remove("docs", [files_of(stage, "b")[0].location])
    seen = await look(stage)

    assert (explained.found, explained.summary.states) == ([], {DocumentState.DEAD_LETTER: 2})
    assert seen.named == [("incomplete", "b")]
    assert seen.found[0].text == (
        "2 of 4 chunks are not stored, and its dead letter explains 1 of them"
    )
    assert seen.summary.states[DocumentState.DEAD_LETTER] == 1


async def test_an_invalid_event_needs_its_dead_letter(stage: Stage) -> None:
    """Committed without a dead letter: it is lost, and is found by its place."""
    await stage.publish(b"{nonsense", key="lost", partition=1)
    waiting = await look(stage)
    await commit_everything(stage)
    lost = await look(stage)

    assert waiting.found == []
    (found,) = lost.found
    assert (found.state, found.event) == (
        DocumentState.NO_DEAD_LETTER,
        Coordinates(stage.documents, 1, 0),
    )
    assert lost.summary.unexplained == 1


async def test_what_no_event_tells_of(stage: Stage) -> None:
    """Stored by us, never published: a fault, but only a note once the topic has lost its start."""
    await work(stage, document("one", texts("one", 2)))
    async with client_for(stage.simulator) as client:
        await client.upload_document("docs", uploadable("a", id="stray", url="https://e.com/s"))
    faulty = await look(stage)
    _, ends = await stage.offsets()
    admin = AIOKafkaAdminClient(**stage.connection.client_options())
    await admin.start()
    await admin.delete_records(
        {TopicPartition(stage.documents, n): RecordsToDelete(end) for n, end in ends.items()}
    )
    await admin.close()
    noted = await look(stage)

    assert (faulty.named, faulty.summary.unexplained) == ([("unexpected", "stray")], 1)
    assert noted.named == [("unexpected", "one"), ("unexpected", "stray")]
    assert all(each.is_note for each in noted.found)
    assert (noted.summary.noted, noted.summary.unexplained) == (2, 0)
    assert "has lost its first records" in noted.summary.notices[1]


async def test_what_is_young_may_be_about_to_be_put_right(stage: Stage) -> None:
    """A double within ANYTHINGLLM_AMBIGUITY_SECONDS is no fault; the service may be at it."""
    await work(stage, document("one", texts("one", 2)))
    await store_again(stage, files_of(stage, "one")[0])
    young = await look(stage, ANYTHINGLLM_AMBIGUITY_SECONDS="600")
    age(stage)
    old = await look(stage, ANYTHINGLLM_AMBIGUITY_SECONDS="600")

    assert (young.found, young.summary.states) == ([], {DocumentState.SETTLING: 1})
    assert old.named == [("double", "one")]


async def test_a_newer_version_than_any_event_is_a_note(stage: Stage) -> None:
    """Somebody wrote it past the topic: it is told and not judged."""
    event = document("one", texts("one", 1))
    await work(stage, event, document("one", texts("newest", 2), day=9))
    async with open_admin(stage.connection) as admin:
        await admin.delete([stage.documents])
    await stage.create_topics("documents in")
    await stage.publish(event)
    await commit_everything(stage)
    seen = await look(stage)

    assert seen.named == [("newer", "one")]
    assert (seen.summary.noted, seen.summary.unexplained) == (1, 0)


# -- one workspace ---------------------------------------------------------------------------------


async def test_one_workspace_alone(make_stage: MakeStage) -> None:
    """Only what belongs there is judged; one that nobody knows is an error."""
    stage = await make_stage(workspaces=("docs", "other"))
    await work(
        stage,
        *(
            document(f"{technology}-{n}", texts(f"{technology}{n}", 2), technology=technology)
            for technology in ("docs", "other")
            for n in range(3)
        ),
    )
    async with client_for(stage.simulator) as client:
        await client.storage.remove("docs", [files_of(stage, "docs-0")[0].location])
    docs, other = await look(stage, "docs"), await look(stage, "other")

    assert (docs.named, other.named) == ([("incomplete", "docs-0")], [])
    assert (docs.summary.documents, other.summary.documents) == (3, 3)
    with pytest.raises(UnknownWorkspace, match="nowhere"):
        await look(stage, "nowhere")


# -- what can't be had -----------------------------------------------------------------------------


async def test_what_is_missing_is_said_in_one_line(
    make_stage: MakeStage, programs: Programs
) -> None:
    """No topic, no Kafka, no AnythingLLM: exit 1, never a hang, no traceback."""
    stage = await make_stage(topics=False)
    no_topic = await audit(programs, stage)
    await stage.create_topics("documents in")
    no_letters = await audit(programs, stage)
    await stage.create_topics()
    no_kafka, no_server, no_workspace, no_slug = await asyncio.gather(
        audit(programs, stage, KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1"),
        audit(programs, stage, ANYTHINGLLM_ENDPOINT="http://127.0.0.1:1"),
        audit(programs, stage, "--workspace", "nowhere"),
        audit(programs, stage, "--workspace", "No Slug"),
    )

    every = (no_topic, no_letters, no_kafka, no_server, no_workspace)
    assert [(each.code, each.out, each.err.count("\n")) for each in every] == [(1, "", 1)] * 5
    assert no_slug.code == 2
    assert f"there is no topic {stage.documents}" in no_topic.err
    assert f"there is no topic {stage.settings.kafka.dead_letters_topic}" in no_letters.err
    assert no_kafka.err.startswith("error: Kafka: ")
    assert no_server.err.startswith("error: AnythingLLM: ")


# -- beside a living service -----------------------------------------------------------------------


async def test_beside_a_service_that_works(stage: Stage) -> None:
    """However often it looks while documents come, change and go, it finds nothing unexplained."""
    await stage.start()

    async def publish() -> None:
        for round in range(6):
            names = [f"d{n}" for n in range(12)]
            await stage.publish_all(
                document(name, texts(f"{name}-{round % 3}", 1 + (round + n) % 3), day=round)
                for n, name in enumerate(names)
            )
            await stage.publish(None, key=f"d{round}")
            await stage.publish(b"junk", key="junk")

    publishing = asyncio.create_task(publish())
    living = [await look(stage) for _ in range(3)]
    await publishing
    await stage.wait_results(6 * 13)
    await stage.wait_committed()
    last = await look(stage)

    assert [each.found for each in living] == [[], [], []]
    assert (last.found, last.summary.invalid, last.summary.documents) == ([], 6, 12 - 1)
