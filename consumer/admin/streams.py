"""Server-sent events of the status: a few streams at a time, each for a while, none waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from aiohttp import web

_RETRY_SECONDS = 5


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """What streams may cost.

    Args:
        streams: at a time; more get 503, and their pages ask every few seconds instead.
        every: seconds between two events.
        seconds: a stream's whole life; browsers open the next one by themselves.
        slow_seconds: how long a reader may take for an event.
        buffer: bytes that wait for a slow reader in our memory.
    """

    streams: int = 8
    every: float = 2.0
    seconds: float = 600.0
    slow_seconds: float = 5.0
    buffer: int = 128 * 1024


class Streams:
    """Serves ``/status/events``.

    Args:
        body: the status as JSON in one line.
        limits: see `StreamLimits`.
        clock: monotonic seconds.
    """

    def __init__(
        self, body: Callable[[], bytes], limits: StreamLimits, clock: Callable[[], float]
    ) -> None:
        self._body = body
        self._clock = clock
        self._limits = limits
        self._open: set[asyncio.BaseProtocol] = set()
        self._closing = asyncio.Event()

    def holds(self, connection: asyncio.BaseProtocol) -> bool:
        """Whether a stream runs on a connection: it may live longer than others."""
        return connection in self._open

    def close(self) -> None:
        """End all streams, soon."""
        self._closing.set()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Send an event every few seconds, until one of both ends it."""
        if request.method == "HEAD":
            return web.Response(content_type="text/event-stream")
        if len(self._open) >= self._limits.streams or self._closing.is_set():
            return web.Response(
                status=503,
                text="too many event streams are open; ask for /status instead\n",
                headers={"Retry-After": str(_RETRY_SECONDS)},
            )
        self._open.add(request.protocol)
        try:
            return await self._stream(request)
        finally:
            self._open.discard(request.protocol)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        response.force_close()
        await response.prepare(request)
        if (transport := request.transport) is not None:
            transport.set_write_buffer_limits(high=self._limits.buffer)
        try:
            await self._send(response, f"retry: {_RETRY_SECONDS * 1000}\n\n".encode())
            ends_at = self._clock() + self._limits.seconds
            while not self._closing.is_set() and self._clock() < ends_at:
                await self._send(response, b"event: status\ndata: " + self._body() + b"\n\n")
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._limits.every):
                        await self._closing.wait()
            async with asyncio.timeout(self._limits.slow_seconds):
                await response.write_eof()
        except (TimeoutError, ConnectionError):
            # Not close(): that would wait for a reader who doesn't read.
            if transport is not None:
                transport.abort()
        return response

    async def _send(self, response: web.StreamResponse, event: bytes) -> None:
        async with asyncio.timeout(self._limits.slow_seconds):
            await response.write(event)
