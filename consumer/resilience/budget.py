"""A weighted budget: how much may be in flight at once, in whatever unit its owner counts.

What is always true:
1. First come, first served: a small item never overtakes a large one, so no item waits for ever.
2. At most the total is in use, with one exception: an item that is larger than the total is
   admitted when nothing else is in use, because it could never be admitted otherwise.
3. A waiter that is cancelled leaves nothing behind, whether its turn had come or not.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Budget:
    """See the module's docstring.

    Args:
        total: what may be in use at once, above 0.
    """

    def __init__(self, total: int) -> None:
        if total <= 0:
            raise ValueError("a budget's total must be above 0")
        self.total = total
        self._in_use = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    def __repr__(self) -> str:
        return f"<Budget {self._in_use}/{self.total} waiting={len(self._waiting)}>"

    @property
    def in_use(self) -> int:
        """What is taken at the moment."""
        return self._in_use

    @property
    def waiting(self) -> int:
        """How many items wait for their turn."""
        return len(self._waiting)

    @asynccontextmanager
    async def take(self, amount: int) -> AsyncIterator[None]:
        """Wait for a turn, hold ``amount`` inside the block, and give it back after it.

        Raises:
            ValueError: a negative amount.
        """
        if amount < 0:
            raise ValueError("a negative amount cannot be taken")
        await self._acquire(amount)
        try:
            yield
        finally:
            self._give_back(amount)

    async def _acquire(self, amount: int) -> None:
        if not self._waiting and self._fits(amount):
            self._in_use += amount
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (amount, turn)
        self._waiting.append(entry)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                # Granted and cancelled in the same turn of the loop: kept, it would leak for ever.
                self._give_back(amount)
            else:
                self._waiting.remove(entry)
                self._admit()
            raise

    def _give_back(self, amount: int) -> None:
        self._in_use -= amount
        self._admit()

    def _fits(self, amount: int) -> bool:
        return self._in_use == 0 or self._in_use + amount <= self.total

    def _admit(self) -> None:
        while self._waiting:
            amount, turn = self._waiting[0]
            if turn.cancelled():
                # Its task has not run yet; it removes its own entry when it does.
                break
            if not self._fits(amount):
                break
            self._waiting.popleft()
            self._in_use += amount
            turn.set_result(None)
