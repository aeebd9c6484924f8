"""Which of a document's results is the newest, and what is left of it where nothing else is."""

from __future__ import annotations

from collections.abc import Iterator

import orjson
import pytest

from consumer.contract.received_result import read_result
from consumer.model.names import Identity, Slug
from consumer.model.record import Coordinates, Record
from consumer.operations.audit.newest_results import NewestResults
from consumer.operations.audit.register import open_register

DOCS, ONE = Slug("docs"), Identity("one")


@pytest.fixture
def newest() -> Iterator[NewestResults]:
    with open_register() as register:
        yield register.newest_results


def take(
    newest: NewestResults,
    status: str,
    second: int | None,
    *,
    partition: int = 0,
    slug: str | None = "docs",
    chunks: int = 1,
    written: int = 0,
) -> None:
    result = {
        "event_id": "e",
        "identity": "one",
        "workspace_slug": slug,
        "status": status,
        "total_chunks": chunks,
        "source": {"topic": "documents", "partition": 0, "offset": 0},
        "completed_at": None if second is None else f"2026-01-01T00:00:{second:02}Z",
    }
    at = Coordinates("results", partition, 0)
    newest.take(read_result(orjson.dumps(result)), Record(at, written * 1000, None, None))


def is_deleted(newest: NewestResults) -> bool | None:
    found = newest.of(DOCS, ONE)
    return None if found is None else found.is_deleted


def test_the_later_one_of_a_partition_counts_whatever_its_clock_says(newest: NewestResults) -> None:
    """Two instances wrote them, and the clock of one is late."""
    take(newest, "deleted", 9)
    take(newest, "succeeded", 7)

    assert is_deleted(newest) is False


@pytest.mark.parametrize("slug", ["docs", None])
def test_of_two_partitions_the_one_that_was_completed_later_counts(
    newest: NewestResults, slug: str | None
) -> None:
    """The topic got partitions: the older result lies in the one that is read last."""
    take(newest, "deleted", 9, partition=0, slug=slug)
    take(newest, "succeeded", 7, partition=1)

    assert is_deleted(newest) is True
    assert list(newest.forgotten(None)) == []


def test_one_that_does_not_say_when_is_as_old_as_its_record(newest: NewestResults) -> None:
    take(newest, "succeeded", None, written=1_000)

    found = newest.of(DOCS, ONE)
    assert found is not None
    assert found.completed == 1_000


def test_what_changed_nothing_says_nothing(newest: NewestResults) -> None:
    for status in ("superseded", "invalid"):
        take(newest, status, 1)

    assert is_deleted(newest) is None


@pytest.mark.parametrize(("chunks", "forgotten"), [(1, 1), (0, 0)])
def test_of_a_document_without_chunks_nothing_was_stored(
    newest: NewestResults, chunks: int, forgotten: int
) -> None:
    take(newest, "succeeded", 1, chunks=3)
    take(newest, "succeeded", 2, chunks=chunks)

    assert len(list(newest.forgotten(None))) == forgotten
    assert len(list(newest.forgotten(Slug("other")))) == 0
