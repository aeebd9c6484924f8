"""What has to be done so that a workspace holds exactly this version of a document. Pure.

`consumer.model.difference` decides what counts as stored, and what is stale.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from consumer.model.difference import difference
from consumer.model.document import ProcessedDocument
from consumer.model.marker import Unit, digests_of, hash_of_ids, unit_of
from consumer.model.names import Slug
from consumer.model.version import DocumentVersion
from consumer.pipeline.index_rows import AnyStored


@dataclass(frozen=True, slots=True)
class Plan:
    """The way from what is stored to what is wanted.

    Args:
        document: the wanted state.
        missing: units to upload.
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


def make_plan(
    slug: Slug,
    document: ProcessedDocument,
    version: DocumentVersion,
    stored: Iterable[AnyStored],
    *,
    epoch: int = 0,
) -> Plan:
    """Compare the wanted chunks with the stored units of the same identity in that workspace."""
    digests = digests_of(document)
    ids = [hash_of_ids((chunk.id,)) for chunk in document.chunks]
    found = difference(digests, stored, version, ids=ids)
    missing = (document.chunks[position] for position in found.missing)
    return Plan(
        slug=slug,
        document=document,
        version=version,
        missing=tuple(unit_of((chunk,), document, version) for chunk in missing),
        unchanged=tuple(document.chunks[position].id for position in found.unchanged),
        stale=found.stale,
        digests=digests,
        epoch=epoch,
    )
