"""What searches and a count say of the vector database."""

from __future__ import annotations

import pytest

from consumer.anythingllm.database_look import DatabaseLook, SearchedInVain
from consumer.anythingllm.vector_databases import DATABASES, UNKNOWN, VectorDatabase
from consumer.model.names import Slug

EMPTY = SearchedInVain(Slug("a"), 36)
FAILED = SearchedInVain(Slug("b"), 4, "answered 500")
PGVECTOR, CHROMA = DATABASES["pgvector"], DATABASES["chroma"]


@pytest.mark.parametrize(
    ("database", "in_vain", "count_error", "suspects", "is_outage"),
    [
        (PGVECTOR, (), None, (), False),
        (PGVECTOR, (EMPTY,), None, ("a",), False),
        (PGVECTOR, (EMPTY, FAILED), None, ("a",), False),
        (PGVECTOR, (FAILED,), None, (), True),
        (UNKNOWN, (FAILED,), None, (), False),
        (UNKNOWN, (FAILED,), "answered 500", (), True),
        (CHROMA, (), "answered 500", (), True),
        (CHROMA, (FAILED,), "answered 500", (), True),
    ],
)
def test_an_outage_is_told_from_what_may_be_a_loss(
    database: VectorDatabase,
    in_vain: tuple[SearchedInVain, ...],
    count_error: str | None,
    suspects: tuple[str, ...],
    *,
    is_outage: bool,
) -> None:
    """Where all workspaces have one dimension, one that can't be searched speaks for all."""
    look = DatabaseLook(database, in_vain, count_error)

    assert (look.suspects, look.is_outage) == (suspects, is_outage)
    assert (look.trouble is not None) is (is_outage or bool(in_vain))


def test_what_was_seen_is_said() -> None:
    """A reader at night wants to know which workspaces were looked at."""
    trouble = DatabaseLook(PGVECTOR, (EMPTY, FAILED)).trouble

    assert trouble == (
        "nothing is found in a (documents listed: 36); a search fails in b (documents listed: 4)"
    )


def test_the_table_is_named_only_where_a_dimension_may_be_the_cause() -> None:
    """A database that is down has no other dimension, and dropping its table would lose all."""
    assert "DROP TABLE" in DatabaseLook(PGVECTOR, (FAILED,)).what_to_do
    assert "DROP TABLE" not in DatabaseLook(PGVECTOR, (EMPTY,)).what_to_do
    assert "DROP TABLE" not in DatabaseLook(CHROMA, (FAILED,), "answered 500").what_to_do
