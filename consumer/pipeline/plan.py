"""What has to be done so that a workspace holds exactly this version of a document. Pure.

Stored chunks are compared by digest as a multiset, never by id or position: ids are positional
upstream, so a chunk inserted at the start renames all that follow, and the same text may stand in
a document more than once. A stored unit is kept when all its chunks are still wanted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from consumer.model.document import Chunk, ProcessedDocument
from consumer.model.marker import StoredUnit, Unit, mark, unit_of
from consumer.model.version import DocumentVersion


@dataclass(frozen=True, slots=True)
class Plan:
    """The way from what is stored to what is wanted.

    Args:
        slug: the workspace.
        document: the wanted state.
        version: its version.
        missing: units to upload.
        unchanged: ids of chunks whose text is stored already.
        stale: units to remove once nothing is missing any more.
    """

    slug: str
    document: ProcessedDocument
    version: DocumentVersion
    missing: tuple[Unit, ...]
    unchanged: tuple[str, ...]
    stale: tuple[StoredUnit, ...]


def is_superseded(version: DocumentVersion, stored: Iterable[StoredUnit]) -> bool:
    """True when a stored unit is newer: an old event must not bring back old text."""
    return any(unit.marker.version.newer_than(version) for unit in stored)


def make_plan(
    slug: str,
    document: ProcessedDocument,
    version: DocumentVersion,
    stored: Iterable[StoredUnit],
) -> Plan:
    """Compare the wanted chunks with the stored units of the same identity.

    Args:
        slug: the workspace.
        document: the wanted state.
        version: its version.
        stored: units of the same identity in that workspace.
    """
    marks = [(chunk, mark(chunk, document).digest) for chunk in document.chunks]
    wanted = Counter(digest for _, digest in marks)
    covered: Counter[str] = Counter()
    stale = []
    for unit in stored:
        digests = Counter(chunk.digest for chunk in unit.marker.chunks)
        if digests and digests + covered <= wanted:
            covered += digests
        else:
            stale.append(unit)
    unchanged, missing = _divide(marks, covered)
    return Plan(
        slug=slug,
        document=document,
        version=version,
        missing=tuple(unit_of((chunk,), document, version) for chunk in missing),
        unchanged=tuple(chunk.id for chunk in unchanged),
        stale=tuple(stale),
    )


def _divide(
    marks: Iterable[tuple[Chunk, str]], covered: Counter[str]
) -> tuple[list[Chunk], list[Chunk]]:
    left = Counter(covered)
    unchanged, missing = [], []
    for chunk, digest in marks:
        if left[digest] > 0:
            left[digest] -= 1
            unchanged.append(chunk)
        else:
            missing.append(chunk)
    return unchanged, missing
