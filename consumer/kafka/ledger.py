"""Which offsets of one partition are open, and how far a commit may go. Pure.

Rules:

- A commit names the offset after the longest settled prefix of what was *received*. Kafka's gaps
  (compaction, transaction markers) are passed over because no record of theirs was received.
- A commit that goes further would lose the unsettled record at the front in the next crash. That
  is why only this file decides it.
- While nothing is open the commit follows the consumer's position. Behind the last record there
  may be a marker or an aborted transaction: left uncommitted they are a lag that never ends, and
  retention that takes them makes the committed offset one that does not exist any more.
- What is settled behind an open record is noted beside the commit (`settled_metadata.py`), as far
  as there is room. It is noted without a hole: were a later event of a document skipped after a
  restart and an earlier one worked again, a tombstone would delete what was published after it.
- A settled record that is held back keeps the commit before itself, as if it were open. It is noted
  beside the commit as well: whoever reads it again knows that it is settled, and until when it is
  held back.
- What is left in doubt without being held back is named beside the commit as well, and what
  AnythingLLM died of (`kept_deaths.py`).
- The ledger of one assignment is never used for the next one. After a rebalance the position is
  the committed offset again, and receipts of the former assignment must change nothing.
- Memory is bounded by the open records and by what is in doubt. A document may wait for days
  beside millions that are settled.

The ledger refuses to know what a record says, what settling means, and how a commit is sent.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass, replace

from consumer.kafka.kept_deaths import KeptDeaths, decode_deaths
from consumer.kafka.settled_metadata import LIMIT, NO_ANCHOR, SettledBehind, SettledEntry, encode
from consumer.model.death_count import DeathCount

_BY_FORMER = -1  # no offset
_MOST_BEHIND = 1_400  # more than the default limit of the metadata holds


@dataclass(frozen=True, slots=True)
class RecordMark:
    """How a record is known again after a restart.

    Args:
        check: `consumer.kafka.settled_metadata.check_of` it.
        anchor: `consumer.kafka.settled_metadata.anchor_of` it.
    """

    check: int
    anchor: bytes


@dataclass(frozen=True, slots=True)
class CommitDue:
    """What is to be committed.

    Args:
        offset: the first one that is not settled.
        metadata: what is settled behind it; empty where nothing is.
    """

    offset: int
    metadata: str = ""


@dataclass(frozen=True, slots=True)
class _Open:
    """A record that was received and is not settled.

    Args:
        offset: its own.
        since: monotonic seconds at which it was received.
        after: the offset after the record received before it; None for the first one where nobody
            knows where the assignment began.
    """

    offset: int
    since: float
    after: int | None
    mark: RecordMark | None


class Ledger:
    """The open offsets of one partition in one assignment.

    Args:
        name: topic and partition, for `repr`.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._open: dict[int, _Open] = {}  # in the order of receiving
        self._behind: list[SettledEntry] = []  # settled behind an open one, by offset
        self._left_out: tuple[int, int] | None = None  # the first and last settled ones not noted
        self._end: int | None = None
        self._held: dict[int, float] = {}  # until when each is held back, epoch seconds
        self._in_doubt: dict[tuple[int, int], float] = {}  # by name and offset, until when
        self._doubt_until = 0.0  # of what former owners knew; epoch seconds
        self._deaths = KeptDeaths()
        self._former: SettledBehind | None = None  # as it was committed, while nothing is received
        self._ended = False
        self._committed: CommitDue | None = None
        self._due: CommitDue | None = None  # as worked out last; None: to be worked out
        self.metadata_limit = LIMIT

    def begin_at(
        self, offset: int, *, behind: SettledBehind | None = None, metadata: str = ""
    ) -> None:
        """Note where the assignment begins, what was committed there, and what that says."""
        self._end = offset
        self._committed = CommitDue(offset, metadata)
        self._former, self._due = behind, None
        self._deaths = KeptDeaths(decode_deaths(metadata, offset))
        self._behind = list(behind.entries) if behind else []
        self._doubt_until = float(behind.held_until) if behind else 0.0
        names = behind.in_doubt if behind else ()
        self._in_doubt = {(name, _BY_FORMER): self._doubt_until for name in names}

    def receive(self, offset: int, now: float, mark: RecordMark | None = None) -> bool:
        """Note a received offset; False when it was received before and must not be worked again.

        Args:
            offset: as delivered; only ever rising within one assignment.
            now: monotonic seconds, for the age of the oldest open record.
            mark: of the record; without it a restart does not know the record again.
        """
        if self._end is not None and offset < self._end:
            return False
        self._open[offset] = _Open(offset, now, self._end, mark)
        self._end = offset + 1
        self._former = self._due = None
        return True

    def disbelieve(self) -> None:
        """Drop what was committed as settled and was not received again yet: it is worked again."""
        settled = self._held.keys() | {each.offset for each in self._behind} - self._open.keys()
        self._behind = [
            each for each in self._behind if each.offset in settled and each.offset < self._next
        ]
        self._due = None

    def settle(self, offset: int, *, carried_out: bool = False) -> None:
        """Note that Kafka has acknowledged the record's fate.

        Raises:
            KeyError: the offset is not open; settling twice is a fault in the program.
        """
        settled = self._open.pop(offset)
        self._deaths.settled(offset)
        self._due = None
        self._held.pop(offset, None)
        front = self._front
        if front is None or front.offset > offset:
            # By now everything before the front is committed with the offset alone.
            self._pass(self._next if front is None else front.offset)
        else:
            self._note(settled, carried_out=carried_out)

    def hold(self, offset: int, until: float, *, carried_out: bool = False) -> None:
        """Note that Kafka has acknowledged the record's fate, and that no commit may pass it yet.

        Args:
            offset: of the record, which stays open until `settle`.
            until: epoch seconds until which the next owner has to hold it back.
            carried_out: as in `settle`.

        Raises:
            KeyError: the offset is not open.
        """
        self._note(self._open[offset], carried_out=carried_out, held=True)
        self._held[offset] = until
        self._due = None

    def doubt(self, name: int, offset: int, until: float) -> None:
        """Note that something may still come that nobody waits for, and that holds nothing back.

        Args:
            name: `consumer.kafka.settled_metadata.name_of` what it is of.
            offset: of the event that was in doubt.
            until: epoch seconds.
        """
        self._in_doubt[name, offset] = until
        self._due = None

    def certain(self, name: int, offset: int) -> None:
        """Note that nothing of that event may come any more; others may have left the same name."""
        if self._in_doubt.pop((name, offset), None) is not None:
            self._due = None

    def deaths_of(self, name: bytes, offset: int) -> DeathCount | None:
        """What is kept of deaths by a name, for a unit of this event (`KeptDeaths.of`)."""
        return self._deaths.of(name, offset)

    def note_deaths(self, name: bytes, offset: int, count: DeathCount | None) -> None:
        """Keep a count of deaths with the next commit, until the event is settled; None: none."""
        self._deaths.note(name, offset, count)
        self._due = None

    def end(self) -> None:
        """Note that nothing will be begun any more, and that what was begun is known."""
        self._ended = True
        self._due = None

    def expire(self, before: float) -> None:
        """Forget doubts that were over by that epoch second: nobody is told of them any more."""
        if self._deaths.expire(before):
            self._due = None
        for key in [key for key, until in self._in_doubt.items() if until < before]:
            del self._in_doubt[key]
            self._due = None

    def _note(self, record: _Open, *, carried_out: bool, held: bool = False) -> None:
        is_behind_a_hole = self._left_out is not None and record.offset >= self._left_out[0]
        if record.mark is None or is_behind_a_hole:
            self._leave_out(record.offset)
            return
        entry = SettledEntry(record.offset, record.mark.check, carried_out, held)
        place = self._place(record.offset)
        is_there = any(each.offset == entry.offset for each in self._behind[place : place + 1])
        self._behind[place : place + is_there] = [entry]
        if len(self._behind) > _MOST_BEHIND:
            self._leave_out(self._behind.pop().offset)

    def _leave_out(self, offset: int) -> None:
        first, last = self._left_out or (offset, offset)
        self._left_out = min(first, offset), max(last, offset)
        del self._behind[self._place(self._left_out[0]) :]

    def _pass(self, offset: int) -> None:
        """Note that everything before an offset is committed with the offset alone."""
        del self._behind[: self._place(offset)]
        if self._left_out is not None and self._left_out[1] < offset:
            self._left_out = None

    def _place(self, offset: int) -> int:
        return bisect_left(self._behind, offset, key=lambda entry: entry.offset)

    def follow(self, position: int) -> None:
        """Note the consumer's position after a poll that gave nothing, and raised nothing.

        With a record open this changes nothing: the records behind it hold the commit back.
        """
        if not self._open and (self._end is None or position > self._end):
            self._end = position
            self._former = self._due = None
            self._pass(position)

    @property
    def _next(self) -> int:
        return self._end or 0

    @property
    def next_offset(self) -> int | None:
        """From where on nothing was received; None where nobody knows."""
        return self._end

    @property
    def due(self) -> CommitDue | None:
        """What to commit, or None when that would tell Kafka nothing new."""
        if self._due is None:
            self._due = self._worked_out()
        return None if self._due == self._committed else self._due

    def _worked_out(self) -> CommitDue | None:
        front = self._front
        if front is None:
            return self._with_nothing_open()
        offset = front.offset if front.after is None and self._behind else front.after
        if offset is None:
            return None
        if front.mark is None:
            return CommitDue(offset)
        return self._saying(offset, SettledBehind(front.mark.anchor, tuple(self._behind)))

    def _with_nothing_open(self) -> CommitDue | None:
        if self._end is None:
            return None
        if self._behind and self._former is None:
            return self._committed  # the next record is to come, and will be the anchor
        return self._saying(self._end, self._former or SettledBehind(NO_ANCHOR))

    def _saying(self, offset: int, behind: SettledBehind) -> CommitDue:
        untils = [self._doubt_until, *self._held.values(), *self._in_doubt.values()]
        # There may be room for some: what lasts longest comes first.
        in_doubt = sorted(self._in_doubt.items(), key=lambda each: each[1], reverse=True)
        said = replace(
            behind,
            held_until=math.ceil(max(untils)),
            ended=self._ended,
            in_doubt=tuple(dict.fromkeys(name for (name, _), _ in in_doubt)),
        )
        deaths = self._deaths.encode(offset)
        if len(deaths) > self.metadata_limit:
            deaths = ""
        return CommitDue(offset, encode(offset, said, self.metadata_limit - len(deaths)) + deaths)

    @property
    def committable(self) -> int | None:
        """The offset to commit, or None when Kafka has it already."""
        due = self.due
        if due is None or (self._committed is not None and due.offset == self._committed.offset):
            return None
        return due.offset

    def committed(self, offset: int, metadata: str = "") -> None:
        """Note that Kafka took this commit."""
        self._committed = CommitDue(offset, metadata)

    def limit_metadata(self, limit: int) -> None:
        """Note that Kafka refused a longer text."""
        self.metadata_limit = limit
        self._due = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is open, nor held back."""
        return not self._open

    @property
    def open_count(self) -> int:
        """Records received and not settled; those that are held back are settled."""
        return len(self._open) - len(self._held)

    @property
    def held_count(self) -> int:
        """Records that are settled and held back."""
        return len(self._held)

    @property
    def committed_offset(self) -> int | None:
        """What Kafka has; None where nobody knows."""
        return None if self._committed is None else self._committed.offset

    @property
    def oldest_open_since(self) -> float | None:
        """Monotonic seconds at which the first record was received that is not settled."""
        waiting = (each.since for each in self._open.values() if each.offset not in self._held)
        return next(waiting, None)

    @property
    def _front(self) -> _Open | None:
        return next(iter(self._open.values()), None)

    def __repr__(self) -> str:
        front = next(iter(self._open), "-")
        committed = None if self._committed is None else self._committed.offset
        return (
            f"<Ledger {self._name} open={self.open_count} front={front} "
            f"committable={self.committable} committed={committed}>"
        )
