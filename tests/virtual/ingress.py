"""A proxy between the client and the simulated AnythingLLM, on a virtual loop.

It forwards each request over a connection of its own. Where nobody listens behind it, or the
connection breaks before the answer, it answers itself, as ingresses do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class Ingress:
    """How it behaves; changeable at any time.

    Args:
        upstream: the port behind it; 0: nobody is there.
        status: what it answers where nobody is there.
        gives_up_after: seconds after which it answers ``gave_up`` and lets the request go on.
        hasty: paths that it answers at once with ``gave_up``, and forwards all the same.
        late: seconds after which a hasty request is forwarded.
        said: statuses that it has answered itself, with the path.
    """

    upstream: int = 0
    status: int = 502
    gives_up_after: float = 10_000.0
    gave_up: int = 504
    hasty: str = "nothing"
    late: float = 0.0
    said: list[tuple[int, str]] = field(default_factory=list)
    port: int = 0
    _going_on: set[asyncio.Task[bytes]] = field(default_factory=set)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, then the connection is closed."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            request = head + await reader.readexactly(_length(head))
            writer.write(await self._answer(head.split(b" ", 2)[1].decode(), request))
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(self, path: str, request: bytes) -> bytes:
        is_hasty = self.hasty in path
        task = asyncio.create_task(self._forward(request, self.late if is_hasty else 0.0))
        self._going_on.add(task)
        task.add_done_callback(self._going_on.discard)
        if is_hasty:
            return self._says(self.gave_up, path)
        try:
            async with asyncio.timeout(self.gives_up_after):
                answer = await asyncio.shield(task)
        except TimeoutError:
            return self._says(self.gave_up, path)
        if not answer:
            return self._says(self.status, path)
        line, rest = answer.split(b"\r\n", 1)
        return line + b"\r\nConnection: close\r\n" + rest

    async def _forward(self, request: bytes, late: float) -> bytes:
        await asyncio.sleep(late)
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.upstream)
        except OSError:
            return b""
        try:
            line, rest = request.split(b"\r\n", 1)
            writer.write(line + b"\r\nConnection: close\r\n" + rest)
            return await reader.read()
        except OSError:
            return b""
        finally:
            writer.close()

    def _says(self, status: int, path: str) -> bytes:
        self.said.append((status, path))
        body = f"<html><center>{status}</center><hr>nginx</html>"
        return (
            f"HTTP/1.1 {status} Said\r\nServer: nginx\r\nContent-Type: text/html\r\n"
            f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        ).encode()


def _length(head: bytes) -> int:
    lines = head.lower().split(b"\r\n")
    found = [int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")]
    return found[0] if found else 0


@asynccontextmanager
async def ingress() -> AsyncIterator[Ingress]:
    """An ingress that listens, with nobody behind it yet."""
    made = Ingress()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for task in list(made._going_on):
            task.cancel()
