"""A proxy before the simulated server: while the server behind it is dead, it answers for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context

from aiohttp import web


class Gateway:
    """Lets requests through; answers all of them with one status while the server is dead."""

    def __init__(self) -> None:
        self._status: int | None = None
        self._passing: set[asyncio.Task[object]] = set()
        self._lost: dict[asyncio.Task[object], int] = {}

    @property
    def is_lost(self) -> bool:
        """Whether the server is dead."""
        return self._status is not None

    def lose(self, status: int, seconds: float) -> None:
        """Lose the server for so many seconds, and all requests that are under way with it."""
        self._status = status
        self._lost |= dict.fromkeys(self._passing, status)
        for task in self._passing:
            task.cancel()
        # Not in the context of the request: what is bound there goes with its client.
        asyncio.get_running_loop().call_later(seconds, self._found, context=Context())

    def _found(self) -> None:
        self._status = None

    async def passing(
        self, answer: Callable[[], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """The server's answer, or the proxy's own where there is no server."""
        if self._status is not None:
            return _says(self._status)
        task = asyncio.current_task()
        if task is None:
            return await answer()
        self._passing.add(task)
        try:
            return await answer()
        except asyncio.CancelledError:
            if (status := self._lost.get(task)) is None or task.uncancel() > 0:
                raise
            return _says(status)
        finally:
            self._passing.discard(task)
            self._lost.pop(task, None)


def _says(status: int) -> web.Response:
    page = f"<html><body><h1>{status}</h1></body></html>"
    return web.Response(status=status, text=page, content_type="text/html")
