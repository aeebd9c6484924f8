"""What a listing shows, by unit and by document."""

from __future__ import annotations

from consumer.anythingllm.sentinel import sentinel_source
from consumer.anythingllm.stored_documents import stored_documents, stored_unit
from tests.unit.anythingllm.units import NOW, document, row, rows_of, stored


def test_a_listing_by_document() -> None:
    """One entry a logical document, whatever rows AnythingLLM has; foreign ones are marked."""
    rows = rows_of(stored(document("one", "two"))) + rows_of(stored(document("x", id="d2")))
    listed = stored_documents([*rows, rows[0], row(sentinel_source("s")), row("somebody's")])

    assert [(each.document_id, len(each.chunks), each.foreign) for each in listed] == [
        ("d1", 2, False),
        ("d2", 1, False),
        (None, 0, True),
    ]
    assert listed[0].version == NOW


def test_only_rows_with_a_whole_marker_are_ours() -> None:
    """What somebody edited, a newer format, a sentinel: never touched."""
    good = stored(document("one"))[0].marker.encode()

    assert stored_unit(row(good)) is not None
    for other in (good[:-2], good.replace('"alc":1', '"alc":2'), sentinel_source("s"), "", "null"):
        assert stored_unit(row(other)) is None
