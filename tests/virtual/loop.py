"""A loop whose time stands still while anything can happen, and jumps when nothing can.

Two hours of an outage pass in a second, in the same order each time. Real sockets on loopback work
in it when both ends live on the loop: what one side has written the other can read at once, so
time does not jump while bytes are under way.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, cast

P = ParamSpec("P")

_GRACE = 0.0005  # real seconds for the kernel to hand over bytes before time jumps
_RESOLUTION = 1e-6


class Stuck(RuntimeError):
    """Everything waits, and nothing will ever happen."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """See the module's docstring."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.sockets = False  # whether bytes may be under way between two ends on this loop
        self._clock_resolution = _RESOLUTION
        self._really_select = self._selector.select  # type: ignore[attr-defined]
        self._selector.select = self._select  # type: ignore[attr-defined]

    def time(self) -> float:
        """Virtual seconds."""
        return self.now

    def _select(self, timeout: float | None) -> list[Any]:
        events = cast("list[Any]", self._really_select(0))
        if events or timeout == 0:
            return events
        if self.sockets and (events := cast("list[Any]", self._really_select(_GRACE))):
            return events
        if timeout is None:
            raise Stuck("every task waits and no timer runs")
        self.now += timeout
        return []


def virtually(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test on a loop of its own whose time is virtual."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        loop = VirtualLoop()
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(test(*args, **kwargs))
        finally:
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
            asyncio.set_event_loop(None)
            loop.close()

    return run


def virtual_clock() -> Callable[[], float]:
    """The running loop's time."""
    return asyncio.get_running_loop().time


async def soon(
    condition: Callable[[], bool], *, within: float = 3600.0, every: float | None = None
) -> None:
    """Return when the condition holds, looked at often in virtual time."""
    pause = max(0.1, within / 10_000) if every is None else every
    async with asyncio.timeout(within):
        # In virtual time looking now and then costs nothing, and any change is seen.
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(pause)
