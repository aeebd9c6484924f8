"""One after the other where order matters: events of one identity take turns, in offset order.

What is always true:
- A queue has one running turn. The others wait in the order in which they entered.
- A waiting turn is superseded when one for the same workspace enters that replaces it
  (`consumer.model.precedence`), with nothing between them about that workspace: applying it costs
  uploads and gains nothing. So is a turn that enters behind one that replaces it. What a burst
  leaves is what its events leave one by one.
- The running turn goes on while it makes progress. When it only waits, for an outage to end or for
  a chunk that fails again and again, a turn that replaces it ends that wait: a document that can't
  be stored must not keep its own mended version out, nor its tombstone.
- While the running turn stands aside, the turns behind it stand aside as well. Otherwise they would
  take all places until no document could go on (`consumer.pipeline.in_flight`).
- What waits behind a turn that a stop drops is dropped as well: carried out before it, a document
  would be deleted by its own older tombstone after the restart.
- Deciding is synchronous; only `Turn.come` and `Turn.come_or_stall` wait.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from consumer.model.names import Identity, Slug
from consumer.model.precedence import Occurrence
from consumer.model.version import DocumentVersion
from consumer.resilience.fence import Fence


class Turn:
    """A place in a queue; made by `KeyQueues.enter`, given back by `leave`.

    Args:
        target: the workspace, or None for every one.
        occurrence: what the event is against others.
    """

    def __init__(
        self,
        queues: KeyQueues,
        identity: Identity,
        target: Slug | None,
        occurrence: Occurrence,
    ) -> None:
        self._queues = queues
        self._identity = identity
        self._come = asyncio.Event()
        self._come_or_stall = asyncio.Event()
        self._stalls = False
        self.target = target
        self.occurrence = occurrence
        self.superseded = False
        self.dropped = False
        self.overtaken = Fence(f"a newer event of {identity}")

    async def come(self) -> None:
        """Return when this turn runs, or when it was superseded."""
        await self._come.wait()

    async def come_or_stall(self) -> bool:
        """Return when `come` would, or when that may take long; whether the turn has come."""
        await self._come_or_stall.wait()
        return self._come.is_set()

    @contextmanager
    def stalling(self) -> Iterator[None]:
        """Belongs around a wait in which the running turn stands aside."""
        self._stalls = True
        self._queues._stalled(self._identity)
        try:
            yield
        finally:
            self._stalls = False

    def meets(self, other: Turn) -> bool:
        """Whether some workspace is the target of both."""
        return None in (self.target, other.target) or self.target == other.target

    def replaces(self, earlier: Turn) -> bool:
        """Whether an earlier turn is pointless when this one comes next."""
        covers = self.target in (None, earlier.target)
        return covers and self.occurrence.replaces(earlier.occurrence)

    def drop_those_behind(self) -> None:
        """Let none of those that wait be carried out: this one was not."""
        self._queues._drop_behind(self._identity, self)

    def leave(self) -> None:
        """Let the next turn run; a second call changes nothing."""
        self._queues._leave(self._identity, self)

    def _begin(self) -> None:
        self._come.set()
        self._come_or_stall.set()

    def _supersede(self) -> None:
        self.superseded = True
        self._begin()


class KeyQueues:
    """One queue a key (identity). Memory goes by the turns in them, not by identities ever seen."""

    def __init__(self) -> None:
        self._queues: dict[Identity, deque[Turn]] = {}

    def enter(
        self,
        identity: Identity,
        target: Slug | None,
        version: DocumentVersion,
        *,
        removes: bool = False,
    ) -> Turn:
        """Take a place at the end of the identity's queue. Call in offset order."""
        turn = Turn(self, identity, target, Occurrence(version, removes))
        queue = self._queues.setdefault(identity, deque())
        if not queue:
            turn._begin()
        elif turn.replaces(queue[0]):
            queue[0].overtaken.close()
        for waiting in [each for each in list(queue)[:0:-1] if each.meets(turn)]:
            if waiting.replaces(turn):
                turn._supersede()
                return turn
            if not turn.replaces(waiting):
                break
            waiting._supersede()
            queue.remove(waiting)
        queue.append(turn)
        if queue[0]._stalls:
            turn._come_or_stall.set()
        return turn

    def _stalled(self, identity: Identity) -> None:
        for turn in self._queues.get(identity, ()):
            turn._come_or_stall.set()

    def _drop_behind(self, identity: Identity, turn: Turn) -> None:
        queue = list(self._queues.get(identity, ()))
        for behind in queue[queue.index(turn) + 1 :] if turn in queue else ():
            behind.dropped = True

    def _leave(self, identity: Identity, turn: Turn) -> None:
        queue = self._queues.get(identity)
        if queue is None or turn not in queue:
            return
        was_running = queue[0] is turn
        queue.remove(turn)
        if not queue:
            del self._queues[identity]
        elif was_running:
            queue[0]._begin()

    def __contains__(self, identity: Identity) -> bool:
        """Whether an event of this identity is in work or waits."""
        return identity in self._queues

    def __len__(self) -> int:
        return len(self._queues)

    def __repr__(self) -> str:
        waiting = sum(len(queue) - 1 for queue in self._queues.values())
        return f"<KeyQueues running={len(self._queues)} waiting={waiting}>"
