"""``dlq list | show | stats``: what there is, why, and what became of it. Kafka is in memory."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from consumer.contract.received_letter import letter_of
from tests.commands import Commands
from tests.operations.conftest import MakeStage, Operator
from tests.operations.letters import FIELDS, failing, foreign, refused
from tests.operations.replaying import replay
from tests.staging import document
from tests.unit.contract.letters import document_record
from tests.unit.contract.other_letters import connect_record, share_record, spring_record

# -- letters that the service wrote ----------------------------------------------------------------


async def test_letters_of_the_service_are_listed_shown_and_counted(operator: Operator) -> None:
    """What failed, why, what of it is stored; of documents' text the begin, for people who ask."""
    await failing(operator.stage)
    (rejected,) = [
        each for each in operator.stage.dead_letters if b"REFUSED" in (each.value or b"")
    ]
    listed = {one["reason"]: one for one in await operator.listed()}
    shown = await operator.dlq("show", "guide", "--json")
    people = await operator.dlq("show", letter_of(rejected).event)
    stats = (await operator.dlq("stats", "--json")).json

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
    assert (shown.json["key"], shown.json["headers"]) == ("guide", [])
    assert "REFUSED" not in shown.out + shown.err + people.err
    (begin,) = [line for line in people.lines if line.startswith("event begins\t")]
    assert '"id": "guide_chunk_3"' in begin, "the chunk that failed is the first"
    assert len(begin) < 400

    assert stats["letters"] == 4
    assert stats["reason"] == dict.fromkeys(listed, 1)
    assert any("answered 422" in cause and "guide" not in cause for cause in stats["cause"])
    assert stats["results"]["cut"] is False


async def test_show_gives_the_payload_only_when_asked(operator: Operator) -> None:
    """As readable JSON; bytes that are none come in base64; several letters are listed."""
    await failing(operator.stage)
    letters = map(letter_of, operator.stage.dead_letters)
    (garbage,) = [each.at for each in letters if each.reason == "undecodable"]
    event = await operator.dlq("show", "guide", "--payload")
    raw = await operator.dlq("show", f"{garbage.partition}@{garbage.offset}", "--payload", "--json")
    nobody = await operator.dlq("show", "nobody")
    await operator.stage.worked(document("guide", ["another REFUSED one"]))
    several = await operator.dlq("show", "guide")

    assert '  "id": "guide",' in event.out
    assert "Text 3 of guide, which is like no other. REFUSED" in event.out
    assert raw.json["payload"] == {"base64": "//4AIG5vIGpzb24="}
    assert several.code == 0
    assert several.out.count("rejected") == 2
    assert "2 letters of guide" in several.err
    assert nobody.code == 1
    assert "there is no dead letter of 'nobody'" in nobody.err


async def test_show_lets_no_letter_take_over_a_terminal(operator: Operator) -> None:
    """Key, headers and the begin of the event: escaped, short, and secrets by name masked."""
    stage = operator.stage
    headers: Any = (
        ("source", b"a\x1b[31m\n" + b"x" * 5_000),
        ("Authorization", b"Bearer hush"),
        ("binary", b"\xff\x00"),
        ("none", None),
        *((f"h{n}", b"v") for n in range(40)),
    )
    stage.publish(b"\x1b[2J" + b"no json " * 2_000, key=b"\xff\x1b", headers=headers)
    await stage.worked()
    (letter,) = map(letter_of, stage.dead_letters)
    shown = await operator.dlq("show", letter.event)
    listed = await operator.dlq("list")

    rows = dict(line.split("\t", 1) for line in shown.lines)
    assert rows["key"] == "\\xff\\x1b"
    assert rows["event begins"].startswith("\\x1b[2Jno json no json ")
    assert len(rows["event begins"]) < 400
    assert rows["source"].startswith("a\\x1b[31m\\nxxx")
    assert len(rows["source"]) < 250
    assert (rows["Authorization"], rows["binary"], rows["none"]) == ("***", "\\xff\\x00", "null")
    assert rows["…"] == "24 more"
    assert "\x1b" not in shown.out + listed.out
    assert "no json" not in listed.out + listed.err


async def test_an_unreachable_anythingllm_does_not_hide_a_letter(operator: Operator) -> None:
    """What is stored is not known then, and that is said; without a key it is not even asked."""
    await failing(operator.stage)
    nowhere = {"ANYTHINGLLM_ENDPOINT": "http://127.0.0.1:1"}
    down = await operator.dlq("show", "guide", "--json", **nowhere)
    del operator.stage.env["ANYTHINGLLM_API_KEY"]
    keyless = await operator.dlq("show", "guide", "--json")

    assert (down.code, keyless.code) == (0, 0)
    assert "AnythingLLM does not say" in down.json["stored_now"]["unknown"]
    assert "ANYTHINGLLM_API_KEY is not set" in keyless.json["stored_now"]["unknown"]
    assert down.seconds < 20


async def test_filters_choose_and_combine(operator: Operator) -> None:
    """In list and stats alike; `--limit` keeps the newest."""
    await failing(operator.stage)
    two = await operator.listed("--reason", "invalid", "--reason", "rejected", "--since", "1h")
    none = await operator.listed("--reason", "invalid", "--document", "guide")
    limited = await operator.listed("--limit", "1")
    stats = await operator.dlq("stats", "--json", "--technology", "日本語")

    assert {one["reason"] for one in two} == {"invalid", "rejected"}
    assert none == []
    newest = max(letter_of(each).failed_at for each in operator.stage.dead_letters)
    assert [one["failed_at"] for one in limited] == [f"{newest:%Y-%m-%dT%H:%M:%SZ}"]
    assert stats.json["reason"] == {"unroutable": 1}


async def test_a_newer_version_makes_a_letter_stale(operator: Operator) -> None:
    """What is not open any more needs no command for that."""
    stage = operator.stage
    await failing(stage)
    stage.simulator.faults.clear()
    await stage.worked(document("guide", ["a newer text"], day=1))
    (listed,) = await operator.listed("--document", "guide", "--all")
    people = await operator.dlq("list")

    assert listed["standing"] == "stale"
    assert "guide" not in people.out
    assert "1 stale" in people.err


async def test_a_replay_that_the_service_is_done_with_is_not_under_way(operator: Operator) -> None:
    """Committed without a result, as of an event that nobody can name: the letter is open again."""
    stage = operator.stage
    await refused(stage, 1)
    await stage.stop()
    await replay(stage)
    (before,) = await operator.listed("--all")
    stage.commit_everything(stage.settings.kafka.replay_topic)
    (after,) = await operator.listed("--all")

    assert (before["standing"], after["standing"]) == ("in flight", "open")


# -- by reference ----------------------------------------------------------------------------------


async def test_a_letter_by_reference_is_listed_as_such(
    make_stage: MakeStage, commands: Commands
) -> None:
    """Too large for its topic: `show` says whether the original can still be had, and gets it."""
    stage = await make_stage()
    topic = stage.settings.kafka.dead_letters_topic
    stage.kafka.delete(topic)
    stage.kafka.create(topic, 1, {"max.message.bytes": "20000"})
    stage.publish(secrets.token_bytes(60_000), key="large", partition=1)
    await stage.worked()
    operator = Operator(stage, commands)
    (listed,) = await operator.listed()
    there = await operator.dlq("show", listed["event"], "--json", "--payload")
    stage.kafka.delete_records(stage.documents, {1: 1})
    gone = await operator.dlq("show", listed["event"])

    assert listed["by_reference"] is True
    assert listed["bytes"] < 20_000
    assert there.json["original_there"] is True
    assert len(there.json["payload"]["base64"]) == 80_000
    assert gone.code == 0
    assert "its original is not there any more" in gone.err


# -- topics that are not as they should be ---------------------------------------------------------


@pytest.mark.parametrize("missing", ["dead letters out", "results out"])
async def test_a_topic_that_is_needed_and_missing_is_a_line(
    make_stage: MakeStage, commands: Commands, missing: str
) -> None:
    """Without dead letters there is nothing to read; without results nobody knows what is open."""
    purposes = {
        "dead letters out", "results out", "replayed dead letters in", "dead letters put aside"
    }  # fmt: skip
    stage = await make_stage(topics=False)
    stage.create_topics(*purposes - {missing}, partitions=1)
    ended = await Operator(stage, commands).dlq("list")

    assert ended.code == 1
    assert "there is no topic" in ended.err
    assert "topics create" in ended.err


async def test_without_parked_and_replay_topic_letters_are_listed(
    make_stage: MakeStage, commands: Commands
) -> None:
    """Both count as empty, and that is said; parking needs its topic."""
    stage = await make_stage(topics=False)
    stage.create_topics("dead letters out", "results out", partitions=1)
    stage.publish(b"v", key="k", topic=stage.settings.kafka.dead_letters_topic)
    operator = Operator(stage, commands)
    listed = await operator.dlq("list", "--json")
    parking = await operator.dlq("park", "--yes")

    assert (listed.code, len(listed.lines)) == (0, 1)
    assert "taken as nothing is parked" in listed.err
    assert "taken as nothing was replayed" in listed.err
    assert parking.code == 1
    assert f"there is no topic {stage.settings.kafka.parked_topic}" in parking.err


async def test_letters_of_others_are_recognised(operator: Operator) -> None:
    """By Kafka Connect's, Spring's and the broker's own headers: who, why, about which record."""
    original = document_record(41, partition=2)
    for each in (connect_record(original), spring_record(original), share_record(original)):
        topic = operator.stage.settings.kafka.dead_letters_topic
        operator.stage.publish(each.value, key=each.key, headers=each.headers, topic=topic)
    listed = {one["other"]["convention"]: one for one in await operator.listed()}
    people = await operator.dlq("list")
    shared = listed["share group"]
    shown = await operator.dlq("show", f"{shared['at']['partition']}@{shared['at']['offset']}")

    assert set(listed) == {"Kafka Connect", "Spring Kafka", "share group"}
    assert all(set(one) == FIELDS for one in listed.values())
    assert {one["reason"] for one in listed.values()} == {"foreign"}
    assert {(one["other"]["original"]["offset"], one["foreign"]) for one in listed.values()} == {
        (41, True)
    }
    assert (shared["by_reference"], shared["tombstone"], shared["group"]) == (
        True, False, "sharers",
    )  # fmt: skip
    assert listed["Kafka Connect"]["other"]["owner"] == "pages-sink"
    assert "IllegalStateException: Listener failed" in people.out
    assert "share group (sharers)" in shown.out
    assert "docs-2@41" in shown.out
    assert "--force" in shown.out
    assert "its original is not there any more" in shown.err


async def test_results_that_reach_back_less_are_told(operator: Operator) -> None:
    """Then a letter may look open that was resolved long ago."""
    await failing(operator.stage)
    operator.stage.empty(operator.stage.settings.kafka.results_topic)
    ended = await operator.dlq("list")
    stats = (await operator.dlq("stats", "--json")).json

    assert ended.code == 0
    assert "has lost its beginning" in ended.err
    assert stats["results"]["cut"] is True


async def test_a_kafka_that_goes_away_is_a_line(operator: Operator) -> None:
    """At whatever moment: exit 1, nothing on standard output, no traceback."""
    foreign(operator.stage)
    moments = 0
    while True:
        process = operator.next_process()
        process.line.break_at(moments + 1)
        ended = await operator.dlq("list")
        if ended.code == 0:
            break
        moments += 1
        assert (ended.code, ended.out) == (1, "")
        assert ended.err.startswith("error: Kafka: ")
        assert ended.err.count("\n") == 1

    assert moments > 8
