"""Precedence: which of two events about one document counts. The one rule for everybody. Pure.

| known | new | the new one counts when, in one partition, | and else when |
| --- | --- | --- | --- |
| document | document | its version is not older | its version is not older |
| tombstone | document | its offset is not lower | it is newer by date |
| document | tombstone | its offset is higher, or the document no newer | the document is no newer |
| tombstone | tombstone | always | always |

A tombstone has only its record's date, which is later than the dates of most documents. So offsets
count first: by dates a document that is published again, unchanged, after its tombstone would stay
away. An earlier offset alone does not save a document from a tombstone: offsets begin again when a
topic is made anew, and its documents could never be deleted.
"""

from __future__ import annotations

from dataclasses import dataclass

from consumer.model.version import DocumentVersion


@dataclass(frozen=True, slots=True)
class Occurrence:
    """An event about a document in a workspace, as far as its order counts.

    Args:
        version: of the event.
        removes: whether it is a tombstone.
    """

    version: DocumentVersion
    removes: bool = False

    def supersedes(self, new: Occurrence) -> bool:
        """Whether this one, which was carried out, leaves a new one nothing to do."""
        ours, theirs = self.version, new.version
        if new.removes:
            return not self.removes and ours.newer_than(theirs) and not theirs.lies_behind(ours)
        if self.removes and ours.shares_partition(theirs):
            return ours.lies_behind(theirs)
        return not theirs.newer_than(ours) if self.removes else ours.newer_than(theirs)

    def replaces(self, earlier: Occurrence) -> bool:
        """Whether an earlier one, not carried out yet, is pointless because this one comes next.

        Only where that is certain whatever is stored: leaving the earlier one out must have the
        same end as carrying out both. A tombstone does more than any document that follows it.
        """
        ours, theirs = self.version, earlier.version
        if not ours.shares_partition(theirs) or theirs.lies_behind(ours):
            return False
        if earlier.removes:
            return self.removes and not theirs.newer_than(ours)
        return self.supersedes(earlier)
