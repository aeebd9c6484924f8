"""A loop whose time stands still while anything can happen, and jumps when nothing can.

Two hours of an outage pass in a second, in the same order each time. Servers listen in memory and
connections are made in memory (`tests.virtual.wires`): what aiohttp asks for as a socket never
meets the kernel.
"""

from __future__ import annotations

import asyncio
import functools
import heapq
import socket
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any, ParamSpec

from tests.virtual.wires import HOST, Factory, Network, WireServer

P = ParamSpec("P")

_RESOLUTION = 1e-6
_MANY_CANCELLED = 100
HERE = frozenset({HOST, "localhost"})

OWNER: ContextVar[str] = ContextVar("owner", default="")
"""Whose tasks those are that begin here; `VirtualLoop.frozen` goes by it."""


class Stuck(RuntimeError):
    """Everything waits, and nothing will ever happen."""


class Spins(RuntimeError):
    """So much happened that it will never end."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """See the module's docstring. Nothing in it may use threads: nobody would wait for them.

    What is to be done in one is done at once.

    Args:
        most_turns: after so many it raises `Spins`; 0: never.
    """

    epoch = 1_800_000_000.0  # epoch seconds at its begin

    # What the base class keeps.
    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]
    _timer_cancelled_count: int

    def __init__(self, most_turns: int = 0) -> None:
        super().__init__()
        self.now = 0.0
        self.turns = 0
        self._most_turns = most_turns
        self.network = Network(self)
        self.frozen: set[str] = set()  # owners whose processes stand still
        self._kept: list[asyncio.Handle] = []
        self._ports: dict[int, int] = {}  # of sockets that were "connected", by file number

    def time(self) -> float:
        """Virtual seconds."""
        return self.now

    def freeze(self, owner: str) -> None:
        """Nothing of this owner runs until `thaw`."""
        self.frozen.add(owner)

    def thaw(self, owner: str) -> None:
        """Go on where it was."""
        self.frozen.discard(owner)
        kept, self._kept = self._kept, []
        self._ready.extend(kept)

    def _run_once(self) -> None:
        ready, scheduled = self._ready, self._scheduled
        if self._timer_cancelled_count > _MANY_CANCELLED:
            self._drop_cancelled()
        if not ready:
            self._jump()
        end = self.now + _RESOLUTION
        while scheduled and scheduled[0].when() < end:
            timer = heapq.heappop(scheduled)
            timer._scheduled = False  # type: ignore[attr-defined]
            if timer.cancelled():
                self._timer_cancelled_count -= 1
            else:
                # Who sleeps for less than the resolution, and looks again, would do so for ever.
                self.now = max(self.now, timer.when())
                ready.append(timer)
        self.turns += 1
        if self._most_turns and self.turns == self._most_turns:
            raise Spins(f"{self.turns} turns of the loop")
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle.cancelled():
                continue
            if self.frozen and handle._context.get(OWNER) in self.frozen:  # type: ignore[attr-defined]
                self._kept.append(handle)
                continue
            handle._run()

    def _jump(self) -> None:
        scheduled = self._scheduled
        while scheduled and scheduled[0].cancelled():
            heapq.heappop(scheduled)._scheduled = False  # type: ignore[attr-defined]
            self._timer_cancelled_count -= 1
        if scheduled:
            self.now = max(self.now, scheduled[0].when())
        elif not self._stopping:  # type: ignore[attr-defined]
            raise Stuck("every task waits and no timer runs")

    def _drop_cancelled(self) -> None:
        left = []
        for timer in self._scheduled:
            if timer.cancelled():
                timer._scheduled = False  # type: ignore[attr-defined]
            else:
                left.append(timer)
        heapq.heapify(left)
        self._scheduled[:] = left
        self._timer_cancelled_count = 0

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, work: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """As the base class, without a thread: it is done when this returns."""
        done = self.create_future()
        try:
            done.set_result(work(*args))
        except Exception as error:
            done.set_exception(error)
        return done

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """As the base class, in memory; an address that is not this machine never answers."""
        host, port = address[:2]
        if host not in HERE:
            await self.create_future()
        self.network.check(port)
        self._ports[sock.fileno()] = port

    async def create_connection(  # type: ignore[override]
        self,
        protocol_factory: Factory,
        host: str | None = None,
        port: int = 0,
        *,
        sock: socket.socket | None = None,
        ssl: Any = None,
        **_: Any,
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """As the base class, in memory, by address or for a socket of `sock_connect`."""
        if ssl is not None:
            raise NotImplementedError("no TLS in memory")
        if sock is not None:
            port = self._ports.pop(sock.fileno())
            sock.close()
        return self.network.connect(protocol_factory, port)

    async def create_server(  # type: ignore[override]
        self, protocol_factory: Factory, host: str | None = None, port: int | None = None, **_: Any
    ) -> WireServer:
        """As the base class, in memory."""
        return self.network.listen(protocol_factory, port)

    async def getaddrinfo(self, host: Any, port: Any, **_: Any) -> Any:
        """As the base class, for the names of this machine."""
        if host not in HERE:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (HOST, port))]


def virtually(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test on a loop of its own whose time is virtual."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        loop = VirtualLoop()
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(test(*args, **kwargs))
        finally:
            for owner in tuple(loop.frozen):
                loop.thaw(owner)
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
