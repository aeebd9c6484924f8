"""Versions that left no marker, and still count as known while we have the partition.

A version that uploads nothing (unchanged, only shorter, emptied, deleted) leaves no trace in
AnythingLLM. Without this memory an older version that comes late would bring back what the newer
one removed.

It is a memory of this process, forgotten with the assignment: another owner of the partition may go
on from there. The results topic is the record that lasts.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeVar

from consumer.model.names import Identity, Slug
from consumer.model.version import DocumentVersion

K = TypeVar("K")

_KEPT = 20_000  # about 10 MB; the oldest go first, as all of them do with a restart


class SettledVersions:
    """See the module's docstring."""

    def __init__(self, kept: int = _KEPT) -> None:
        self._kept = kept
        self._documents: OrderedDict[tuple[Identity, Slug], DocumentVersion] = OrderedDict()
        self._tombstones: OrderedDict[tuple[Identity, Slug | None], DocumentVersion] = OrderedDict()

    def document(self, identity: Identity, slug: Slug, version: DocumentVersion) -> None:
        """Note a document's version that is applied and uploaded nothing."""
        _note(self._documents, (identity, slug), version, self._kept)

    def tombstone(self, identity: Identity, slug: Slug | None, version: DocumentVersion) -> None:
        """Note a tombstone that is carried out, in one workspace or in all (None)."""
        _note(self._tombstones, (identity, slug), version, self._kept)

    def supersedes(self, identity: Identity, slug: Slug, version: DocumentVersion) -> bool:
        """Whether something newer than this version of a document is known."""
        known = self._documents.get((identity, slug))
        if known is not None and known.newer_than(version):
            return True
        keys: tuple[tuple[Identity, Slug | None], ...] = ((identity, slug), (identity, None))
        return any(
            tombstone.ends(version)
            for key in keys
            if (tombstone := self._tombstones.get(key)) is not None
        )

    def forget(self) -> None:
        """Forget everything: others may own the partitions now."""
        self._documents.clear()
        self._tombstones.clear()


def _note(
    memory: OrderedDict[K, DocumentVersion], key: K, version: DocumentVersion, kept: int
) -> None:
    known = memory.pop(key, None)
    memory[key] = known if known is not None and known.newer_than(version) else version
    if len(memory) > kept:
        memory.popitem(last=False)
