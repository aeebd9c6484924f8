"""Markers: known again, and never mistaken for somebody else's."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from consumer.model.document import Chunk, ProcessedDocument
from consumer.model.marker import decode_marker, digest_of, unit_of
from consumer.model.version import DocumentVersion

DOCUMENT = ProcessedDocument(
    "d", "Tïtle 日本", "tech", "https://example.com", (Chunk("c", "text", 0),)
)


@pytest.mark.parametrize("origin", [(None, None), (3, 41)])
def test_a_marker_survives_the_way_through_the_server(
    origin: tuple[int | None, int | None],
) -> None:
    """What is written is what is read, with and without an original record."""
    version = DocumentVersion(datetime(2026, 11, 22, 10, 0, 0, 123456, tzinfo=UTC), *origin)
    marker = unit_of(DOCUMENT.chunks, DOCUMENT, version).marker

    assert decode_marker(marker.encode()) == marker


@pytest.mark.parametrize(
    "doc_source",
    [
        None,
        5,
        "",
        "no source set",
        "{}",
        '{"alc":1}',
        '{"alc":2,"d":"d"}',
        '{"alc":1,"d":5,"u":"","t":"","n":1,"v":"2026-01-01T00:00:00+00:00","o":null,"c":[]}',
        '{"alc":1,"d":"d","u":"u","t":"t","n":1,"v":"yesterday","o":null,"c":[]}',
        '{"alc":1,"d":"d","u":"u","t":"t","n":1,"v":"2026-01-01T00:00:00+00:00","o":[1],"c":[]}',
        '{"alc":1,"d":"d","u":"u","t":"t","n":1,"v":"2026-01-01T00:00:00","o":null,"c":[]}',
        '{"alc":',
        '{"alc":1,"d":"d","u":"u","t":"t","n":1,"v":"2026-01-01T00:00:00+00:00","o":null,"c":[["x"]]}',
    ],
)
def test_what_is_not_ours_is_foreign(doc_source: object) -> None:
    """Anything but a whole marker of our format is foreign: it is never touched."""
    assert decode_marker(doc_source) is None


def test_the_digest_sees_what_a_reader_sees() -> None:
    """Text, title and source URL change it; and they can't be traded against each other."""
    base = digest_of("text", title="title", source_url="url")

    assert (
        len(
            {
                base,
                digest_of("x", title="title", source_url="url"),
                digest_of("text", title="x", source_url="url"),
                digest_of("text", title="title", source_url="x"),
                digest_of("texttitle", title="", source_url="url"),
            }
        )
        == 5
    )
