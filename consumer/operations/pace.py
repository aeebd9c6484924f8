"""Not faster than an operator asked for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

_PACES = 10  # a limited rate is kept this many times a second


class Pace:
    """Records a second, at most.

    Args:
        rate: None for as fast as it goes.
        clock: monotonic seconds.
        sleep: waits.
    """

    def __init__(
        self,
        rate: float | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._rate = rate
        self._clock = clock
        self._sleep = sleep
        self._next = clock()

    def at_once(self, most: int) -> int:
        """How many records may go together, of so many at most."""
        return most if self._rate is None else max(1, min(most, int(self._rate / _PACES)))

    async def keep(self, records: int) -> None:
        """Return when so many more may go."""
        if self._rate is None:
            return
        now = self._clock()
        self._next = max(self._next, now)
        await self._sleep(self._next - now)
        self._next += records / self._rate
