"""Plans: what has to be done, compared by digest as a multiset."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from consumer.model.document import Chunk, ProcessedDocument
from consumer.model.marker import StoredUnit, unit_of
from consumer.model.names import Location, Slug
from consumer.model.version import DocumentVersion
from consumer.pipeline.plan import Plan, make_plan

W = Slug("w")

V1 = DocumentVersion(datetime(2026, 1, 1, tzinfo=UTC), 0, 1)
V2 = DocumentVersion(datetime(2026, 1, 2, tzinfo=UTC), 0, 2)


def _document(*texts: str, title: str = "T", id: str = "d") -> ProcessedDocument:
    chunks = tuple(Chunk(f"{id}_chunk_{i}", text, i) for i, text in enumerate(texts))
    return ProcessedDocument(id, title, "tech", "https://example.com/d", chunks)


def _stored(document: ProcessedDocument, version: DocumentVersion = V1) -> list[StoredUnit]:
    return [
        StoredUnit(
            Location(f"custom-documents/{chunk.id}.json"),
            unit_of((chunk,), document, version).marker,
        )
        for chunk in document.chunks
    ]


def _sizes(plan: Plan) -> tuple[int, int, int]:
    return len(plan.missing), len(plan.unchanged), len(plan.stale)


def test_nothing_stored_uploads_everything() -> None:
    """A new document: every chunk is missing."""
    assert _sizes(make_plan(W, _document("a", "b"), V1, [])) == (2, 0, 0)


def test_unchanged_uploads_nothing() -> None:
    """Published again: no upload, no removal."""
    document = _document("a", "b")

    assert _sizes(make_plan(W, document, V2, _stored(document))) == (0, 2, 0)


def test_new_ids_alone_upload_nothing() -> None:
    """The same text under new document and chunk ids is the same text."""
    stored = _stored(_document("a", "b", id="old"))

    assert _sizes(make_plan(W, _document("a", "b", id="new"), V2, stored)) == (0, 2, 0)


def test_one_edited_chunk() -> None:
    """One edit costs one upload and one removal."""
    stored = _stored(_document("a", "b", "c"))
    plan = make_plan(W, _document("a", "B", "c"), V2, stored)

    assert _sizes(plan) == (1, 2, 1)
    assert plan.missing[0].text == "B"


def test_a_chunk_inserted_at_the_start() -> None:
    """Positions shift; only the new chunk is uploaded."""
    stored = _stored(_document("a", "b"))

    assert _sizes(make_plan(W, _document("new", "a", "b"), V2, stored)) == (1, 2, 0)


def test_a_shorter_document_only_removes() -> None:
    """Dropped chunks are removed, nothing is uploaded."""
    stored = _stored(_document("a", "b", "c"))

    assert _sizes(make_plan(W, _document("a"), V2, stored)) == (0, 1, 2)


def test_an_emptied_document_removes_all() -> None:
    """An empty list of chunks is a document without content."""
    assert _sizes(make_plan(W, _document(), V2, _stored(_document("a", "b")))) == (0, 0, 2)


def test_repeated_texts_are_counted() -> None:
    """The same text twice in a document is wanted twice, once stored or not."""
    once = _stored(_document("same"))
    assert _sizes(make_plan(W, _document("same", "same"), V2, once)) == (1, 1, 0)

    twice = _stored(_document("same", "same"))
    assert _sizes(make_plan(W, _document("same"), V2, twice)) == (0, 1, 1)


def test_a_changed_title_uploads_again() -> None:
    """Readers see the title and it is embedded with the text."""
    stored = _stored(_document("a"))

    assert _sizes(make_plan(W, _document("a", title="Other"), V2, stored)) == (1, 0, 1)


@given(
    old=st.lists(st.sampled_from("abcd"), max_size=8),
    new=st.lists(st.sampled_from("abcd"), max_size=8),
)
def test_carrying_out_a_plan_converges(old: list[str], new: list[str]) -> None:
    """Whatever was stored: what is kept and uploaded together is exactly what is wanted."""
    stored = _stored(_document(*old))
    plan = make_plan(W, _document(*new), V2, stored)
    stale = {unit.location for unit in plan.stale}
    kept = [unit.marker.chunks[0].digest for unit in stored if unit.location not in stale]
    uploaded = [unit.marker.chunks[0].digest for unit in plan.missing]
    wanted = [unit.marker.chunks[0].digest for unit in _stored(_document(*new))]

    assert sorted(kept + uploaded) == sorted(wanted)
    assert len(plan.unchanged) == len(kept)


def test_of_equal_texts_the_one_that_was_uploaded_counts_as_stored() -> None:
    """Otherwise the same chunk of the same event is uploaded twice, and looks like a double."""
    whole = _document("x", "same")
    stored = StoredUnit(Location("x.json"), unit_of(whole.chunks[1:], whole, V1).marker)
    mended = _document("same", "same")
    plan = make_plan(Slug("docs"), mended, V2, [stored])

    assert plan.unchanged == ("d_chunk_1",)
    assert [unit.chunks[0].id for unit in plan.missing] == ["d_chunk_0"]
