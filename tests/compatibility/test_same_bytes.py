"""The same bytes from the same inputs as at commit cdefe5a, and the same values read of them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from consumer.contract.exported_letter import decode_exported, encode_exported
from consumer.operations.replay.run import is_run_id, run_id
from consumer.operations.replay.run_store import lock_group, run_prefix
from consumer.settings import load_settings
from tests.compatibility import present
from tests.compatibility.forms import Json, recorded
from tests.compatibility.since import compared

MARKERS = recorded("markers.json")
SETTLED = recorded("settled.json")
LETTERS = recorded("dead_letters.json")
RUNS = recorded("runs.json")


def by_name(cases: list[Json]) -> dict[str, Json]:
    found = {case["name"]: case for case in cases}
    assert len(found) == len(cases), "two cases have one name"
    return found


def outcome(case: Json) -> Json:
    return {"written": case["written"], "read": case["read"]}


UPLOADED = by_name(MARKERS["cases"])
FOUND = by_name(MARKERS["found"])


@pytest.mark.parametrize("name", compared("markers.json", UPLOADED))
def test_a_document_is_uploaded_with_the_same_markers(name: str) -> None:
    """What AnythingLLM is told, and ``docSource`` in it; else everything is uploaded again."""
    assert present.marked(UPLOADED[name]["given"]) == outcome(UPLOADED[name])


@pytest.mark.parametrize("name", compared("markers.json", FOUND))
def test_a_marker_says_the_same(name: str) -> None:
    """What is ours stays ours, and what is somebody else's is never touched."""
    assert present.marker_read(FOUND[name]["given"]) == FOUND[name]["read"]


PUBLISHED = by_name(SETTLED["cases"])


@pytest.mark.parametrize("name", compared("settled.json", PUBLISHED))
async def test_an_event_has_the_same_result_and_dead_letter(name: str) -> None:
    """Key, value and headers, and in which order; every status and every reason."""
    case = PUBLISHED[name]
    assert await present.settled(case["given"], SETTLED["address"]) == outcome(case)


ANY_CAUSE = by_name(LETTERS["cases"])
OF_OTHERS = by_name(LETTERS["found"])


@pytest.mark.parametrize("name", compared("dead_letters.json", ANY_CAUSE))
def test_a_cause_has_the_same_headers(name: str) -> None:
    """Whatever the cause, however long anything is, and by reference."""
    assert present.dead_lettered(ANY_CAUSE[name]["given"]) == outcome(ANY_CAUSE[name])


@pytest.mark.parametrize("name", compared("dead_letters.json", OF_OTHERS))
def test_a_letter_of_whomever_is_read_alike(name: str) -> None:
    """Which letters are believed, and what they are taken to say."""
    record = present.record_in(OF_OTHERS[name]["given"])
    assert present.letter_read(record) == OF_OTHERS[name]["read"]


COMMITTED = by_name(RUNS["runs"])
REPLAYED = by_name(RUNS["replays"])


@pytest.mark.parametrize("name", compared("runs.json", COMMITTED))
def test_a_run_commits_the_same_and_is_read_back(name: str) -> None:
    """A run that was begun then is gone on with now."""
    assert present.committed(COMMITTED[name]["given"]) == outcome(COMMITTED[name])


@pytest.mark.parametrize("name", compared("runs.json", REPLAYED))
def test_a_letter_is_replayed_with_the_same_headers(name: str) -> None:
    """Who reads the replay topic finds the same original in them."""
    assert present.replayed(REPLAYED[name]["given"]) == outcome(REPLAYED[name])


def test_runs_and_their_groups_have_the_same_names() -> None:
    """A run is found by its group's name, and two runs at once exclude each other by another."""
    settings = load_settings({"ANYTHINGLLM_API_KEY": "k", "KAFKA_GROUP_ID": "a group"})
    when = datetime(2026, 11, 22, 10, tzinfo=UTC)
    assert run_id(when, 0xBEE) == RUNS["ids"]["id"]
    assert {text: is_run_id(text) for text in RUNS["ids"]["is_run_id"]} == RUNS["ids"]["is_run_id"]
    assert run_prefix(settings) == RUNS["groups"]["of_runs"]
    assert lock_group(settings) == RUNS["groups"]["lock"]


def test_exported_lines_are_read_and_written_again() -> None:
    """A file that was exported then can be replayed now, and the other way round."""
    (exported,) = [c for c in recorded("printed.json")["commands"] if "export" in c["words"]]
    lines = exported["out"].encode().splitlines()
    assert len(lines) > 3
    assert [encode_exported(decode_exported(line)) for line in lines] == lines
