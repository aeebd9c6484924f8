"""Request slots: how many requests about chunks run at a time, over all documents."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from consumer.model.fault import Failure
from consumer.model.names import Slug
from consumer.pipeline.gates import Gates
from consumer.pipeline.ports import RightToWork

T = TypeVar("T")


def _every(failure: Failure) -> bool:
    return True


PROVING_AT_ONCE = 10  # requests: searches, and looks at files


class RequestSlots:
    """The only way in which a request about a chunk is sent.

    What proves a chunk that was uploaded has slots of its own. Otherwise uploads that hang would
    keep every document open whose chunks are all there.

    Args:
        free: the slots.
        gates: checked before every request, and they note how it went.
    """

    def __init__(self, free: asyncio.Semaphore, gates: Gates) -> None:
        self._free = free
        self._proving = asyncio.Semaphore(PROVING_AT_ONCE)
        self._gates = gates

    async def send(
        self,
        slug: Slug,
        request: Callable[[], Awaitable[T]],
        right: RightToWork,
        *,
        counts: Callable[[Failure], bool] = _every,
        proves: bool = False,
    ) -> T:
        """Take a slot, check the right and the gates, send the request, note how it went.

        Args:
            slug: the workspace.
            request: sends it.
            right: checked once there is a slot, which may take long.
            counts: whether a failure says anything about AnythingLLM.
            proves: whether it is about a chunk that was uploaded.

        Raises:
            FenceClosedError: the right has ended; nothing was sent.
            Failure: `NotSent`, or what the request met.
        """
        free = self._proving if proves else self._free
        async with right.short():
            await free.acquire()
        try:
            right.check()
            self._gates.check(slug)
            answer = await request()
        except Failure as failure:
            if counts(failure):
                self._gates.note(failure)
            raise
        finally:
            free.release()
        self._gates.note(None)
        return answer
