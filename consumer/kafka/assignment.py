"""One partition for the time the group leaves it to us, and the deliveries that come from it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from consumer.kafka.kept_deaths import deaths_name
from consumer.kafka.ledger import Ledger
from consumer.kafka.resumption import Resumption
from consumer.kafka.settled_metadata import SettledEntry, name_of
from consumer.model.death_count import DeathCount
from consumer.model.record import Record
from consumer.resilience.fence import Fence

_TAKEN_OVER = 1_000  # records, from the first open one, that a former owner may have had in work


@dataclass(frozen=True, slots=True)
class FormerDoubts:
    """What former owners have left in doubt in the partitions of one number.

    Events of a document come from the input topic and from the replay topic, from partitions of one
    number, which one member owns.

    Args:
        names: `consumer.kafka.settled_metadata.name_of` each.
        until: epoch seconds; 0: nothing is in doubt.
    """

    names: frozenset[int] = frozenset()
    until: float = 0.0


class Assignment:
    """A partition's epoch: after `end` nothing that began in it may settle, publish or upload.

    Args:
        name: topic and partition.
        is_over: whether the group may have stopped counting us in.
        placed: whether it is known where it begins and what was settled before. A record that is
            received earlier would be worked again.
    """

    def __init__(
        self, name: str, is_over: Callable[[], bool] = lambda: False, *, placed: bool = True
    ) -> None:
        self._name = name
        self._is_over = is_over
        self.ledger = Ledger(name)
        self.resumption = Resumption()
        self.former_doubts = FormerDoubts()
        self.placed = placed
        # Monotonic seconds; None where the owner before us has ended in order, or there was none.
        self.taken_over_at: float | None = None
        self._left_to_take_over = _TAKEN_OVER
        self._was_broken_off = False
        self.fence = Fence(name, is_over)
        self._working: set[asyncio.Task[object]] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._ended = False
        # Once its topic is gone nothing of it may be committed: made anew, it has other records.
        self.topic_gone = False

    @property
    def ended(self) -> bool:
        """True once another member may own the partition."""
        return self._ended or self._is_over()

    def begin(self, task: asyncio.Task[object]) -> None:
        """Count a task as working on this partition until it is done."""
        self._working.add(task)
        self._idle.clear()
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[object]) -> None:
        self._working.discard(task)
        self._was_broken_off |= task.cancelled() or task.exception() is not None
        if not self._working:
            self._idle.set()

    async def idle(self) -> None:
        """Return when no task works on this partition."""
        await self._idle.wait()

    def next_may_be_begun(self) -> bool:
        """Whether a former owner may have had the next record in work."""
        self._left_to_take_over -= 1
        return self._left_to_take_over >= 0

    def finish(self) -> None:
        """Note that no work on it will begin. What was broken off may have left anything."""
        if not self._working and not self._was_broken_off:
            self.ledger.end()

    def end(self) -> None:
        """Close for good; what still works on it is cancelled."""
        self._ended = True
        self.fence.close()
        for task in self._working:
            task.cancel()

    def __str__(self) -> str:
        return self._name


class KafkaDelivery:
    """A record on its way, with the receipt that lets its offset be committed.

    Args:
        record: the original bytes.
        assignment: the epoch it was received in.
    """

    __slots__ = ("_assignment", "_before", "_in_doubt", "held_until", "record", "taken_over_at")

    def __init__(
        self, record: Record, assignment: Assignment, before: SettledEntry | None = None
    ) -> None:
        self.record = record
        self._assignment = assignment
        self._before = before
        may_be_begun = before is None and assignment.next_may_be_begun()
        self.held_until = assignment.former_doubts.until
        self._in_doubt = assignment.former_doubts.names
        self.taken_over_at = assignment.taken_over_at if may_be_begun else None

    @property
    def settled_before(self) -> bool:
        """True when an earlier assignment has settled it: Kafka has its result."""
        return self._before is not None

    @property
    def held_before(self) -> bool:
        """Whether it was held back then."""
        return self._before is not None and self._before.held

    @property
    def carried_out_before(self) -> bool:
        """Whether its state was brought into AnythingLLM then."""
        return self._before is not None and self._before.carried_out

    @property
    def fence(self) -> Fence:
        """Closed when the partition is being taken away or the process stops."""
        return self._assignment.fence

    @property
    def ended(self) -> bool:
        """True when another member may own the partition: publish nothing any more."""
        return self._assignment.ended

    def carried_by(self, task: asyncio.Task[object]) -> None:
        """Note the task that works on it, so that a revocation can wait for that work."""
        self._assignment.begin(task)

    def settled(self, *, carried_out: bool = False) -> None:
        """Let the offset be committed; nothing else ever does.

        A receipt of a former assignment changes nothing: its ledger is not used any more.

        Args:
            carried_out: whether the event's state was brought into AnythingLLM.
        """
        if not self._assignment.ended:
            self._assignment.ledger.settle(self.record.at.offset, carried_out=carried_out)

    def hold(self, until: float, *, carried_out: bool = False) -> Callable[[], None]:
        """Note that it is settled, and that its offset must not be committed yet.

        Nothing of the record is kept for that.

        Args:
            until: epoch seconds until which the next owner has to hold it back.
            carried_out: whether the event's state was brought into AnythingLLM.

        Returns:
            Lets the offset be committed.
        """
        assignment, offset = self._assignment, self.record.at.offset
        if not assignment.ended:
            assignment.ledger.hold(offset, until, carried_out=carried_out)

        def release() -> None:
            if not assignment.ended:
                assignment.ledger.settle(offset, carried_out=carried_out)

        return release

    def leave_in_doubt(self, what: str, until: float) -> Callable[[], None]:
        """Have the next owner know that something may still come, which holds nothing back.

        Args:
            what: a name for it.
            until: epoch seconds.

        Returns:
            Notes that nothing may come any more.
        """
        assignment, name, offset = self._assignment, name_of(what), self.record.at.offset
        assignment.ledger.doubt(name, offset, until)
        return lambda: assignment.ledger.certain(name, offset)

    def left_in_doubt(self, what: str) -> bool:
        """Whether a former owner left that in doubt; hardly ever by chance."""
        return bool(self._in_doubt) and name_of(what) in self._in_doubt

    def deaths_of(self, what: str) -> DeathCount | None:
        """What is kept of deaths of the server by this name, also by former owners."""
        return self._assignment.ledger.deaths_of(deaths_name(what), self.record.at.offset)

    def note_deaths(self, what: str, count: DeathCount | None) -> None:
        """Keep it for the next owner, until the event is settled; None: nothing is proven."""
        if not self._assignment.ended:
            offset = self.record.at.offset
            self._assignment.ledger.note_deaths(deaths_name(what), offset, count)

    def __repr__(self) -> str:
        return f"<Delivery {self.record.at}>"
