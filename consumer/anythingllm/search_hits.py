"""What a search found, by chunk: pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from consumer.anythingllm.models import SearchHit, VectorHit
from consumer.anythingllm.sentinel import is_sentinel
from consumer.model.marker import ChunkMark, Marker, decode_marker

_PREFIX = re.compile(r"<document_metadata>\n.*?\n</document_metadata>\n\n", re.DOTALL)

_Key = tuple[str, str | None, str]


def text_of(hit: VectorHit) -> str:
    """A hit's text without the lines that AnythingLLM puts before what it embeds."""
    prefix = _PREFIX.match(hit.text)
    return hit.text[prefix.end() :] if prefix else hit.text


def search_hits(vectors: Iterable[VectorHit]) -> list[SearchHit]:
    """Hits by chunk, each at its best distance; vectors come nearest first, sentinels are left out.

    A chunk that is stored twice is one hit; documents of others have no chunks, so each of their
    vectors is a hit. One that came without a text is left out.
    """
    hits: list[SearchHit] = []
    seen: set[_Key] = set()
    for vector in vectors:
        if is_sentinel(vector.doc_source) or not vector.text:
            continue
        hit, key = _search_hit(vector)
        if key is None or key not in seen:
            hits.append(hit)
        if key is not None:
            seen.add(key)
    return hits


def _search_hit(vector: VectorHit) -> tuple[SearchHit, _Key | None]:
    text = text_of(vector)
    marker = decode_marker(vector.doc_source)
    if marker is None:
        return SearchHit(text, vector.distance, vector.title), None
    chunk = _chunk_of(marker, text)
    hit = SearchHit(
        text=text,
        distance=vector.distance,
        title=vector.title,
        document_id=marker.document_id,
        chunk_id=chunk.id if chunk else None,
        chunk_index=chunk.index if chunk else None,
        source_url=marker.source_url,
        technology=marker.technology,
        content_sha256=chunk.sha256 if chunk else None,
    )
    # Pieces of a pack whose chunk is not known differ by their text.
    return hit, (marker.document_id, hit.chunk_id, chunk.digest if chunk else text)


def _chunk_of(marker: Marker, text: str) -> ChunkMark | None:
    """Which chunk of the unit a text is. In a pack of several only a whole chunk is recognised."""
    if len(marker.chunks) == 1:
        return marker.chunks[0]
    from_text = {mark.sha256: mark for mark in marker.chunks}
    return from_text.get(hashlib.sha256(text.encode()).hexdigest())
