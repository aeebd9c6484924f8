"""The window: how much may be in work at once, and the places that records have in it.

What is always true:
- A place is one of so many documents and a part of so many bytes; both are taken before a record is
  worked on and given back together.
- A document that waits for a paused workspace stands aside: it gives its place up, within a budget
  of its own, and takes one again before it goes on. Without room aside it waits in its place, and
  the intake stops when all places are taken like that: memory has its bounds also then.
- What stands aside is never polled again: its offset stays open, and the commit behind it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from consumer.resilience.limits import Budget
from consumer.telemetry.metrics import Metrics

_LEAST_ASIDE_BYTES = 8 * 1024  # what a waiting document costs, however small its record is


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may be in work.

    Args:
        documents: records in the window.
        bytes: their sizes together; one larger record is admitted alone.
        aside_bytes: sizes together of what stands aside; 0: nothing does.
    """

    documents: int
    bytes: int
    aside_bytes: int = 0


class Window:
    """See the module's docstring.

    Args:
        bounds: how much.
        metrics: counts.
    """

    def __init__(self, bounds: Bounds, metrics: Metrics) -> None:
        self._documents = asyncio.Semaphore(bounds.documents)
        self._bytes = Budget(bounds.bytes)
        self._aside_left = bounds.aside_bytes
        self._metrics = metrics

    @property
    def has_room(self) -> bool:
        """Whether another record would be taken in at once."""
        return not self._documents.locked() and not self._bytes.waiting

    async def place(self) -> Place:
        """A place for one more record, of no size yet."""
        place = Place(self)
        await place._enter()
        return place

    @asynccontextmanager
    async def _document(self) -> AsyncIterator[None]:
        async with self._documents:
            yield

    @asynccontextmanager
    async def _size(self, size: int) -> AsyncIterator[None]:
        async with self._bytes.take(size):
            self._metrics.bytes_in_flight.inc(size)
            try:
                yield
            finally:
                self._metrics.bytes_in_flight.dec(size)

    def _stand_aside(self, size: int) -> Callable[[], None] | None:
        """Take room aside; what gives it back, or None where there is none."""
        weight = max(size, _LEAST_ASIDE_BYTES)
        if weight > self._aside_left:
            return None
        self._aside_left -= weight
        self._metrics.documents_aside.inc()
        self._metrics.bytes_aside.inc(size)

        def give_back() -> None:
            self._aside_left += weight
            self._metrics.documents_aside.dec()
            self._metrics.bytes_aside.dec(size)

        return give_back


class Place:
    """One record's place; made by `Window.place`, given back by `leave`."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._size = 0
        self._held = AsyncExitStack()

    async def fill(self, size: int) -> None:
        """Wait for so many bytes and take them."""
        await self._held.enter_async_context(self._window._size(size))
        self._size = size

    async def leave(self) -> None:
        """Give it back; twice changes nothing."""
        await self._held.aclose()

    @asynccontextmanager
    async def aside(self) -> AsyncIterator[None]:
        """Give the place up while the block waits, where there is room aside; then take it again.

        Only waits belong around it: a wait for a new place may be long as well.
        """
        give_back = self._window._stand_aside(self._size)
        if give_back is None:
            yield
            return
        try:
            await self.leave()
            yield
            await self._enter()
            await self.fill(self._size)
        finally:
            give_back()

    async def _enter(self) -> None:
        await self._held.enter_async_context(self._window._document())
