"""A reverse proxy on loopback whose behaviour is chosen while it runs (`behaviours`).

It needs nothing but a loop: on a virtual one (`tests.virtual.loop`) it listens in memory, and hours
of its patience cost nothing. A client that leaves stops nothing: what it asked for goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp
from aiohttp import web

from tests.between.behaviours import (
    Answers,
    Behaviour,
    Breaks,
    DropsBody,
    Point,
    Restarts,
    Spoils,
)
from tests.between.operations import Operation
from tests.between.wire import OF_ONE_CONNECTION, Taken, answer, cut, lines_of, raw, spoilt, whole

HOST = "127.0.0.1"
KEEP_ALIVE = 4.0  # seconds; AnythingLLM closes idle connections after 5
STOP_SECONDS = 0.001
KILLED_AFTER = 0.02  # seconds from a request until the server that has it is gone
BODY_LIMIT = 64 * 2**20


@dataclass(slots=True)
class Struck:
    """A behaviour in force.

    Args:
        behaviour: what becomes of a request.
        operation: of which requests.
        times: how many it strikes at most; None: all.
        count: how many it has struck.
    """

    behaviour: Behaviour
    operation: Operation
    times: int | None = None
    count: int = 0

    def take(self, method: str, path: str, body: bytes) -> bool:
        """Whether it strikes this request; counts it if it does."""
        if self.times is not None and self.count >= self.times:
            return False
        if not self.operation.has(method, path, body):
            return False
        if not self.behaviour.strikes(method, body):
            return False
        self.count += 1
        return True


class Server(Protocol):
    """What can be killed and started again, such as a simulated AnythingLLM."""

    async def stop(self) -> None: ...

    async def start(self) -> None: ...


class Proxy:
    """See the module's docstring. Make it with `between`.

    Args:
        upstream: the address that it stands before, without a path.
        port: 0 picks a free one, which is kept over restarts.
        server: what a restart of the server restarts; may be set later.
    """

    def __init__(self, upstream: str, port: int = 0, server: Server | None = None) -> None:
        self.server = server
        self._upstream = upstream
        self._port = port
        self._unreachable = 502
        self._struck: list[Struck] = []
        self._says: int | None = None  # the status for everything, in the middle of a restart
        self._tasks: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.ServerRunner | None = None

    @property
    def endpoint(self) -> str:
        """Its base address."""
        return f"http://{HOST}:{self._port}"

    def behave(
        self, behaviour: Behaviour, operation: Operation, times: int | None = None
    ) -> Struck:
        """Have a behaviour strike requests of an operation from now on; the first that fits does.

        Args:
            behaviour: what becomes of them.
            operation: which requests.
            times: how many at most; None: until `well`.
        """
        struck = Struck(behaviour, operation, times)
        self._struck.append(struck)
        return struck

    def well(self) -> None:
        """Pass everything on from now on. What was held back goes on as it would have."""
        self._struck.clear()

    async def start(self) -> None:
        """Listen."""
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE)
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None),
        )
        await self._listen()

    async def close(self) -> None:
        """Stop for good; nothing of it is left."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._fall_silent()
        if self._session is not None:
            await self._session.close()

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()

        def request(
            message: Any, payload: Any, protocol: Any, writer: Any, task: Any
        ) -> web.BaseRequest:
            return web.BaseRequest(
                message, payload, protocol, writer, task, loop, client_max_size=BODY_LIMIT
            )

        server = web.Server(self._handle, request_factory=request, access_log=None)
        runner = web.ServerRunner(server, shutdown_timeout=STOP_SECONDS)
        await runner.setup()
        site = web.TCPSite(runner, HOST, self._port, reuse_address=True)
        try:
            await site.start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner = runner
        self._port = runner.addresses[0][1]

    async def _fall_silent(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        if self._says is not None:
            return answer(Answers(self._says))
        for struck in self._struck:
            if struck.take(request.method, request.path, body):
                return await self._misbehave(request, body, struck.behaviour)
        return whole(await self._pass_on(request, body))

    async def _misbehave(
        self, request: web.BaseRequest, body: bytes, behaviour: Behaviour
    ) -> web.StreamResponse:
        match behaviour.way:
            case Answers() as answers:
                return await self._answers(request, body, answers)
            case Breaks(at=Point.REQUEST, reset=reset):
                return cut(request, reset=reset)
            case Breaks(at=Point.ANSWER, reset=reset):
                await self._pass_on(request, body)
                return cut(request, reset=reset)
            case Breaks(reset=reset):
                taken = await self._pass_on(request, body)
                half = taken.body[: len(taken.body) // 2]
                return raw(request, taken, lines_of(taken), half, reset=reset)
            case Spoils(how):
                return spoilt(request, await self._pass_on(request, body), how)
            case DropsBody():
                return whole(await self._pass_on(request, b""))
            case Restarts(server=True) as restarts:
                self._later(self._restart_server(restarts))
                self._later(self._pass_on_after(request, body, 0.0))
                await asyncio.sleep(KILLED_AFTER)
                return answer(Answers(self._unreachable))
            case Restarts() as restarts:
                await self._pass_on(request, body)
                self._later(self._restart(restarts))
                return cut(request, reset=True)

    async def _answers(
        self, request: web.BaseRequest, body: bytes, answers: Answers
    ) -> web.StreamResponse:
        if answers.effect is not None and answers.effect <= answers.after:
            await asyncio.sleep(answers.effect)
            await self._pass_on(request, body)
            await asyncio.sleep(answers.after - answers.effect)
        else:
            if answers.effect is not None:
                self._later(self._pass_on_after(request, body, answers.effect))
            await asyncio.sleep(answers.after)
        return answer(answers)

    async def _pass_on_after(self, request: web.BaseRequest, body: bytes, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._pass_on(request, body)

    async def _pass_on(self, request: web.BaseRequest, body: bytes) -> Taken:
        """What AnythingLLM answers, or that it can't be reached."""
        assert self._session is not None
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() not in OF_ONE_CONNECTION
        }
        try:
            async with self._session.request(
                request.method,
                self._upstream + str(request.rel_url),
                data=body or None,
                headers=headers,
                allow_redirects=False,
            ) as response:
                return Taken(response.status, response.headers, await response.read())
        except aiohttp.ClientError:
            return Taken(self._unreachable, {"Content-Type": "text/html"}, Answers(0).body)

    async def _restart(self, restarts: Restarts) -> None:
        # Only once, however many requests are struck: it is one proxy.
        self.well()
        await self._fall_silent()
        if restarts.status is None:
            await asyncio.sleep(restarts.seconds)
            await self._listen()
        else:
            self._says = restarts.status
            await self._listen()
            await asyncio.sleep(restarts.seconds)
            self._says = None

    async def _restart_server(self, restarts: Restarts) -> None:
        self.well()
        assert self.server is not None, "nothing to restart"
        self._unreachable = restarts.status or self._unreachable
        await asyncio.sleep(KILLED_AFTER / 2)
        await self.server.stop()
        await asyncio.sleep(restarts.seconds)
        await self.server.start()

    def _later(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@asynccontextmanager
async def between(
    upstream: str, port: int = 0, server: Server | None = None
) -> AsyncIterator[Proxy]:
    """A proxy for the length of an ``async with``; the arguments are those of `Proxy`."""
    proxy = Proxy(upstream, port, server)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.close()
