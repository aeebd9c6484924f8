"""What has to be done so that a workspace holds exactly this version of a document. Pure.

`consumer.model.difference` decides what counts as stored, and what is stale.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from consumer.model.difference import anybody, difference
from consumer.model.document import ProcessedDocument
from consumer.model.marker import Unit, digests_of, hash_of_ids, unit_of
from consumer.model.names import Slug
from consumer.model.packing import ONE_BY_ONE, Packing, packs
from consumer.model.repacking import repacked
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
        is_repack: whether `moved` are stored already, in units that are packed in another way:
            where one of them fails, all stays as it is.
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
    is_repack: bool = False


def make_plan(
    slug: Slug,
    document: ProcessedDocument,
    version: DocumentVersion,
    stored: Iterable[AnyStored],
    *,
    epoch: int = 0,
    packing: Packing = ONE_BY_ONE,
    is_repack: bool = False,
    may_lend: Callable[[AnyStored], bool] = anybody,
) -> Plan:
    """Compare the wanted chunks with the stored units of the same identity in that workspace.

    How things are packed changes only how they are uploaded: a stored unit of whatever size is kept
    where all that it holds is wanted, unless packing anew is what is asked for.

    Args:
        slug: the workspace.
        document: the wanted state.
        version: its version.
        stored: what is listed of its identity; what is not stored has no digests.
        epoch: of the index of the workspace.
        packing: how missing chunks are packed.
        is_repack: whether what is stored is packed anew, where it is packed in another way
            (`consumer.model.repacking`).
        may_lend: whether a pack that has to go stays for what only it holds, while a missing chunk
            fails. Of others the texts count as stored nowhere.
    """
    digests = digests_of(document)
    ids = [hash_of_ids((chunk.id,)) for chunk in document.chunks]
    found = difference(digests, stored, version, ids=ids, may_lend=may_lend)
    contents = [chunk.content for chunk in document.chunks]
    is_repack = is_repack and not found.missing
    if is_repack:
        today = packs(contents, digests, range(len(digests)), packing)
        found = repacked(found, today, version, wanted=digests, ids=ids)
    lent = frozenset(found.lent)

    def units(positions: Sequence[int]) -> tuple[Unit, ...]:
        return tuple(
            unit_of(tuple(document.chunks[each] for each in pack), document, version)
            for pack in packs(contents, digests, positions, packing)
        )

    return Plan(
        slug=slug,
        document=document,
        version=version,
        missing=units([each for each in found.missing if each not in lent]),
        unchanged=tuple(document.chunks[position].id for position in found.unchanged),
        stale=found.stale,
        digests=digests,
        epoch=epoch,
        moved=units(found.lent),
        is_repack=is_repack,
    )
