"""Which records an earlier assignment had settled already, by what it committed. Pure.

`settled_metadata.py` says what is written. Here it is read back, record by record, and believed
only as long as everything fits: a wrong belief would skip an event for good, while one that is
dropped costs a repeated result.
"""

from __future__ import annotations

from consumer.kafka.settled_metadata import SettledBehind, SettledEntry, anchor_of, check_of
from consumer.model.record import Record


class Resumption:
    """What is left to be recognised in one assignment.

    Args:
        behind: what was committed; None where nothing was, or nothing that can be believed.
        cluster_id: of this Kafka.
    """

    def __init__(self, behind: SettledBehind | None = None, cluster_id: str = "") -> None:
        self._anchor = behind.anchor if behind else None
        self._entries = {entry.offset: entry for entry in behind.entries} if behind else {}
        self._cluster_id = cluster_id
        self.dropped: str | None = None
        """Why the rest was dropped, where it was."""

    def settled_before(self, record: Record) -> SettledEntry | None:
        """The entry of a record that was settled before; None where it is to be worked.

        Args:
            record: as it comes, in the order of offsets, none left out.
        """
        if not self._entries:
            return None
        if self._anchor is not None:
            anchor, self._anchor = self._anchor, None
            if anchor != anchor_of(record, self._cluster_id):
                self._drop("another record lies where the first open one was")
                return None
        entry = self._entries.pop(record.at.offset, None)
        if entry is not None and entry.check != check_of(record):
            self._drop(f"another record lies at offset {record.at.offset}")
            return None
        return entry

    def _drop(self, why: str) -> None:
        self._entries.clear()
        self.dropped = why

    def __len__(self) -> int:
        return len(self._entries)
