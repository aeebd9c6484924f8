"""A way to the broker that can be cut, silently or not, and mended.

Cut silently, connections stay open as in a network that drops packets, and what is sent arrives
when it is mended. Otherwise they are closed, and new ones are closed at once.

Brokers name their own address in their answers, and clients would go there past the proxy; its port
is put in instead (as many bytes, so that nothing else of the answer moves).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

P = TypeVar("P", bound="Proxy")

_PIECE = 65_536


class Proxy:
    """See the module's docstring; made by `proxy_to`.

    Args:
        host: the broker's.
        port: the broker's.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._open = asyncio.Event()
        self._open.set()
        self._refusing = False
        self._own_port = 0
        self._pipes: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def address(self) -> str:
        """``host:port`` for clients."""
        return f"{self._host}:{self._own_port}"

    def cut(self, *, silently: bool = True) -> None:
        """Let nothing through any more."""
        if silently:
            self._open.clear()
            return
        self._refusing = True
        for writer in self._writers:
            writer.close()

    def mend(self) -> None:
        """Let everything through, what was held too."""
        self._refusing = False
        self._open.set()

    async def serve(self) -> asyncio.Server:
        server = await asyncio.start_server(self._connected, self._host, 0)
        self._own_port = server.sockets[0].getsockname()[1]
        return server

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._open.wait()
        if self._refusing:
            writer.close()
            return
        answers, requests = await asyncio.open_connection(self._host, self._port)
        self._writers |= {writer, requests}
        for pipe in (self._requests(reader, requests), self._answers(answers, writer)):
            task = asyncio.create_task(pipe)
            self._pipes.add(task)
            task.add_done_callback(self._pipes.discard)

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await reader.read(_PIECE):
                await self._open.wait()
                writer.write(piece)
                await writer.drain()
        writer.close()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host = self._host.encode()
        theirs, ours = (host + port.to_bytes(4) for port in (self._port, self._own_port))
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                length = await reader.readexactly(4)
                answer = self.answered(await reader.readexactly(int.from_bytes(length)))
                await self._open.wait()
                writer.write(len(answer).to_bytes(4) + answer.replace(theirs, ours))
                await writer.drain()
        writer.close()

    def answered(self, answer: bytes) -> bytes:
        """An answer as clients get it, from its correlation id on."""
        return answer

    async def close(self) -> None:
        for task in list(self._pipes):
            task.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)
        for writer in list(self._writers):
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


@asynccontextmanager
async def proxy_to(bootstrap_servers: str) -> AsyncIterator[Proxy]:
    """A proxy while the block runs."""
    host, port = bootstrap_servers.split(":")
    async with serving(Proxy(host, int(port))) as proxy:
        yield proxy


@asynccontextmanager
async def serving(proxy: P) -> AsyncIterator[P]:
    """Any proxy while the block runs."""
    server = await proxy.serve()
    try:
        yield proxy
    finally:
        proxy.mend()
        server.close()
        await proxy.close()
