"""The admin pages: is it alive, is it ready, what do the metrics say; and the status page.

Rules:

1. Read-only: nothing here changes anything, and nothing shows secrets or the text of documents.
   What the service does and its settings are shown to whom `consumer.admin.page` lets see it.
2. Small and quick: no request has a body that is read, every connection serves one request and
   ends after a few seconds (event streams after minutes, and there are few), and there is a limit
   to connections. Strangers who send a byte a second (or ten thousand of them) cost nothing but
   these. Where all are taken the oldest one ends: probes get through whoever holds the others.
3. ``/livez`` fails only when a restart would help. An outage of Kafka or AnythingLLM is none.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from types import MappingProxyType, TracebackType
from typing import Self

import orjson
import structlog
from aiohttp import web

from consumer.admin.health import Health
from consumer.admin.page import HEADERS, StatusPage
from consumer.telemetry.metrics import CONTENT_TYPE, Metrics

log = structlog.get_logger(__name__)

# Streams end at once and other answers take milliseconds; aiohttp would wait a minute.
_SHUTDOWN_SECONDS = 2.0

# aiohttp would tell its own and Python's version.
_OURS = MappingProxyType({**HEADERS, "Server": "anythingllm-consumer"})

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class AdminError(Exception):
    """The admin pages can't be served; the message says why and what to change."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one stranger may cost.

    Args:
        connection_seconds: a connection's whole life; scrapes and probes take milliseconds.
        connections: open at once; one more ends the oldest that is no event stream.
        head_bytes: request line or any one header.
    """

    connection_seconds: float = 10.0
    connections: int = 64
    head_bytes: int = 4096


@dataclass(slots=True)
class AdminServer:
    """Serves ``/livez``, ``/readyz`` and ``/metrics`` while its ``async with`` block runs.

    Args:
        host: address to listen on.
        port: port to listen on; 0 picks a free one.
        health: answers the probes.
        metrics: the page for Prometheus.
        limits: see `Limits`.
        page: the status page; None: there is none.
    """

    host: str
    port: int
    health: Health
    metrics: Metrics
    limits: Limits = field(default_factory=Limits)
    page: StatusPage | None = None
    _runner: web.AppRunner | None = field(default=None, init=False, repr=False)
    _listener: asyncio.Server | None = field(default=None, init=False, repr=False)
    # In the order in which they came.
    _open: dict[_AdminConnection, None] = field(default_factory=dict, init=False, repr=False)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen; afterwards `port` is the one that is listened on.

        Raises:
            AdminError: the address can't be listened on.
        """
        runner = web.AppRunner(
            self._application(), handle_signals=False, shutdown_timeout=_SHUTDOWN_SECONDS
        )
        await runner.setup()
        try:
            self._listener = await asyncio.get_running_loop().create_server(
                lambda: self._connection(runner), self.host, self.port
            )
        except OSError as error:
            await runner.cleanup()
            raise AdminError(_cannot_listen(self.host, self.port, error)) from error
        self._runner = runner
        self.port = self._listener.sockets[0].getsockname()[1]
        log.info("admin.listening", host=self.host, port=self.port)

    async def stop(self) -> None:
        """Stop listening and end open connections; harmless when not started."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self.page is not None:
            self.page.streams.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def _connection(self, runner: web.AppRunner) -> asyncio.Protocol:
        server = runner.server
        if server is None or not self._has_room():
            return _RefusedConnection()
        loop = asyncio.get_running_loop()
        protocol = _AdminConnection(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # none; aiohttp says so without types
            max_line_size=self.limits.head_bytes,
            max_field_size=self.limits.head_bytes,
            lingering_time=0,
        )
        self._open[protocol] = None
        protocol.on_lost = lambda: self._open.pop(protocol, None)
        # aiohttp waits for ever for a request that never gets finished.
        loop.call_later(self.limits.connection_seconds, self._end, protocol)
        return protocol

    def _has_room(self) -> bool:
        """Whether one more connection may come; where all are taken, the oldest one makes room.

        Answers take milliseconds: who is the oldest has asked nothing yet, or does not read.
        """
        if len(self._open) < self.limits.connections:
            return True
        oldest = next((each for each in self._open if not self._is_stream(each)), None)
        if oldest is None:
            return False
        del self._open[oldest]
        oldest.end()
        return True

    def _is_stream(self, protocol: web.RequestHandler) -> bool:
        return self.page is not None and self.page.streams.holds(protocol)

    def _end(self, protocol: _AdminConnection) -> None:
        if not self._is_stream(protocol):  # that ends its connection itself
            protocol.end()

    def _application(self) -> web.Application:
        app = web.Application(middlewares=[_one_request, self._guard])
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        if self.page is not None:
            self.page.add_to(app.router)
        app.on_response_prepare.append(_plain_headers)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        refused = None if self.page is None else self.page.refused(request)
        return await handler(request) if refused is None else refused

    async def _livez(self, request: web.Request) -> web.Response:
        reasons = self.health.alive()
        return _answer("not alive" if reasons else "alive", reasons, failed=bool(reasons))

    async def _readyz(self, request: web.Request) -> web.Response:
        reasons, worries = self.health.ready(), self.health.degraded()
        if reasons:
            return _answer("not ready", [*reasons, *worries], failed=True)
        return _answer("degraded" if worries else "ready", worries, failed=False)

    async def _metrics(self, request: web.Request) -> web.Response:
        self.metrics.ready.set(not self.health.ready())
        return web.Response(body=self.metrics.render(), headers={"Content-Type": CONTENT_TYPE})


class _AdminConnection(web.RequestHandler):
    """Answers what is no request, and what failed, in a word.

    aiohttp would tell its version and Python's, repeat what it was sent, and write a traceback to
    the log for each: strangers could fill that.
    """

    on_lost: Callable[[], object] = staticmethod(lambda: None)
    _is_ended = False

    def end(self) -> None:
        """End it now, also one that the loop has accepted and not yet begun."""
        self._is_ended = True
        if (transport := self.transport) is not None:
            # Not close(): that would wait for a reader who doesn't read.
            transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        super().connection_made(transport)
        if self._is_ended:
            self.end()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Called by asyncio."""
        self.on_lost()
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Called by aiohttp."""
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("admin.failed", path=request.path, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("a part of the answer is sent already")
        response = web.Response(status=status, text=f"{HTTPStatus(status).phrase}\n")
        response.headers.update(_OURS)
        response.force_close()
        return response


class _RefusedConnection(asyncio.Protocol):
    """Ends a connection before it has said anything."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        if isinstance(transport, asyncio.Transport):
            transport.abort()


def _answer(status: str, reasons: Sequence[str], *, failed: bool) -> web.Response:
    body = orjson.dumps({"status": status, "reasons": list(reasons)}) + b"\n"
    return web.Response(body=body, status=503 if failed else 200, content_type="application/json")


@web.middleware
async def _one_request(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        response = await handler(request)
    except web.HTTPException as refused:
        response = web.Response(text=f"{refused.reason}\n", status=refused.status)
        if "Allow" in refused.headers:
            response.headers["Allow"] = refused.headers["Allow"]
    response.force_close()
    return response


async def _plain_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_OURS)


def _cannot_listen(host: str, port: int, error: OSError) -> str:
    where = f"can't serve the admin pages on {host}:{port}"
    if error.errno == errno.EADDRINUSE:
        return f"{where}: the port is in use; set ADMIN_PORT to a free one, or to 0 to pick one"
    return f"{where}: {error.strerror or type(error).__name__}; set ADMIN_HOST and ADMIN_PORT"
