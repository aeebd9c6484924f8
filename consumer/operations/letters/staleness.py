"""What was stored or deleted since: whether a dead letter's event is overtaken. Pure.

Only documents with a letter are remembered, so memory goes by the letters and not by the results.
"""

from __future__ import annotations

from dataclasses import dataclass

from consumer.contract.received_letter import Letter
from consumer.contract.received_result import ReceivedResult
from consumer.model.names import Identity
from consumer.model.origin import Origin
from consumer.model.precedence import Occurrence
from consumer.model.version import DocumentVersion


@dataclass(slots=True)
class _NewestStates:
    """The newest states of one document in one workspace, from one partition."""

    stored: DocumentVersion | None = None
    stored_offset: int = -1
    deleted: DocumentVersion | None = None
    deleted_offset: int = -1


_Partition = tuple[str | None, int]  # workspace, partition


class DocumentStates:
    """The newest states of the documents that have letters, as results name them."""

    def __init__(self) -> None:
        self._documents: dict[str, dict[_Partition, _NewestStates]] = {}

    def __len__(self) -> int:
        """How many documents are remembered."""
        return len(self._documents)

    def watch(self, identity: Identity) -> None:
        """Remember what becomes of this document."""
        self._documents.setdefault(identity, {})

    def add(self, result: ReceivedResult, origin: Origin | None) -> None:
        """Take a result.

        Args:
            result: of any document; those that are not watched are left out.
            origin: of the event's letter, where it has one.
        """
        documents = self._documents.get(result.identity) if result.identity else None
        if documents is None or result.status not in {"succeeded", "deleted"}:
            return
        version = _version_of(result, origin)
        if version is None:
            return
        partition, offset = version.partition or 0, version.offset or 0
        known = documents.setdefault((result.workspace_slug, partition), _NewestStates())
        if result.status == "succeeded":
            known.stored = _newer(known.stored, version)
            known.stored_offset = max(known.stored_offset, offset)
        else:
            known.deleted = _newer(known.deleted, version)
            known.deleted_offset = max(known.deleted_offset, offset)

    def is_stale(self, letter: Letter, own: DocumentVersion) -> bool:
        """Whether a state of the letter's document came after its event.

        Args:
            letter: one of ours.
            own: the version of its event.
        """
        if letter.identity is None:
            return False
        return any(
            _outdates(known, partition, own, tombstone=letter.tombstone)
            for (slug, partition), known in self._documents[letter.identity].items()
            if letter.workspace is None or slug is None or slug == letter.workspace
        )


def _outdates(
    known: _NewestStates, partition: int, own: DocumentVersion, *, tombstone: bool
) -> bool:
    """Whether a state of the document came after this event."""
    if tombstone and partition == own.partition:
        # A tombstone has no date of its own: only its place in the partition is certain.
        return max(known.stored_offset, known.deleted_offset) > (own.offset or 0)
    if known.stored is not None and known.stored.newer_than(own):
        return True
    if known.deleted is None:
        return False
    if partition == own.partition:
        return known.deleted_offset > (own.offset or 0)
    if tombstone:
        return known.deleted.newer_than(own)
    return Occurrence(known.deleted, removes=True).supersedes(Occurrence(own))


def _newer(known: DocumentVersion | None, other: DocumentVersion) -> DocumentVersion:
    return other if known is None or other.newer_than(known) else known


def _version_of(result: ReceivedResult, origin: Origin | None) -> DocumentVersion | None:
    """The version that a result speaks of; offsets are those of the original record.

    A replay's record is younger than its event. Where the result gives no version, which a removal
    never does, only the letter knows how old the event is.
    """
    original = result.replay_of
    instant = result.document_version
    if instant is None and original is None:
        instant = result.source.timestamp
    elif instant is None and origin is not None:
        instant = origin.timestamp
    if instant is None:
        return None
    source = original or result.source
    return DocumentVersion(instant, source.partition, source.offset)
