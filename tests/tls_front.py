"""TLS in front of a server that speaks none, as a proxy does it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

from tests.certificates import HOST


@asynccontextmanager
async def tls_before(endpoint: str, context: ssl.SSLContext) -> AsyncIterator[str]:
    """The https address under which a plain server is reached while the block runs.

    Args:
        endpoint: of the plain server.
        context: has the key and certificate that are shown.
    """
    there = urlsplit(endpoint)
    pumps: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError):
                while data := await reader.read(65536):
                    writer.write(data)
                    await writer.drain()
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward = await asyncio.open_connection(there.hostname, there.port)
        for task in (pump(reader, onward[1]), pump(onward[0], writer)):
            pumps.add(asyncio.create_task(task))

    server = await asyncio.start_server(serve, HOST, 0, ssl=context)
    try:
        yield f"https://{HOST}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
