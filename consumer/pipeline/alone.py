"""One upload that is to be the only request under way: everything else waits meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from consumer.pipeline.ports import RightToWork


class Alone:
    """The turn to be alone; one task has it at a time."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._task: asyncio.Task[object] | None = None
        self._over = asyncio.Event()

    @property
    def is_held(self) -> bool:
        """Whether some task has the turn."""
        return self._task is not None

    @property
    def holds_back(self) -> bool:
        """Whether another task than the running one has the turn."""
        return self._task is not None and self._task is not asyncio.current_task()

    async def over(self) -> None:
        """Return when no other task has the turn."""
        while self.holds_back:
            await self._over.wait()

    @asynccontextmanager
    async def turn(self, right: RightToWork) -> AsyncIterator[None]:
        """Have the turn. What is under way may still be; nothing new begins (`Gates`).

        Raises:
            FenceClosedError: the right to go on ended before.
        """
        async with right.short():
            await self._turn.acquire()
        self._task = asyncio.current_task()
        self._over.clear()
        try:
            yield
        finally:
            self._task = None
            self._over.set()
            self._turn.release()
