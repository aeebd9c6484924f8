"""``where`` on a real Kafka: the whole story of one document, and what can't be had is said."""

from __future__ import annotations

import asyncio
from typing import Any

from consumer.kafka.topics import open_admin
from consumer.sandbox.simulator import Damage
from tests.e2e.support import Ended, Programs
from tests.integration.client_support import client_for
from tests.integration.client_support import document as uploadable
from tests.integration.service_fixtures import MakeStage, Stage, document, texts

Json = dict[str, Any]

KEYS = {
    "document", "found", "verdict", "identities", "events", "results", "dead_letters", "stored",
    "same_source", "left_out", "narrowed", "not_known",
}  # fmt: skip


async def where(programs: Programs, stage: Stage, *words: str, **settings: str) -> Ended:
    """The command, with the settings of the stage's services; further ones win."""
    return await programs.run("where", *words, settings=stage.env | settings)


async def work(stage: Stage, *events: Json, answers: int | None = None) -> None:
    """Publish events, have a service work them, and stop it."""
    await stage.publish_all(events)
    await stage.start()
    await stage.wait_results(len(events) if answers is None else answers)
    await stage.wait_committed()
    await stage.stop()


async def test_the_whole_story(stage: Stage, programs: Programs) -> None:
    """Two versions, one of them done, one waiting behind others; what is stored and findable."""
    await work(stage, document("one", texts("one", 4)), document("other", texts("other", 1)))
    await stage.publish(document("before", ["x"]), key="one")
    await stage.publish_all([document("one", texts("newer", 2), day=1)])
    ended = await where(programs, stage, "one", "--json")

    story = ended.json
    assert (ended.code, ended.err) == (0, "")
    assert set(story) == KEYS
    assert (story["found"], story["identities"], story["not_known"]) == (True, ["one"], [])
    first, second = story["events"]
    assert (first["progress"], first["status"], first["chunks"]) == ("done", "succeeded", 4)
    assert (second["progress"], second["records_in_front"]) == ("waiting", 1)
    assert (first["key_is_identity"], second["status"]) == (True, None)
    (result,) = story["results"]
    assert (result["status"], result["source"]["offset"]) == ("succeeded", first["offset"])
    (held,) = story["stored"]
    assert (held["workspace"], held["chunks"], held["chunks_wanted"]) == ("docs", 4, 2)
    assert (held["chunks_of_newest_event"], held["complete"]) == (0, False)
    assert story["verdict"][0] == (
        f"document {stage.documents}-{second['partition']}@{second['offset']}: "
        "waiting, at most 1 records in front of it"
    )

    await work(stage, answers=4)
    done, shown, quick = await asyncio.gather(
        where(programs, stage, "one", "--json"),
        where(programs, stage, "one"),
        where(programs, stage, "one", "--quick", "--json"),
    )
    (held,) = done.json["stored"]
    assert held["complete"]
    assert (held["searched_for"], held["found_by_search"]) == (2, 2)
    assert done.json["verdict"] == [
        "docs: 2 of 2 chunks stored; 2 of 2 looked for are found by a search"
    ]
    assert (shown.code, shown.err) == (0, "")
    assert shown.lines[0] == done.json["verdict"][0]
    assert len(shown.lines) < 24, "it fits on a screen"
    same = KEYS - {"narrowed"}
    assert {k: quick.json[k] for k in same} == {k: done.json[k] for k in same}
    assert len(quick.json["narrowed"]) == 4


async def test_a_dead_letter_and_a_deletion(stage: Stage, programs: Programs) -> None:
    """A partly refused document with its open letter; after its tombstone nothing is stored."""
    stage.simulator.faults.add(
        "status", status=422, body="{}", path="*/raw-text", contains="refuse"
    )
    await work(stage, document("one", ["refuse this", *texts("one", 2)]))
    refused = (await where(programs, stage, "one", "--json")).json
    await stage.publish(None, key="one")
    await work(stage, answers=2)
    deleted = (await where(programs, stage, "one", "--json")).json
    shown = await where(programs, stage, "one")

    (letter,) = refused["dead_letters"]
    assert (letter["standing"], letter["reason"], letter["failed_chunks"]) == (
        "open",
        "rejected",
        1,
    )
    assert letter["failed_chunk_ids"] == ["one_chunk_0"]
    assert refused["verdict"] == [
        f"dead letter {letter['topic']}-{letter['partition']}@{letter['offset']}, open: rejected",
        "docs: 2 of 3 chunks stored; 2 of 2 looked for are found by a search",
    ]
    assert [each["kind"] for each in deleted["events"]] == ["document", "tombstone"]
    assert deleted["dead_letters"][0]["standing"] == "stale"
    assert deleted["verdict"] == ["deleted: nothing of it is stored"]
    assert shown.lines[0] == "deleted: nothing of it is stored"


async def test_what_is_stored_is_told_as_it_is(stage: Stage, programs: Programs) -> None:
    """Doubles, chunks that no search finds, others of the same source: each is said."""
    await work(stage, document("one", texts("one", 3)))
    state = stage.simulator.state
    files = list(state.files.values())
    ours = [file for file in files if '"d":"one"' in file.metadata["docSource"]]
    await stage.simulator.model.store("x", dict(ours[0].metadata), ours[0].text, ["docs"], set())
    stage.simulator.damage(Damage.VECTORS_LOST, "docs", location=ours[2].location)
    async with client_for(stage.simulator) as client:
        url = "https://docs.example/one"
        await client.upload_document("docs", uploadable("a", id="twin", url=url))
    story = (await where(programs, stage, "one", "--json")).json
    shown = await where(programs, stage, "one")

    (held,) = story["stored"]
    assert (held["chunks"], held["chunks_surplus"], held["complete"]) == (4, 1, False)
    assert (held["searched_for"], held["found_by_search"]) == (3, 2)
    (finding,) = held["findings"]
    assert "stored twice" in finding
    assert story["same_source"] == [{"workspace": "docs", "identity": "twin", "source_url": url}]
    assert "DOCUMENT_IDENTITY" in shown.err
    assert finding in shown.err


async def test_an_id_leads_to_its_identity(make_stage: MakeStage, programs: Programs) -> None:
    """Where identities follow the source, an old id finds the events under its newer ids, too."""
    stage = await make_stage({"DOCUMENT_IDENTITY": "{source_url}"})
    url = "https://docs.example/page"
    await stage.publish(document("old", texts("a", 2), source_url=url), key=url)
    await stage.publish(document("new", texts("b", 2), day=1, source_url=url), key="elsewhere")
    await work(stage, answers=2)
    by_id, by_identity = await asyncio.gather(
        where(programs, stage, "old", "--json"), where(programs, stage, url, "--json")
    )

    story = by_id.json
    assert story["identities"] == [url]
    assert [each["document_id"] for each in story["events"]] == ["old", "new"]
    assert [each["key_is_identity"] for each in story["events"]] == [True, False]
    assert {k: story[k] for k in KEYS - {"document"}} == {
        k: by_identity.json[k] for k in KEYS - {"document"}
    }


async def test_events_that_cannot_be_carried_out_are_told(stage: Stage, programs: Programs) -> None:
    """Junk under its key, and an invalid event with a readable id."""
    await stage.publish(b"{nonsense", key="one")
    await stage.publish({"id": "one", "title": "no chunks"}, key="else")
    await work(stage, answers=1)
    story = (await where(programs, stage, "one", "--json")).json

    assert sorted(each["kind"] for each in story["events"]) == ["invalid", "undecodable"]
    assert sorted(each["reason"] for each in story["dead_letters"]) == ["invalid", "undecodable"]


async def test_nowhere(stage: Stage, programs: Programs) -> None:
    """Exit 3 and one line; a name is not taken for a part of another one."""
    await work(stage, document("one", texts("one", 1)))
    ended, empty = await asyncio.gather(where(programs, stage, "on"), where(programs, stage, ""))

    assert (ended.code, ended.lines, ended.err) == (3, ["on is nowhere"], "")
    assert empty.code == 2


async def test_what_cannot_be_had_is_said(make_stage: MakeStage, programs: Programs) -> None:
    """Without AnythingLLM or a topic the rest is told; without Kafka nothing is."""
    stage = await make_stage()
    await work(stage, document("one", texts("one", 1)))
    nowhere = {"ANYTHINGLLM_ENDPOINT": "http://127.0.0.1:1"}
    no_server, unknown, no_kafka = await asyncio.gather(
        where(programs, stage, "one", "--json", **nowhere),
        where(programs, stage, "two", **nowhere),
        where(programs, stage, "one", KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1"),
    )
    async with open_admin(stage.connection) as admin:
        await stage.unfollow(stage.settings.kafka.results_topic)
        await admin.delete([stage.settings.kafka.results_topic])
    no_results = await where(programs, stage, "one", "--json")
    await stage.create_topics("results out")

    assert (no_server.code, len(no_server.json["events"])) == (0, 1)
    (untold,) = no_server.json["not_known"]
    assert untold["what"] == "what is stored"
    assert unknown.code == 1
    assert "not everything could be looked at" in unknown.err
    assert (no_kafka.code, no_kafka.out, no_kafka.err.count("\n")) == (1, "", 1)
    assert no_results.code == 0
    (untold,) = no_results.json["not_known"]
    assert untold["why"] == "there is no such topic"
    assert no_results.json["stored"][0]["complete"]
