"""Pages that a workspace stores under several identities."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from consumer.model.identity import IdentityTemplate
from consumer.model.listing import ListedRow, Listing
from consumer.model.marker import ChunkMark, Marker
from consumer.model.names import Location, Slug
from consumer.model.version import DocumentVersion
from consumer.operations.workspaces.finding import Remedy
from consumer.operations.workspaces.shared_sources import SharedSources, shared_sources

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def unit(document_id: str, source: str = "https://docs.example/a", chunk: int = 0) -> Marker:
    mark = ChunkMark(f"{document_id}_{chunk}", chunk, "0" * 32, "0" * 64)
    return Marker(document_id, source, "docs", 2, DocumentVersion(NOW), (mark,))


def told(*units: Marker, identity: str = "{id}") -> str | None:
    sources = SharedSources(IdentityTemplate.parse(identity))
    for each in units:
        sources.note(each)
    return None if sources.found is None else str(sources.found)


def test_documents_of_one_source_are_counted() -> None:
    """Sources and documents, not chunks; and two ids to look for."""
    other = "https://docs.example/b"
    units = [unit(id, chunk=n) for id in ("one", "two", "three") for n in (0, 1)]
    alone = unit("alone", "https://docs.example/c")

    assert told(*units[:4], alone) == (
        "1 page is stored under several ids, as 2 documents, such as one and two"
    )
    assert told(*units, alone, unit("x", other), unit("y", other)) == (
        "2 pages are stored under several ids, as 5 documents, such as one and three"
    )


@pytest.mark.parametrize("identity", ["{source_url}", "{technology}/{source_url}"])
def test_where_identities_follow_the_source_there_are_none(identity: str) -> None:
    """Different ids are then what is left of former uploads, and right."""
    assert told(unit("one"), unit("two"), identity=identity) is None


def test_what_is_right_is_not_told() -> None:
    """Nothing stored, chunks of one document, documents without a source."""
    assert told() is None
    assert told(unit("one", chunk=0), unit("one", chunk=1)) is None
    assert told(unit("one", ""), unit("two", "")) is None


def test_it_is_a_note_about_the_workspace() -> None:
    """Nothing to repair: several documents may really share a source."""
    rows = [
        ListedRow(Location(f"at-{n}"), "", 1.0, unit(id), False)
        for n, id in enumerate(("one", "two"))
    ]
    foreign = ListedRow(Location("by-hand"), "", 1.0, None, False)
    template = IdentityTemplate.parse("{id}")
    (note,) = shared_sources(Listing(Slug("docs"), (*rows, foreign), NOW), template)

    assert (note.workspace, note.is_note, note.remedy) == ("docs", True, Remedy.NONE)
    assert "DOCUMENT_IDENTITY={source_url}" in note.what_to_do
    assert list(shared_sources(Listing(Slug("docs"), (foreign,), NOW), template)) == []
