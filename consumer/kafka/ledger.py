"""Which offsets of one partition are open, and how far a commit may go. Pure.

What is always true:
- A commit names the offset after the longest settled prefix of what was *received*. Kafka's gaps
  (compaction, transaction markers) are stepped over because they were never received.
- Committing further would lose the unsettled record at the front in the next crash; that is why
  this is the only file that decides it.
- The ledger of one assignment is never used for the next one: after a rebalance the position is
  the committed offset again, and receipts of the former assignment must change nothing.
- Memory goes by the open records. A document may wait for days beside millions that are settled.

It does not know what a record says, what settling means, or how a commit is sent.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class _Open:
    """A record received and not settled.

    Args:
        since: monotonic seconds at which it was received.
        after: the offset after the record received before it; None for the first one.
    """

    since: float
    after: int | None


class Ledger:
    """The open offsets of one partition in one assignment.

    Args:
        name: topic and partition, for `repr`.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._open: dict[int, _Open] = {}  # in the order of receiving
        self._end: int | None = None
        self._committed: int | None = None

    def receive(self, offset: int, now: float) -> bool:
        """Note a received offset; False when it was received before and must not be worked again.

        Args:
            offset: as delivered; only ever rising within one assignment.
            now: monotonic seconds, for the age of the oldest open record.
        """
        if self._end is not None and offset < self._end:
            return False
        self._open[offset] = _Open(now, after=self._end)
        self._end = offset + 1
        return True

    def settle(self, offset: int) -> None:
        """Note that the record's fate is acknowledged by Kafka.

        Raises:
            KeyError: the offset is not open; settling twice is a fault in the program.
        """
        del self._open[offset]

    @property
    def committable(self) -> int | None:
        """The offset to commit, or None when it is committed already."""
        front = self._front
        settled_to = self._end if front is None else front.after
        return None if settled_to == self._committed else settled_to

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
        front = self._front
        return None if front is None else front.since

    @property
    def _front(self) -> _Open | None:
        return next(iter(self._open.values()), None)

    def __repr__(self) -> str:
        front = next(iter(self._open), "-")
        return (
            f"<Ledger {self._name} open={self.open_count} front={front} "
            f"committable={self.committable} committed={self._committed}>"
        )
