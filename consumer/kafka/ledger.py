"""Which offsets of one partition are open, and how far a commit may go. Pure.

What is always true:
- A commit names the offset after the longest settled prefix of what was *received*. Kafka's gaps
  (compaction, transaction markers) are stepped over because they were never received.
- Committing further would lose the unsettled record at the front in the next crash; that is why
  this is the only file that decides it.
- The ledger of one assignment is never used for the next one: after a rebalance the position is
  the committed offset again, and receipts of the former assignment must change nothing.

It refuses to know what a record says, what settling means, and how a commit is sent.
"""

from __future__ import annotations

from collections import deque


class Ledger:
    """The open offsets of one partition in one assignment.

    Args:
        name: topic and partition, for `repr`.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._order: deque[int] = deque()
        self._open: dict[int, float] = {}
        self._settled_to: int | None = None
        self._committed: int | None = None
        self._last: int = -1

    def receive(self, offset: int, now: float) -> bool:
        """Note a received offset; False when it was received before and must not be worked again.

        Args:
            offset: as delivered; only ever rising within one assignment.
            now: monotonic seconds, for the age of the oldest open record.
        """
        if offset <= self._last:
            return False
        self._last = offset
        self._order.append(offset)
        self._open[offset] = now
        return True

    def settle(self, offset: int) -> None:
        """Note that the record's fate is acknowledged by Kafka.

        Raises:
            KeyError: the offset is not open; settling twice is a fault in the program.
        """
        del self._open[offset]
        while self._order and self._order[0] not in self._open:
            self._settled_to = self._order.popleft() + 1

    @property
    def committable(self) -> int | None:
        """The offset to commit, or None when that would tell Kafka nothing new."""
        return None if self._settled_to == self._committed else self._settled_to

    def committed(self, offset: int) -> None:
        """Note that Kafka took this commit."""
        self._committed = offset

    @property
    def open_count(self) -> int:
        """Records received and not settled."""
        return len(self._open)

    @property
    def oldest_open_since(self) -> float | None:
        """Monotonic seconds at which the record that holds back the commit was received."""
        return self._open[self._order[0]] if self._order else None

    def __repr__(self) -> str:
        front = self._order[0] if self._order else "-"
        return (
            f"<Ledger {self._name} open={self.open_count} front={front} "
            f"settled_to={self._settled_to} committed={self._committed}>"
        )
