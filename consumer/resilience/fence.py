"""A fence: it is closed once, and every task that waits behind it is woken to give up.

Work that belongs to a partition assignment waits behind that assignment's fence. When the
assignment ends, closing the fence ends every wait at once, while work that is in the middle of a
request goes on undisturbed and finds the fence closed when it asks next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager


class FenceClosedError(Exception):
    """The right to go on has ended; drop the work without settling it."""


class Fence:
    """See the module's docstring.

    Args:
        name: what it stands for, for `repr` and logs.
        is_over: asked at every check; True closes the fence from then on.
    """

    def __init__(self, name: str, is_over: Callable[[], bool] = lambda: False) -> None:
        self._name = name
        self._is_over = is_over
        self._closed = False
        self._waiting: set[asyncio.Task[object]] = set()
        self._woken: set[asyncio.Task[object]] = set()

    @property
    def closed(self) -> bool:
        """True from the first `close` on, for ever."""
        if not self._closed and self._is_over():
            self.close()
        return self._closed

    def close(self) -> None:
        """End every wait behind the fence, and every later one before it begins."""
        if self._closed:
            return
        self._closed = True
        for task in self._waiting:
            self._woken.add(task)
            task.cancel()

    def check(self) -> None:
        """Raise `FenceClosedError` once the fence is closed."""
        if self.closed:
            raise FenceClosedError(self._name)

    def waiting(self) -> AbstractAsyncContextManager[None]:
        """Mark a wait that may be ended: its body is left with `FenceClosedError` on `close`.

        Only waits belong inside. A request inside would be cancelled in the middle, and it would
        not be known whether it took effect.
        """
        return _WaitBehind(self)

    def begin_wait(self) -> asyncio.Task[object]:
        """See `waiting`; the task that waits from now on."""
        self.check()
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a fence is waited behind by tasks only")
        self._waiting.add(task)
        return task

    def end_wait(self, task: asyncio.Task[object], error: BaseException | None) -> None:
        """See `waiting`.

        Raises:
            FenceClosedError: the fence ended the wait.
        """
        was_woken = task in self._woken
        self._waiting.discard(task)
        self._woken.discard(task)
        # uncancel() says how many other cancellations are pending: those are not ours to eat.
        if isinstance(error, asyncio.CancelledError) and was_woken and task.uncancel() <= 0:
            raise FenceClosedError(self._name) from None

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<Fence {self._name} {state} waiting={len(self._waiting)}>"


class _WaitBehind:
    """One wait behind a fence. A class: it is entered several times for each chunk."""

    def __init__(self, fence: Fence) -> None:
        self._fence = fence

    async def __aenter__(self) -> None:
        self._task = self._fence.begin_wait()

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._fence.end_wait(self._task, error)
