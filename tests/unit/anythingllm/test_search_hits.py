"""What a search found, by chunk."""

from __future__ import annotations

from consumer.anythingllm.search_hits import search_hits, text_of
from consumer.anythingllm.sentinel import sentinel_source
from consumer.model.marker import unit_of
from tests.unit.anythingllm.units import PREFIX, VERSION, document, hit, stored


def test_the_servers_lines_are_stripped_and_only_those() -> None:
    """A chunk whose own text looks like such lines keeps them."""
    assert text_of(hit("", PREFIX + "hello", 0.1)) == "hello"
    assert text_of(hit("", PREFIX + PREFIX + "x", 0.1)) == PREFIX + "x"
    assert text_of(hit("", "hello\n" + PREFIX, 0.1)) == "hello\n" + PREFIX


def test_a_chunk_is_one_hit_at_its_best_distance() -> None:
    """Long chunks have several vectors, chunks stored twice several copies."""
    whole = document("first", "second")
    one, two = (unit.marker.encode() for unit in stored(whole))
    hits = search_hits(
        [hit(one, "fir", 0.1), hit(one, "rst", 0.2), hit(two, "second", 0.3), hit(one, "x", 9)]
    )

    assert [(each.chunk_id, each.text, each.distance) for each in hits] == [
        ("d1_0", "fir", 0.1),
        ("d1_1", "second", 0.3),
    ]
    assert hits[0].document_id == "d1"
    assert hits[0].content_sha256 == whole.chunks[0].content_sha256


def test_foreign_documents_are_found_and_sentinels_are_not() -> None:
    """A search shows what is there; our throw-away documents are nobody's business."""
    hits = search_hits([hit(sentinel_source("s"), "x", 0.0), hit("", "a", 0.1), hit("", "b", 0.2)])

    assert [(each.text, each.foreign, each.chunk_id) for each in hits] == [
        ("a", True, None),
        ("b", True, None),
    ]


def test_in_a_pack_a_whole_chunk_is_told_by_its_text() -> None:
    """A pack's hits share one marker; the text decides whose it is, where it can."""
    whole = document("first", "second")
    marker = unit_of(whole.chunks, whole, VERSION).marker.encode()
    hits = search_hits([hit(marker, "second", 0.1), hit(marker, "rst sec", 0.2)])

    assert [(each.document_id, each.chunk_id) for each in hits] == [("d1", "d1_1"), ("d1", None)]
