"""The marker: what we write into AnythingLLM's ``docSource`` so that a stored chunk is known again.

``docSource`` is one of the four metadata fields that AnythingLLM 1.16 keeps verbatim and gives back
in listings and search hits. The marker is compact JSON with one-letter names, because a listing
carries it once a stored unit:

    alc   marker format, 1
    d     document id                  u   source URL
    t     technology                   n   chunks in the document
    v     version instant, ISO 8601    o   [partition, offset] of the original record, or null
    c     chunks of this unit, each [id, index, digest, content sha256]

It stores the fields, not the identity, so that a change of DOCUMENT_IDENTITY converges by itself.
A ``docSource`` without a marker, or with one of a newer format, is foreign: it is never changed and
never removed. Numbers here are part of what is stored on servers: change them only together with
the format number.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from consumer.model.document import Chunk, ProcessedDocument
from consumer.model.fields import need_text
from consumer.model.names import Location
from consumer.model.packing import pack_text
from consumer.model.version import DocumentVersion

FORMAT = 1
_IDS_BYTES = 8
SENTINEL_KEY = "alc-sentinel"


def digest_of(content: str, *, title: str, source_url: str) -> str:
    """32 hex characters over what a reader of a hit gets: text, title and source URL.

    Equal digests mean that storing the chunk again would change nothing anyone can see.
    """
    joined = "\x00".join((content, title, source_url))
    return hashlib.sha256(joined.encode()).hexdigest()[:32]


def hash_of_ids(ids: Iterable[str]) -> str:
    """16 hex characters for each of a unit's chunks, to know them again in little memory."""
    return " ".join(map(_hash_of_id, ids))


def _hash_of_id(id: str) -> str:
    encoded = id.encode(errors="surrogatepass")
    return hashlib.blake2b(encoded, digest_size=_IDS_BYTES).hexdigest()


@dataclass(frozen=True, slots=True)
class ChunkMark:
    """One chunk as the marker names it; ``digest`` by `digest_of`, ``sha256`` of the text alone."""

    id: str
    index: int
    digest: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Marker:
    """Whose chunks a stored unit holds (module docstring)."""

    document_id: str
    source_url: str
    technology: str
    total_chunks: int
    version: DocumentVersion
    chunks: tuple[ChunkMark, ...]

    def encode(self) -> str:
        """The marker as the text that goes into ``docSource``."""
        origin = [self.version.partition, self.version.offset]
        return orjson.dumps(
            {
                "alc": FORMAT,
                "d": self.document_id,
                "u": self.source_url,
                "t": self.technology,
                "n": self.total_chunks,
                "v": self.version.instant.astimezone(UTC),
                "o": None if self.version.partition is None else origin,
                "c": [[c.id, c.index, c.digest, c.sha256] for c in self.chunks],
            }
        ).decode()


@dataclass(frozen=True, slots=True)
class Unit:
    """What one AnythingLLM document holds: a pack of one or more chunks of one document.

    One chunk a unit is the rule. Ten chunks in one AnythingLLM document were stored eight times as
    fast as ten documents (AnythingLLM 1.16, LanceDB): `consumer.model.packing`.
    """

    title: str
    chunks: tuple[Chunk, ...]
    marker: Marker

    @property
    def text(self) -> str:
        """The text that is uploaded and embedded."""
        if len(self.chunks) == 1:
            return self.chunks[0].content
        return pack_text(chunk.content for chunk in self.chunks)

    @property
    def is_pack(self) -> bool:
        """Whether it holds several chunks."""
        return len(self.chunks) > 1


@dataclass(frozen=True, slots=True)
class StoredUnit:
    """A row of a workspace's listing that carries our marker.

    Args:
        location: AnythingLLM's handle (``custom-documents/….json``).
        marker: what it holds.
    """

    location: Location
    marker: Marker

    @property
    def version(self) -> DocumentVersion:
        """The version of the document it was stored with."""
        return self.marker.version

    @property
    def chunk_ids(self) -> str:
        """Hashes of its chunks' ids (`hash_of_ids`)."""
        return hash_of_ids(chunk.id for chunk in self.marker.chunks)

    @property
    def digests(self) -> tuple[str, ...]:
        """The digests of its chunks."""
        return tuple(chunk.digest for chunk in self.marker.chunks)


def mark(chunk: Chunk, document: ProcessedDocument) -> ChunkMark:
    """A chunk of a document as markers name it."""
    digest = digest_of(chunk.content, title=document.title, source_url=document.source_url)
    return ChunkMark(chunk.id, chunk.index, digest, chunk.content_sha256)


def digests_of(document: ProcessedDocument) -> tuple[str, ...]:
    """The digests of a document's chunks, in order."""
    return tuple(mark(chunk, document).digest for chunk in document.chunks)


def unit_of(
    chunks: tuple[Chunk, ...], document: ProcessedDocument, version: DocumentVersion
) -> Unit:
    """The unit that stores these chunks of the document at this version."""
    marker = Marker(
        document_id=document.id,
        source_url=document.source_url,
        technology=document.technology,
        total_chunks=len(document.chunks),
        version=version,
        chunks=tuple(mark(chunk, document) for chunk in chunks),
    )
    return Unit(document.title, chunks, marker)


def decode_marker(doc_source: object) -> Marker | None:
    """The marker in a ``docSource`` value, or None when it is not ours to touch."""
    if not isinstance(doc_source, str) or not doc_source.startswith('{"alc":'):
        return None
    try:
        fields = orjson.loads(doc_source)
        return _from_fields(fields) if fields["alc"] == FORMAT else None
    except (LookupError, TypeError, ValueError):
        # Somebody edited it by hand: treating it as ours could delete what is not ours.
        return None


def _from_fields(fields: dict[str, Any]) -> Marker:
    return Marker(
        document_id=need_text(fields["d"]),
        source_url=need_text(fields["u"]),
        technology=need_text(fields["t"]),
        total_chunks=int(fields["n"]),
        version=_version(fields["v"], fields["o"]),
        chunks=tuple(
            ChunkMark(need_text(id_), int(index), need_text(digest), need_text(sha256))
            for id_, index, digest, sha256 in fields["c"]
        ),
    )


def _version(instant: object, origin: Any) -> DocumentVersion:
    parsed = datetime.fromisoformat(need_text(instant))
    if parsed.tzinfo is None:
        raise ValueError("a marker's instant has no zone and can't be compared")
    if origin is None:
        return DocumentVersion(parsed)
    partition, offset = origin
    return DocumentVersion(parsed, int(partition), int(offset))
