"""What a listing shows, by unit and by logical document: pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from consumer.anythingllm.models import DocumentRow, StoredChunk, StoredDocument
from consumer.anythingllm.sentinel import is_sentinel
from consumer.model.marker import Marker, StoredUnit, decode_marker
from consumer.model.names import Location


def stored_unit(row: DocumentRow) -> StoredUnit | None:
    """The unit in a listing's row; None for sentinels and what is not ours to touch."""
    marker = decode_marker(row.doc_source)
    return StoredUnit(row.location, marker) if marker else None


def stored_documents(rows: Iterable[DocumentRow]) -> list[StoredDocument]:
    """A listing by logical document: ours by document id, each foreign row on its own."""
    ours: dict[str, dict[Location, tuple[DocumentRow, Marker]]] = {}
    foreign: dict[Location, StoredDocument] = {}
    for row in rows:
        if is_sentinel(row.doc_source):
            continue
        unit = stored_unit(row)
        if unit is None:
            foreign[row.location] = _foreign(row)
        else:
            # By location: AnythingLLM lists a document twice that was embedded twice.
            of_document = ours.setdefault(unit.marker.document_id, {})
            of_document[row.location] = (row, unit.marker)
    return [_ours(list(each.values())) for each in ours.values()] + list(foreign.values())


def _foreign(row: DocumentRow) -> StoredDocument:
    return StoredDocument(None, row.title, None, None, None, 0, (), (row.location,))


def _ours(units: Sequence[tuple[DocumentRow, Marker]]) -> StoredDocument:
    row, newest = max(units, key=lambda unit: unit[1].version.instant)
    chunks = [
        StoredChunk(mark.id, mark.index, mark.sha256, each.location)
        for each, marker in units
        for mark in marker.chunks
    ]
    return StoredDocument(
        document_id=newest.document_id,
        title=row.title,
        source_url=newest.source_url,
        technology=newest.technology,
        version=newest.version.instant,
        total_chunks=newest.total_chunks,
        chunks=tuple(sorted(chunks, key=lambda chunk: chunk.chunk_index)),
        locations=tuple(each.location for each, _ in units),
    )
