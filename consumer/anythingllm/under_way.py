"""Which requests of ours are under way: whether one was alone, and when none is left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from consumer.anythingllm.errors import AnythingLLMError


class UnderWay:
    """Entered while a request is under way. What that raises says how many others were (`beside`).

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._count = 0
        self._begun = 0
        self._none = asyncio.Event()
        self._none.set()
        self.answered_at = float("-inf")  # when AnythingLLM last answered well

    def __enter__(self) -> None:
        self._count += 1
        self._begun += 1
        self._none.clear()

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, AnythingLLMError):
            error.beside = self._count - 1
        elif error is None:
            self.answered_at = self._clock()
        self._count -= 1
        if not self._count:
            self._none.set()

    @property
    def begun(self) -> int | None:
        """How many requests were begun so far; None while one is under way."""
        return None if self._count else self._begun

    async def none(self) -> None:
        """Return when none is under way."""
        while self._count:
            await self._none.wait()
