"""What a workspace has of one document, and which of its chunks are looked for."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from consumer.model.document import Chunk, ProcessedDocument
from consumer.model.identity import IdentityTemplate
from consumer.model.listing import ListedRow, Listing
from consumer.model.marker import unit_of
from consumer.model.names import Identity, Location, Slug
from consumer.model.version import DocumentVersion
from consumer.operations.where.held import Held, Searched, held_of, looked_for

NOW = datetime(2026, 3, 1, tzinfo=UTC)
BY_ID = IdentityTemplate.parse("{id}")


def document(*texts: str) -> ProcessedDocument:
    chunks = tuple(Chunk(f"c{n}", text, n) for n, text in enumerate(texts))
    return ProcessedDocument("doc", "Title", "docs", "https://e.com/doc", chunks)


def rows(of: ProcessedDocument, *positions: int) -> tuple[ListedRow, ...]:
    """Stored chunks of it."""
    found = []
    for position in positions or range(len(of.chunks)):
        marker = unit_of((of.chunks[position],), of, DocumentVersion(NOW, 0, 1)).marker
        found.append(
            ListedRow(Location(f"{position}.json"), marker.encode(), 5.0, marker, sentinel=False)
        )
    return tuple(found)


def held(stored: tuple[ListedRow, ...], newest: ProcessedDocument | None) -> Held:
    wanted = {Identity("doc"): newest} if newest is not None else {}
    (found,) = held_of(Listing(Slug("docs"), stored, NOW), BY_ID, wanted)
    return found


def test_complete_and_incomplete() -> None:
    """Against the newest event, chunk by chunk."""
    whole = document("a", "b", "c")
    assert held(rows(whole), whole).is_complete
    part = held(rows(whole, 0, 2), whole)
    assert (part.covered, part.total, part.is_complete) == (2, 3, False)
    assert part.text == "docs: 2 of 3 chunks stored"
    none = held((), whole)
    assert (none.stored, none.covered, none.version) == (0, 0, None)


def test_surplus_and_doubles_are_told_however_young() -> None:
    """Who asks wants to know what is there now."""
    whole = document("a", "b")
    double = replace(rows(whole)[0], location=Location("9.json"))
    found = held((*rows(whole), double), whole)
    assert (found.stored, found.covered, found.surplus, found.is_complete) == (3, 2, 1, False)
    assert [text.endswith("is stored twice") for text in found.findings] == [True]
    stale = held(rows(whole), document("b"))
    assert (stale.covered, stale.total, stale.surplus) == (1, 1, 1)


def test_without_an_event_only_the_markers_speak() -> None:
    """Then nobody can say what is missing, only what the newest version has."""
    found = held(rows(document("a", "b", "c"), 0), None)
    assert (found.covered, found.total, found.is_complete) == (None, 3, False)
    assert found.text == "docs: 1 chunks stored, of a version with 3"


def test_what_searches_found_is_in_the_text() -> None:
    """How many were looked for is always said."""
    whole = document("a")
    found = replace(held(rows(whole), whole), searched=Searched(1, 0))
    assert found.text == "docs: 1 of 1 chunks stored; 0 of 1 looked for are found by a search"


def test_a_few_chunks_are_looked_for_over_the_whole_document() -> None:
    """The first, one in the middle, the last; only stored ones; long ones by their beginning."""
    whole = document(*(f"{n} " + "x" * 2_000 for n in range(9)))
    chosen = looked_for(whole, rows(whole))
    assert [text[:2] for text, _ in chosen] == ["0 ", "4 ", "8 "]
    assert all(len(text) == 1_000 for text, _ in chosen)
    assert all(sources for _, sources in chosen)
    assert [text[:2] for text, _ in looked_for(whole, rows(whole, 3, 5))] == ["3 ", "5 "]
    assert looked_for(whole, ()) == []
