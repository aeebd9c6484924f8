from __future__ import annotations

from datetime import UTC, datetime, timedelta

from consumer.anythingllm.document_upload import compare
from consumer.anythingllm.form import sentinel_source
from consumer.anythingllm.models import DocumentRow, VectorHit, Workspace, WorkspaceListing
from consumer.anythingllm.readiness import is_in_use
from consumer.anythingllm.views import search_hits, stored_documents, stored_unit, text_of
from consumer.model.document import Chunk, ProcessedDocument
from consumer.model.marker import StoredUnit, unit_of
from consumer.model.version import DocumentVersion

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
VERSION = DocumentVersion(NOW)
PREFIX = "<document_metadata>\nsourceDocument: a.txt\npublished: 1/2/2026\n</document_metadata>\n\n"


def _document(*texts: str, id: str = "d1") -> ProcessedDocument:
    chunks = tuple(Chunk(f"{id}_{n}", text, n) for n, text in enumerate(texts))
    return ProcessedDocument(id, "Title.v1", "tech", "https://example.com/d", chunks)


def _stored(document: ProcessedDocument, version: DocumentVersion = VERSION) -> list[StoredUnit]:
    return [
        StoredUnit(
            f"custom-documents/{document.id}-{chunk.index}-{version.epoch_ms}.json",
            unit_of((chunk,), document, version).marker,
        )
        for chunk in document.chunks
    ]


def _row(doc_source: str, location: str = "custom-documents/x.json", age: float = 0) -> DocumentRow:
    created = NOW - timedelta(seconds=age)
    return DocumentRow(location, doc_source, "Title", created.isoformat())


def _rows(units: list[StoredUnit]) -> list[DocumentRow]:
    return [_row(unit.marker.encode(), unit.location) for unit in units]


def _hit(doc_source: str, text: str, distance: float) -> VectorHit:
    return VectorHit(text, distance, doc_source, "Title.v1")


def test_the_servers_lines_are_stripped_and_only_those() -> None:
    """A chunk whose own text looks like such lines keeps them."""
    assert text_of(_hit("", PREFIX + "hello", 0.1)) == "hello"
    assert text_of(_hit("", PREFIX + PREFIX + "x", 0.1)) == PREFIX + "x"
    assert text_of(_hit("", "hello\n" + PREFIX, 0.1)) == "hello\n" + PREFIX


def test_a_chunk_is_one_hit_at_its_best_distance() -> None:
    """Long chunks have several vectors, chunks stored twice several copies."""
    document = _document("first", "second")
    one, two = (unit.marker.encode() for unit in _stored(document))
    hits = search_hits(
        [_hit(one, "fir", 0.1), _hit(one, "rst", 0.2), _hit(two, "second", 0.3), _hit(one, "x", 9)]
    )

    assert [(hit.chunk_id, hit.text, hit.distance) for hit in hits] == [
        ("d1_0", "fir", 0.1),
        ("d1_1", "second", 0.3),
    ]
    assert hits[0].document_id == "d1"
    assert hits[0].content_sha256 == document.chunks[0].content_sha256


def test_foreign_documents_are_found_and_sentinels_are_not() -> None:
    """A search shows what is there; our throw-away documents are nobody's business."""
    hits = search_hits(
        [_hit(sentinel_source("s"), "x", 0.0), _hit("", "a", 0.1), _hit("", "b", 0.2)]
    )

    assert [(hit.text, hit.foreign, hit.chunk_id) for hit in hits] == [
        ("a", True, None),
        ("b", True, None),
    ]


def test_in_a_pack_a_whole_chunk_is_told_by_its_text() -> None:
    """A pack's hits share one marker; the text decides whose it is, where it can."""
    document = _document("first", "second")
    marker = unit_of(document.chunks, document, VERSION).marker.encode()
    hits = search_hits([_hit(marker, "second", 0.1), _hit(marker, "rst sec", 0.2)])

    assert [(hit.document_id, hit.chunk_id) for hit in hits] == [("d1", "d1_1"), ("d1", None)]


def test_a_listing_by_document() -> None:
    """One entry a logical document, whatever rows AnythingLLM has; foreign ones are marked."""
    rows = _rows(_stored(_document("one", "two"))) + _rows(_stored(_document("x", id="d2")))
    listed = stored_documents([*rows, rows[0], _row(sentinel_source("s")), _row("somebody's")])

    assert [(each.document_id, len(each.chunks), each.foreign) for each in listed] == [
        ("d1", 2, False),
        ("d2", 1, False),
        (None, 0, True),
    ]
    assert listed[0].version == NOW


def test_only_rows_with_a_whole_marker_are_ours() -> None:
    """What somebody edited, a newer format, a sentinel: never touched."""
    good = _stored(_document("one"))[0].marker.encode()

    assert stored_unit(_row(good)) is not None
    for other in (good[:-2], good.replace('"alc":1', '"alc":2'), sentinel_source("s"), "", "null"):
        assert stored_unit(_row(other)) is None


def test_what_can_never_be_sent_is_missing() -> None:
    """Half a surrogate pair has no digest: nothing stored has it, and its upload is refused."""
    document = _document("one", "half \ud800")
    changes = compare(document, _stored(_document("one")), VERSION)

    assert (changes.unchanged, changes.missing, changes.stale) == ((0,), (1,), ())


def test_in_use_is_a_workspace_with_a_settled_document() -> None:
    """Young documents and sentinels of any age do not prove that the table is there to stay."""

    def listing(*rows: DocumentRow) -> WorkspaceListing:
        return WorkspaceListing(Workspace(1, "w", "w"), rows, NOW)

    assert not is_in_use(listing())
    assert not is_in_use(listing(_row("x", age=60), _row(sentinel_source("s"), age=9999)))
    assert not is_in_use(listing(DocumentRow("l", "x", "", "no date")))
    assert is_in_use(listing(_row("x", age=61)))
