"""Rounds: when all servers are asked, and who waits until they were.

That is at once when somebody wants to know, and every so often, because people and other instances
change what is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from consumer.pipeline.ports import RightToWork


class Rounds:
    """See the module's docstring. The first is due at once.

    Args:
        every: seconds between two rounds that nobody asked for.
        clock: monotonic seconds.

    Attributes:
        begun: how many have begun.
    """

    def __init__(self, every: float, clock: Callable[[], float]) -> None:
        self._every = every
        self._clock = clock
        self._due = clock() + every
        self._ended = 0
        self._has_ended = asyncio.Event()
        self._demand = asyncio.Event()
        self._demand.set()  # marks are made before the first document comes
        self.begun = 0

    def demand(self) -> None:
        """Have one begin as soon as the one before has ended."""
        self._demand.set()

    async def next(self) -> bool:
        """Return when one is to begin; whether its time has come, so that it is about all."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, self._due - self._clock())):
                await self._demand.wait()
        self._demand.clear()
        if is_due := self._clock() >= self._due:
            self._due = self._clock() + self._every
        self.begun += 1
        return is_due

    def end(self) -> None:
        """The one that has begun has ended: all were asked."""
        self._ended = self.begun
        ended, self._has_ended = self._has_ended, asyncio.Event()
        ended.set()

    async def a_whole_one(self, right: RightToWork) -> None:
        """Return when one has ended that begins from now on.

        Args:
            right: how to wait; the document stands aside.

        Raises:
            FenceClosedError: the right to go on ended.
        """
        after = self.begun
        async with right.aside():
            while self._ended <= after:
                await self._has_ended.wait()
