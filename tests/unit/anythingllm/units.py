"""Documents, their stored units, rows of listings and hits, for the tests of this room."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from consumer.anythingllm.models import DocumentRow, VectorHit
from consumer.model.document import Chunk, ProcessedDocument
from consumer.model.marker import StoredUnit, unit_of
from consumer.model.names import Location
from consumer.model.version import DocumentVersion

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
VERSION = DocumentVersion(NOW)
PREFIX = "<document_metadata>\nsourceDocument: a.txt\npublished: 1/2/2026\n</document_metadata>\n\n"


def document(*texts: str, id: str = "d1") -> ProcessedDocument:
    chunks = tuple(Chunk(f"{id}_{n}", text, n) for n, text in enumerate(texts))
    return ProcessedDocument(id, "Title.v1", "tech", "https://example.com/d", chunks)


def stored(document: ProcessedDocument, version: DocumentVersion = VERSION) -> list[StoredUnit]:
    return [
        StoredUnit(
            Location(f"custom-documents/{document.id}-{chunk.index}-{version.epoch_ms}.json"),
            unit_of((chunk,), document, version).marker,
        )
        for chunk in document.chunks
    ]


def row(doc_source: str, location: str = "custom-documents/x.json", age: float = 0) -> DocumentRow:
    created = NOW - timedelta(seconds=age)
    return DocumentRow(Location(location), doc_source, "Title", created.isoformat())


def rows_of(units: list[StoredUnit]) -> list[DocumentRow]:
    return [row(unit.marker.encode(), unit.location) for unit in units]


def hit(doc_source: str, text: str, distance: float) -> VectorHit:
    return VectorHit(text, distance, doc_source, "Title.v1")
