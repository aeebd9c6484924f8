"""What differs behind one API: names of collections, and what a score is worth."""

from __future__ import annotations

import re

import pytest

from consumer.anythingllm.vector_databases import DATABASES, UNKNOWN, distances, sharing
from consumer.model.names import Slug
from consumer.settings.groups import VECTOR_DATABASES

HITS = [1.0, 1.0, 0.96, 0.4, 1.0, None, 1.0]


def test_every_database_that_can_be_set_has_an_entry() -> None:
    """And none that can't."""
    assert sorted(DATABASES) == sorted(VECTOR_DATABASES)


@pytest.mark.parametrize(
    ("scores", "wanted"),
    [
        ([1.0, 1.0, 0.96, 0.4, 1.0, None, 1.0], [0.0, 0.0, 0.04, 0.6, None, None, None]),
        ([1.0, 1.0], [None, None]),
        ([0.4], [0.6]),
        ([], []),
    ],
)
@pytest.mark.parametrize("name", ["pgvector", "chroma"])
def test_a_score_of_1_after_a_smaller_one_says_nothing(
    name: str, scores: list[float | None], wanted: list[float | None]
) -> None:
    """AnythingLLM gives it to what has nothing in common as well; without a smaller one, too."""
    found = distances([(None, score) for score in scores], DATABASES[name])

    assert found == [pytest.approx(each) if each is not None else None for each in wanted]


def test_a_distance_that_is_told_is_the_distance() -> None:
    """LanceDB tells it, whatever the score is."""
    assert distances([(0.2, 0.8), (1.3, 1.0)], DATABASES["lancedb"]) == [0.2, 1.3]


def test_a_cosine_says_the_distance() -> None:
    """Also that of equal texts."""
    assert distances([(None, 1.0), (None, 0.25)], DATABASES["milvus"]) == [0.0, 0.75]
    assert distances([(None, 1.0), (None, 0.5)], DATABASES["weaviate"]) == [0.0, 1.0]


def test_of_an_unknown_database_a_score_says_nothing() -> None:
    """It may be anything that grows."""
    assert distances([(None, 0.5), (0.5, None)], UNKNOWN) == [None, 0.5]


CHROMA = {
    "docs": "docs",
    "a-b": "a-b",
    "a_b": "a_b",
    "x": "anythingllm-x",
    "go": "anythingllm-go",
    "go_": "anythingllm-go",
    "_x": "anythingllm-x",
    "_docs": "anythingllm-docs",
    "docs_": "docs",
    "d" * 63 + "-alpha": "d" * 63,
    "d" * 62 + "-alpha": "d" * 62,
}


@pytest.mark.parametrize(("slug", "collection"), CHROMA.items())
def test_chroma_names_its_collections(slug: str, collection: str) -> None:
    """As measured: names are cut, and signs at their ends are dropped."""
    assert DATABASES["chroma"].collection_of(slug) == collection


@pytest.mark.parametrize("name", DATABASES)
def test_ordinary_slugs_never_share_a_collection(name: str) -> None:
    """Of which there are the most."""
    slugs = map(Slug, ["docs", "docs2", "more-docs", "product-x", "product-y"])

    assert sharing(slugs, DATABASES[name]) == []


@pytest.mark.parametrize(
    ("name", "shared"),
    [
        ("lancedb", []),
        ("pgvector", []),
        ("chroma", [("anythingllm-x", "x"), ("docs", "docs_")]),
        ("milvus", [("a-b", "a_b")]),
        ("weaviate", [("a-b", "a_b"), ("docs", "docs_")]),
        ("astra", [("a-b", "a_b")]),
    ],
)
def test_slugs_that_share_a_collection(name: str, shared: list[tuple[str, ...]]) -> None:
    """Deleting one of them wipes the others."""
    slugs = map(Slug, ["x", "docs_", "a_b", "docs", "a-b", "anythingllm-x"])

    assert sharing(slugs, DATABASES[name]) == shared


@pytest.mark.parametrize("slug", ["_", "-", "x" * 255, "_" * 70, "a" * 62 + "__", "é"])
def test_a_collection_s_name_is_one_that_chroma_takes(slug: str) -> None:
    """3 to 63 letters, digits and signs, whatever the slug; only signs in a row are left alone."""
    name = DATABASES["chroma"].collection_of(slug)

    assert 3 <= len(name) <= 63
    assert re.fullmatch(r"[a-zA-Z0-9_-]+", name)
