"""What has to be done so that a workspace holds exactly this version of a document. Pure.

`consumer.model.difference` decides what counts as stored, and what is stale.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from consumer.model.difference import Difference, difference, is_stored_if_listed
from consumer.model.document import ProcessedDocument
from consumer.model.marker import Unit, digests_of, hash_of_ids, unit_of
from consumer.model.names import Location, Slug
from consumer.model.packing import ONE_BY_ONE, Packing, packs
from consumer.model.version import DocumentVersion
from consumer.pipeline.index_rows import AnyStored


@dataclass(frozen=True, slots=True)
class Plan:
    """The way from what is stored to what is wanted.

    Args:
        document: the wanted state.
        missing: units to upload whose texts are stored nowhere.
        moved: units to upload after them, of texts that are stored in packs which have to go. Where
            a missing one fails nothing goes, so these would be there twice.
        unchanged: ids of chunks whose text is stored already.
        stale: units to remove once nothing is missing any more.
        digests: of all its chunks.
        epoch: of the index of its workspace when it was made (`Index.epoch`).
    """

    slug: Slug
    document: ProcessedDocument
    version: DocumentVersion
    missing: tuple[Unit, ...]
    unchanged: tuple[str, ...]
    stale: tuple[AnyStored, ...]
    digests: tuple[str, ...]
    epoch: int = 0
    moved: tuple[Unit, ...] = ()


def make_plan(
    slug: Slug,
    document: ProcessedDocument,
    version: DocumentVersion,
    stored: Iterable[AnyStored],
    *,
    epoch: int = 0,
    packing: Packing = ONE_BY_ONE,
    is_proven: Callable[[Location], bool] = is_stored_if_listed,
) -> Plan:
    """Compare the wanted chunks with the stored units of the same identity in that workspace.

    How things are packed changes only how they are uploaded: a stored unit of whatever size is kept
    where all that it holds is wanted.

    Args:
        slug: the workspace.
        document: the wanted state.
        version: its version.
        stored: what is listed of its identity; what is not stored has no digests.
        epoch: of the index of the workspace.
        packing: how missing chunks are packed.
        is_proven: whether a listed unit is known to be stored. A pack with a text that is not known
            is not looked for, so its other texts count as stored nowhere.
    """
    digests = digests_of(document)
    ids = [hash_of_ids((chunk.id,)) for chunk in document.chunks]
    found = difference(digests, stored, version, ids=ids)
    contents = [chunk.content for chunk in document.chunks]
    new, moved = _new_and_moved(found, digests, is_proven)

    def units(positions: Sequence[int]) -> tuple[Unit, ...]:
        return tuple(
            unit_of(tuple(document.chunks[each] for each in pack), document, version)
            for pack in packs(contents, digests, positions, packing)
        )

    return Plan(
        slug=slug,
        document=document,
        version=version,
        missing=units(new),
        unchanged=tuple(document.chunks[position].id for position in found.unchanged),
        stale=found.stale,
        digests=digests,
        epoch=epoch,
        moved=units(moved),
    )


def _new_and_moved(
    found: Difference[AnyStored], digests: Sequence[str], is_proven: Callable[[Location], bool]
) -> tuple[list[int], list[int]]:
    """The missing chunks whose texts are stored nowhere, and those that stale packs hold."""
    # A single chunk that goes is a copy of one that stays.
    goes = (unit for unit in found.stale if len(unit.digests) > 1 and is_proven(unit.location))
    held = Counter(digest for unit in goes for digest in unit.digests)
    new: list[int] = []
    moved: list[int] = []
    for position in found.missing:
        digest = digests[position]
        (moved if held[digest] > 0 else new).append(position)
        held[digest] -= 1
    return new, moved
