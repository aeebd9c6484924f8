"""Shares: how many documents of one server may be in work, where there are several.

Otherwise the documents of a server that hangs would take all places in flight, and keep those of
the others out.

What is always true:
- A document in work on a server has one of the server's shares. It gives it up while it stands
  aside, and has one again before it takes a place in flight.
- Nobody waits for a share in a place in flight: who finds none free stands aside meanwhile. So
  every document that has a place and a server goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from consumer.pipeline.ports import RightToWork
from consumer.resilience.fence import Fence


@dataclass(slots=True)
class Share:
    """One document's share of a server.

    Args:
        free: those of the server that nobody has.
        is_held: whether the document has one.
    """

    free: asyncio.Semaphore
    is_held: bool = False

    async def take(self) -> None:
        """Wait for one."""
        await self.free.acquire()
        self.is_held = True

    def give_back(self) -> None:
        """Let another document have it; nothing where there is none."""
        if self.is_held:
            self.is_held = False
            self.free.release()


@dataclass(frozen=True, slots=True)
class ServerRight:
    """The right to work on one server: it ends with that of the document, or with the home.

    Args:
        inner: of the document.
        home: closed when the workspace lives there no more; what was sent is followed to its end.
        share: given up while the document stands aside.
    """

    inner: RightToWork
    home: Fence
    share: Share

    @property
    def closed(self) -> bool:
        """See `RightToWork`; the end of the home is none of these."""
        return self.inner.closed

    def check(self) -> None:
        """See `RightToWork`."""
        self.inner.check()
        self.home.check()

    def following(self) -> RightToWork:
        """See `RightToWork`."""
        return ServerRight(self.inner.following(), Fence("never"), self.share)

    def short(self) -> AbstractAsyncContextManager[None]:
        """See `RightToWork`."""
        return self.inner.short()

    @asynccontextmanager
    async def long(self) -> AsyncIterator[None]:
        """See `RightToWork`."""
        async with self.inner.long(), self.home.waiting():
            yield

    @asynccontextmanager
    async def aside(self) -> AsyncIterator[None]:
        """See `RightToWork`."""
        async with self.inner.aside():
            self.share.give_back()
            async with self.home.waiting():
                yield
                await self.share.take()

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Have a share while the block works."""
        if self.share.free.locked():
            async with self.aside():
                pass
        else:
            await self.share.take()
        try:
            yield
        finally:
            self.share.give_back()
