"""``where``: the whole story of one document, and what can't be had is said. Kafka is in memory."""

from __future__ import annotations

import pytest

from consumer.sandbox.simulator import Damage
from tests.client.support import client_for
from tests.client.support import document as uploadable
from tests.commands import Commands, Ended
from tests.operations.conftest import MakeStage, Operator
from tests.staging import document, texts

KEYS = {
    "document", "found", "verdict", "identities", "events", "results", "dead_letters", "stored",
    "same_source", "left_out", "narrowed", "not_known",
}  # fmt: skip


async def where(operator: Operator, *words: str, **settings: str) -> Ended:
    """The command; further settings win."""
    return await operator.run("where", *words, **settings)


async def test_the_whole_story(operator: Operator) -> None:
    """Two versions, one of them done, one waiting behind others; what is stored and findable."""
    stage = operator.stage
    await stage.worked(document("one", texts("one", 4)), document("other", texts("other", 1)))
    stage.publish(document("before", ["x"]), key="one")
    stage.publish_all([document("one", texts("newer", 2), day=1)])
    ended = await where(operator, "one", "--json")

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

    await stage.worked()
    done = await where(operator, "one", "--json")
    shown = await where(operator, "one")
    quick = await where(operator, "one", "--quick", "--json")
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


async def test_a_dead_letter_and_a_deletion(operator: Operator) -> None:
    """A partly refused document with its open letter; after its tombstone nothing is stored."""
    stage = operator.stage
    stage.simulator.faults.add(
        "status", status=422, body="{}", path="*/raw-text", contains="refuse"
    )
    await stage.worked(document("one", ["refuse this", *texts("one", 2)]))
    refused = (await where(operator, "one", "--json")).json
    stage.publish(None, key="one")
    await stage.worked()
    deleted = (await where(operator, "one", "--json")).json
    shown = await where(operator, "one")

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


@pytest.mark.parametrize("damage", [Damage.VECTORS_LOST, Damage.ZEROED])
async def test_what_is_stored_is_told_as_it_is(operator: Operator, damage: Damage) -> None:
    """Doubles, chunks that no search finds, others of the same source: each is said."""
    stage = operator.stage
    await stage.worked(document("one", texts("one", 3)))
    state = stage.simulator.state
    files = list(state.files.values())
    ours = [file for file in files if '"d":"one"' in file.metadata["docSource"]]
    await stage.simulator.model.store("x", dict(ours[0].metadata), ours[0].text, ["docs"], set())
    stage.simulator.damage(damage, "docs", location=ours[2].location)
    async with client_for(stage.simulator) as client:
        url = "https://docs.example/one"
        await client.upload_document("docs", uploadable("a", id="twin", url=url))
    story = (await where(operator, "one", "--json")).json
    shown = await where(operator, "one")

    (held,) = story["stored"]
    assert (held["chunks"], held["chunks_surplus"], held["complete"]) == (4, 1, False)
    assert (held["searched_for"], held["found_by_search"]) == (3, 2)
    (finding,) = held["findings"]
    assert "stored twice" in finding
    assert story["same_source"] == [{"workspace": "docs", "identity": "twin", "source_url": url}]
    assert "DOCUMENT_IDENTITY" in shown.err
    assert finding in shown.err


async def test_an_id_leads_to_its_identity(make_stage: MakeStage, commands: Commands) -> None:
    """Where identities follow the source, an old id finds the events under its newer ids, too."""
    stage = await make_stage({"DOCUMENT_IDENTITY": "{source_url}"})
    url = "https://docs.example/page"
    stage.publish(document("old", texts("a", 2), source_url=url), key=url)
    stage.publish(document("new", texts("b", 2), day=1, source_url=url), key="elsewhere")
    await stage.worked()
    operator = Operator(stage, commands)
    by_id = await where(operator, "old", "--json")
    by_identity = await where(operator, url, "--json")

    story = by_id.json
    assert story["identities"] == [url]
    assert [each["document_id"] for each in story["events"]] == ["old", "new"]
    assert [each["key_is_identity"] for each in story["events"]] == [True, False]
    assert {k: story[k] for k in KEYS - {"document"}} == {
        k: by_identity.json[k] for k in KEYS - {"document"}
    }


async def test_an_identity_is_learned_from_what_comes_later(
    make_stage: MakeStage, commands: Commands
) -> None:
    """What came before it is read once more: a newer id's event that nobody has answered yet."""
    stage = await make_stage({"DOCUMENT_IDENTITY": "{source_url}"})
    url = "https://docs.example/page"
    stage.publish(document("new", texts("b", 2), source_url=url), key=url, partition=0)
    stage.publish(document("old", texts("a", 2), source_url=url), key=url, partition=1)
    story = (await where(Operator(stage, commands), "old", "--json")).json

    assert story["identities"] == [url]
    assert sorted(each["document_id"] for each in story["events"]) == ["new", "old"]


async def test_events_that_cannot_be_carried_out_are_told(operator: Operator) -> None:
    """Junk under its key, and an invalid event with a readable id."""
    stage = operator.stage
    stage.publish(b"{nonsense", key="one")
    stage.publish({"id": "one", "title": "no chunks"}, key="else")
    await stage.worked()
    story = (await where(operator, "one", "--json")).json

    assert sorted(each["kind"] for each in story["events"]) == ["invalid", "undecodable"]
    assert sorted(each["reason"] for each in story["dead_letters"]) == ["invalid", "undecodable"]


async def test_nowhere(operator: Operator) -> None:
    """Exit 3 and one line; a name is not taken for a part of another one."""
    stage = operator.stage
    await stage.worked(document("one", texts("one", 1)))
    ended, empty = await where(operator, "on"), await where(operator, "")

    assert (ended.code, ended.lines, ended.err) == (3, ["on is nowhere"], "")
    assert empty.code == 2


async def test_what_cannot_be_had_is_said(operator: Operator) -> None:
    """Without AnythingLLM or a topic the rest is told; without Kafka nothing is."""
    stage = operator.stage
    await stage.worked(document("one", texts("one", 1)))
    nowhere = {"ANYTHINGLLM_ENDPOINT": "http://127.0.0.1:1"}
    no_server = await where(operator, "one", "--json", **nowhere)
    unknown = await where(operator, "two", **nowhere)
    operator.next_process().line.cut()
    no_kafka = await where(operator, "one")
    stage.kafka.delete(stage.settings.kafka.results_topic)
    no_results = await where(operator, "one", "--json")

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


async def test_a_kafka_that_goes_away_is_no_story(operator: Operator) -> None:
    """At whatever moment: half a story would be told as the whole one."""
    await operator.stage.worked(document("one", texts("one", 1)))
    moments = 0
    while True:
        operator.next_process().line.break_at(moments + 1)
        ended = await where(operator, "one")
        if ended.code == 0:
            break
        moments += 1
        assert (ended.code, ended.out) == (1, "")
        assert ended.err.startswith("error: Kafka: ")

    assert moments > 12
