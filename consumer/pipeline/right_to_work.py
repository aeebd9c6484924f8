"""The right to go on with a piece of work, and how it waits (`consumer.pipeline.ports`)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    nullcontext,
)
from dataclasses import dataclass, replace

from consumer.pipeline.in_flight import Place
from consumer.pipeline.ports import RightToWork
from consumer.resilience.fence import Fence


@dataclass(frozen=True, slots=True)
class AssignmentRight:
    """Ends with the assignment. Work with this right has no place to give up: aside is waiting."""

    assignment: Fence

    @property
    def closed(self) -> bool:
        """See `RightToWork`."""
        return self.assignment.closed

    def check(self) -> None:
        """See `RightToWork`."""
        self.assignment.check()

    def following(self) -> RightToWork:
        """See `RightToWork`."""
        return self

    def short(self) -> AbstractAsyncContextManager[None]:
        """See `RightToWork`."""
        return self.assignment.waiting()

    def long(self) -> AbstractAsyncContextManager[None]:
        """See `RightToWork`."""
        return self.assignment.waiting()

    def aside(self) -> AbstractAsyncContextManager[None]:
        """See `RightToWork`."""
        return self.assignment.waiting()


@dataclass(frozen=True, slots=True)
class DocumentRight(AssignmentRight):
    """Ends with the assignment; more than that ends a document's long waits.

    Args:
        assignment: closed when the partition goes.
        stop: closed when the process stops; a longer wait would only use up the drain.
        overtaken: closed when a newer event makes this one pointless.
        place: given up while the document stands aside.
        stalling: entered while it stands aside.
    """

    stop: Fence
    overtaken: Fence
    place: Place
    stalling: Callable[[], AbstractContextManager[None]] = nullcontext

    def following(self) -> RightToWork:
        """See `RightToWork`."""
        return replace(self, stop=Fence("never"), overtaken=Fence("never"))

    @asynccontextmanager
    async def long(self) -> AsyncIterator[None]:
        """See `RightToWork`."""
        self.place.waits += 1
        try:
            async with self.stop.waiting(), self.assignment.waiting(), self.overtaken.waiting():
                yield
        finally:
            self.place.waits -= 1

    @asynccontextmanager
    async def aside(self) -> AsyncIterator[None]:
        """See `RightToWork`."""
        async with self.long(), self.place.aside():
            with self.stalling():
                yield
