"""The in-flight limit: how much may be in work at once, and the places that records have in it.

What is always true:
- A place is one of a number of documents and a share of a number of bytes. Both are taken before a
  record is worked on, and given back together.
- A document stands aside while it waits for a paused workspace, when it has failed a few rounds
  (`consumer.pipeline.backoff`), or while it waits for its turn behind such a document. It gives its
  place up and takes room aside, which has a budget of its own. Without room aside it waits in its
  place. When all places are taken like that the intake stops, so memory keeps its bounds.
- A document that comes back from aside takes a returned place. There are as many of these as the
  limit has places, and only such documents take them. It keeps its room aside until it is done. If
  it had to wait for an ordinary place, documents behind it in its queue, or of another paused
  workspace, could hold all of them for ever.
- A document that stands aside is not polled again. Its offset stays open, so no commit passes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

from consumer.resilience.budget import Budget
from consumer.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True)
class InFlightBounds:
    """How much may be in work.

    Args:
        documents: records in flight.
        bytes: their sizes together; one larger record is admitted alone.
        aside_bytes: memory, estimated, of what stands aside; 0: nothing does.
    """

    documents: int
    bytes: int
    aside_bytes: int = 0


class InFlightLimit:
    """See the module's docstring."""

    def __init__(self, bounds: InFlightBounds, metrics: Metrics) -> None:
        self._places = bounds.documents
        self._in_work = 0
        self._documents = asyncio.Semaphore(bounds.documents)
        self._returned = asyncio.Semaphore(bounds.documents)
        self._bytes = Budget(bounds.bytes)
        self._aside_left = bounds.aside_bytes
        self._metrics = metrics

    @property
    def has_room(self) -> bool:
        """Whether another record would be taken in at once."""
        return not self._documents.locked() and not self._bytes.waiting

    @property
    def taken(self) -> float:
        """Share of the places that records have, 0 to 1; the next one to come has one, too."""
        return self._in_work / self._places

    async def place(self) -> Place:
        """A place for one more record, of no size yet."""
        place = Place(self)
        await place._enter()
        return place

    @asynccontextmanager
    async def _document(self) -> AsyncIterator[None]:
        async with self._documents:
            self._in_work += 1
            try:
                yield
            finally:
                self._in_work -= 1

    @asynccontextmanager
    async def _size(self, size: int) -> AsyncIterator[None]:
        async with self._bytes.take(size):
            self._metrics.bytes_in_flight.inc(size)
            try:
                yield
            finally:
                self._metrics.bytes_in_flight.dec(size)

    @asynccontextmanager
    async def _place_of_returned(self, size: int) -> AsyncIterator[None]:
        async with self._returned:
            self._metrics.bytes_in_flight.inc(size)
            try:
                yield
            finally:
                self._metrics.bytes_in_flight.dec(size)

    def _room_aside(self, size: int) -> Callable[[], None] | None:
        """Take room aside: a function that gives it back, or None where there is no room."""
        weight = room_aside(size)
        if weight > self._aside_left:
            return None
        self._aside_left -= weight

        def give_back() -> None:
            self._aside_left += weight

        return give_back

    @contextmanager
    def _counted_aside(self, size: int) -> Iterator[None]:
        self._metrics.documents_aside.inc()
        self._metrics.bytes_aside.inc(size)
        try:
            yield
        finally:
            self._metrics.documents_aside.dec()
            self._metrics.bytes_aside.dec(size)


def room_aside(size: int) -> int:
    """What a record of this size takes of the room aside: its memory, within a factor of two.

    Measured with CPython 3.11 (tests/virtual/test_memory_aside.py): the task with everything that
    it waits in, and the record twice, once as bytes and once decoded.
    """
    return 16 * 1024 + 2 * size


class Place:
    """One record's place; made by `InFlightLimit.place`, given back by `leave`."""

    def __init__(self, limit: InFlightLimit) -> None:
        self._limit = limit
        self._size = 0
        self.waits = 0
        """Long waits of its record that are under way; for whoever looks on."""
        self.is_aside = False
        """Whether its record stands aside."""
        self._held = AsyncExitStack()
        self._give_back_room: Callable[[], None] | None = None

    async def fill(self, size: int) -> None:
        """Wait until this many bytes are free, and take them."""
        await self._held.enter_async_context(self._limit._size(size))
        self._size = size

    async def leave(self) -> None:
        """Give the place back; a second call changes nothing."""
        await self._held.aclose()
        if (give_back := self._give_back_room) is not None:
            self._give_back_room = None
            give_back()

    @asynccontextmanager
    async def aside(self) -> AsyncIterator[None]:
        """Give the place up while the block waits, if there is room aside, then take another.

        Only waits that may be ended belong around it: the wait for another place may be long, too.
        """
        limit, size = self._limit, self._size
        self._give_back_room = self._give_back_room or limit._room_aside(size)
        if self._give_back_room is None:
            yield
            return
        with limit._counted_aside(size):
            await self._held.aclose()
            self.is_aside = True
            try:
                yield
                await self._held.enter_async_context(limit._place_of_returned(size))
            finally:
                self.is_aside = False

    async def _enter(self) -> None:
        await self._held.enter_async_context(self._limit._document())
