"""What the index keeps of one workspace: packed rows by identity. Pure.

20,000 units as objects are 100,000 Python objects and 25 MB or more, and the garbage collector
walks through them again and again. Here a document is two objects: its identity, and its rows
packed into one byte array. They are unpacked when the document is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Any

import orjson

from consumer.model.identity import IdentityTemplate
from consumer.model.marker import StoredUnit
from consumer.model.names import Identity, Location
from consumer.model.version import DocumentVersion

# Memory beside the content, measured with CPython 3.11 to 3.13
# (tests/unit/pipeline/test_index_rows.py): of an identity with its byte array and their places in
# the dictionary, of a source with its place, of a workspace with nothing in it.
_DOCUMENT_BYTES = 160
_SOURCE_BYTES = 100
_WORKSPACE_BYTES = 2_000

# The beginning of a row: its location, its instant, and the partition. To unpack all rows of 30,000
# documents would hold the loop for half a second.
_HEAD = re.compile(rb'\["(?:[^"\\]|\\.)*","[^"]*",(\d+)')

# Up to here all rows of a document are packed anew when some are taken out: less than 1 ms. A large
# one goes in hundreds of requests, and would be packed anew for each.
_SMALL_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A stored unit, as far as deciding needs it (`consumer.model.difference.ComparableUnit`).

    Args:
        location: AnythingLLM's handle.
        version: of the document it was stored with.
        digests: of its chunks.
        identity: of the document.
        chunk_ids: hashes of them; the same text may stand in a document under several.
    """

    location: Location
    version: DocumentVersion
    digests: tuple[str, ...]
    identity: Identity
    chunk_ids: str


AnyStored = StoredRow | StoredUnit
"""A stored unit as the index gives it, or as it was just uploaded."""


class IndexedRows:
    """The units of one workspace.

    Args:
        identity: which units are of the same document.
    """

    def __init__(self, identity: IdentityTemplate) -> None:
        self._identity = identity
        # Where identities follow the source, no source can be stored under two of them.
        self._follows_source = "source_url" in identity.template.placeholders
        self._packed: dict[Identity, bytearray] = {}
        self._sources: dict[bytes, Identity] = {}
        self._left: dict[Identity, set[Location]] = {}  # of large ones that lost some
        self._bytes = 0

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._packed)

    @property
    def size(self) -> int:
        """Estimated bytes of memory."""
        documents, sources = len(self._packed), len(self._sources)
        fixed = documents * _DOCUMENT_BYTES + sources * _SOURCE_BYTES + _WORKSPACE_BYTES
        return self._bytes + fixed

    @property
    def identities(self) -> tuple[Identity, ...]:
        """Of all documents."""
        return tuple(self._packed)

    @property
    def partitions(self) -> Mapping[Identity, int | None]:
        """The partition that each document came from, by one of its units; None: not known."""
        heads = ((each, _HEAD.match(packed)) for each, packed in self._packed.items())
        return {each: int(head[1]) if head is not None else None for each, head in heads}

    def of(self, identity: Identity) -> tuple[StoredRow, ...]:
        """The units of one document, each location once."""
        return tuple(self.each(identity))

    def each(self, identity: Identity) -> Iterator[StoredRow]:
        """As `of`, one by one: all as they are when the first one is asked for."""
        packed = self._packed.get(identity)
        if packed is None:
            return
        rows = {row[0]: row for row in self._rows(identity, packed)}
        versions: dict[tuple[Any, ...], DocumentVersion] = {}  # few, of many rows
        for row in rows.values():
            yield _row(row, identity, versions)

    def put(self, unit: StoredUnit) -> None:
        """Add a unit; a location that is there already is replaced."""
        identity, source_url = self._identity.of_marker(unit.marker), unit.marker.source_url
        packed = _packed(unit)
        if (rows := self._packed.get(identity)) is None:
            self._packed[identity] = bytearray(packed)
            self._bytes += len(identity) + len(packed)
        else:
            # Appended even if it is there, because looking for it would make a document of n chunks
            # cost n² steps. `of` takes the last one.
            rows += packed
            self._bytes += len(packed)
        if (left := self._left.get(identity)) is not None:
            left.add(unit.location)
        if not self._follows_source and source_url:
            self._sources[_hash(source_url)] = identity

    def take(self, identity: Identity, locations: Collection[Location]) -> None:
        """Take units out; those that are not there are no error."""
        packed = self._packed.get(identity)
        if packed is None:
            return
        left = self._left.pop(identity, None)
        if left is None:
            left = {row[0] for row in _unpacked(packed)}
        before = len(left)
        left.difference_update(locations)
        if left and len(packed) > _SMALL_BYTES:
            self._left[identity] = left
            if before.bit_length() // 3 == len(left).bit_length() // 3:
                return  # packed anew only when an eighth is left
        kept = b"".join(_pack(row) for row in _unpacked(packed) if row[0] in left)
        self._bytes += len(kept) - len(packed)
        if kept:
            self._packed[identity] = bytearray(kept)
        else:
            del self._packed[identity]
            self._bytes -= len(identity)

    def _rows(self, identity: Identity, packed: bytearray) -> Iterable[list[Any]]:
        left = self._left.get(identity)
        rows = _unpacked(packed)
        return rows if left is None else (row for row in rows if row[0] in left)

    def sharing(self, source_url: str, identity: Identity) -> Identity | None:
        """Another identity that a document of this source is stored under, the newest one."""
        found = self._sources.get(_hash(source_url))
        return found if found != identity and found in self._packed else None


def _packed(unit: StoredUnit) -> bytes:
    version = unit.version
    instant = version.instant.isoformat()
    head = [unit.location, instant, version.partition, version.offset, unit.chunk_ids]
    return _pack([*head, *unit.digests])


def _pack(row: list[Any]) -> bytes:
    return orjson.dumps(row) + b","


def _unpacked(packed: bytearray) -> list[list[Any]]:
    rows: list[list[Any]] = orjson.loads(b"[" + packed[:-1] + b"]")
    return rows


def _row(
    row: list[Any], identity: Identity, versions: dict[tuple[Any, ...], DocumentVersion]
) -> StoredRow:
    location, instant, partition, offset, chunk_ids, *digests = row
    of = instant, partition, offset
    if (version := versions.get(of)) is None:
        version = DocumentVersion(datetime.fromisoformat(instant), partition, offset)
        versions[of] = version
    return StoredRow(location, version, tuple(digests), identity, chunk_ids)


def _hash(source_url: str) -> bytes:
    return blake2b(source_url.encode(), digest_size=16).digest()
