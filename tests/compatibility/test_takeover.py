"""What one code stored, the other takes over: nothing is uploaded twice, nothing lost or left."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from consumer.model.marker import decode_marker
from tests.compatibility import takeover
from tests.compatibility.conftest import RunOld
from tests.compatibility.forms import Json, recorded
from tests.compatibility.takeover import fill, take_over

WORKSPACE = recorded("workspace.json")
BESIDE = {"workspace": None, "uploads": WORKSPACE["beside"]}


@pytest.fixture(scope="module")
def taken_over() -> Json:
    """The present code goes on in what commit cdefe5a left."""
    return take_over([*WORKSPACE["filled"]["state"], BESIDE])


def test_the_present_code_goes_on_as_cdefe5a_would(taken_over: Json) -> None:
    """The same results, the same uploads, the same markers afterwards."""
    assert taken_over == WORKSPACE["taken_over"]


def test_the_present_code_fills_a_workspace_as_cdefe5a_did() -> None:
    """The same markers and texts, the same results and dead letters; `reason` is added to some."""
    filled = fill()
    for result in filled["told"]["results"]:
        result.pop("reason", None)
    assert filled == WORKSPACE["filled"]


def test_what_is_unchanged_is_not_uploaded_again(taken_over: Json) -> None:
    """Documents are published once more as they are; one of them lies in packs of chunks."""
    for id in ("stays", "doubled", "ünï/cödé 日本", "packed"):
        (result,) = _results(taken_over, id)
        assert result["uploaded_chunk_ids"] == []
        assert result["removed_chunks"] == 0
        assert len(result["unchanged_chunk_ids"]) == result["total_chunks"]


def test_only_what_differs_is_uploaded_and_removed(taken_over: Json) -> None:
    """Of six chunks one is changed and one is new; of five only two are left."""
    (grown,), (shrunk,) = _results(taken_over, "grows"), _results(taken_over, "shrinks")
    assert (grown["uploaded_chunk_ids"], grown["removed_chunks"]) == (["grows_3", "grows_5"], 1)
    assert (shrunk["uploaded_chunk_ids"], shrunk["removed_chunks"]) == ([], 3)
    (mended,) = _results(taken_over, "refused")
    assert mended["uploaded_chunk_ids"] == ["refused_1"]


def test_tombstones_remove_and_older_versions_change_nothing(taken_over: Json) -> None:
    """What was stored then can be deleted now, and is known to be newer than what comes late."""
    removed, again = _results(taken_over, "returns")
    assert (removed["status"], removed["removed_chunks"]) == ("deleted", 2)
    assert again["uploaded_chunk_ids"] == ["returns_0", "returns_1"]
    for id in ("newer", "ahead"):
        (late,) = _results(taken_over, id)
        assert late["status"] == "superseded"


def test_everything_is_there_once_and_others_are_left_alone(taken_over: Json) -> None:
    """No double, no file in no workspace; a person's note and a newer format's unit stay."""
    uploads = [body for each in taken_over["state"] for body in each["uploads"]]
    assert taken_over["told"]["copies"] == {"c-and-dot-net": [[1, 3]], "docs": [[1, 27]]}
    assert taken_over["told"]["files"] == len(uploads)
    sources = [body["metadata"]["docSource"] for body in uploads]
    assert {takeover.FOREIGN["docSource"], takeover.NEWER} <= set(sources)


@pytest.mark.slow
def test_cdefe5a_goes_on_in_what_the_present_code_left(run_old: RunOld, tmp_path: Path) -> None:
    """The other direction: whoever goes back to cdefe5a loses and doubles nothing."""
    told = tmp_path / "told.json"
    given = orjson.dumps([[*fill()["state"], BESIDE]])
    run_old(Path(takeover.__file__), "take-over", told, stdin=given)
    assert orjson.loads(told.read_bytes()) == WORKSPACE["taken_over"]


@pytest.mark.slow
def test_cdefe5a_goes_on_in_packs_of_the_present_code(run_old: RunOld, tmp_path: Path) -> None:
    """Whoever packed, and goes back: every chunk is there once, and the answers are the same."""
    filled = fill("10")
    assert max(len(chunks) for chunks in _stored(filled)) == 5, "nothing was packed"
    told = tmp_path / "told.json"
    run_old(
        Path(takeover.__file__),
        "take-over",
        told,
        stdin=orjson.dumps([[*filled["state"], BESIDE]]),
    )
    after = orjson.loads(told.read_bytes())

    then = WORKSPACE["taken_over"]
    assert _statuses(after) == _statuses(then)
    assert sorted(chunk for each in _stored(after) for chunk in each) == sorted(
        chunk for each in _stored(then) for chunk in each
    )


def _stored(life: Json) -> list[list[tuple[str, str]]]:
    """The chunks of each unit that is stored, by id and the hash of their text."""
    bodies = [body for each in life["state"] for body in each["uploads"]]
    markers = [decode_marker(body["metadata"]["docSource"]) for body in bodies]
    return [
        [(chunk.id, chunk.sha256) for chunk in marker.chunks]
        for marker in markers
        if marker is not None
    ]


def _statuses(life: Json) -> list[tuple[str, str]]:
    return sorted((each["identity"], each["status"]) for each in life["told"]["results"])


def _results(taken_over: Json, id: str) -> list[Json]:
    return [each for each in taken_over["told"]["results"] if each["identity"] == id]
