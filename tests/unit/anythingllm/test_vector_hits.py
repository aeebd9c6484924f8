"""One odd hit says nothing of the others."""

from __future__ import annotations

from typing import Any

import pytest

from consumer.anythingllm.search_hits import search_hits
from consumer.anythingllm.vector_hits import number_of, read_hits

GOOD = {"text": "good", "score": 0.9, "metadata": {"docSource": "a"}}
WORSE = {"text": "worse", "score": 0.4, "metadata": {"docSource": "b"}}


@pytest.mark.parametrize(
    "odd",
    [
        {**GOOD, "text": "odd", "score": None},
        {"text": "odd", "metadata": {"docSource": "c"}},
        {**GOOD, "text": "odd", "score": "NaN"},
        {"text": "odd"},
        {"score": None, "text": "odd", "metadata": None},
        {"score": None, "metadata": {"docSource": "c"}},
        {"score": None, "text": 7, "metadata": "no JSON"},
        {},
        None,
        "odd",
        [],
    ],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_odd_hit_is_last_and_the_others_are_as_they_were(odd: Any, place: int) -> None:
    results: list[Any] = [GOOD, WORSE]
    results.insert(place, odd)
    read = read_hits(results)

    assert [hit.text for hit in read.hits[:2]] == ["good", "worse"]
    assert len(read.hits) == 3, "who asked for three would think that there are no more"
    assert read.odd == read.hits[2:]


def test_a_hit_without_a_text_is_known_by_its_source_and_shown_to_nobody() -> None:
    read = read_hits([{"score": 0.5, "metadata": {"docSource": "c"}}, GOOD])

    assert [hit.doc_source for hit in read.hits] == ["c", "a"]
    assert [hit.text for hit in search_hits(read.hits)] == ["good"]
    assert [hit.doc_source for hit in read.odd] == ["c"]


@pytest.mark.parametrize("results", [[None], [{}, 3], [{"score": 0.5, "metadata": {}}]])
def test_an_answer_of_odd_hits_alone_is_no_answer(results: list[Any]) -> None:
    """It would look like a workspace where nothing is found."""
    with pytest.raises(ValueError, match="none"):
        read_hits(results)


def test_without_any_score_the_server_s_order_is_kept() -> None:
    hits = [{"text": text, "metadata": {"docSource": text}} for text in "cab"]

    assert [hit.text for hit in read_hits(hits).hits] == ["c", "a", "b"]
    assert read_hits([]).hits == ()


@pytest.mark.parametrize(
    ("told", "number"),
    [
        (0.5, 0.5), (1, 1.0), ("0.25", 0.25), (" 1e-3 ", 0.001),
        (True, None), ("", None), ("near", None), ("Infinity", None), (float("nan"), None),
        (10**400, None), ([0.5], None), (None, None),
    ],
)  # fmt: skip
def test_a_score_may_be_a_text(told: object, number: float | None) -> None:
    assert number_of(told) == number
