#!/usr/bin/env bash
# aiohttp 3.14.5 sends a DELETE a second time by itself when its connection breaks before the
# answer: also on a new connection that was never used before, and with force_close=True. RFC 9112
# (9.3.1) allows that for idempotent methods; one would expect it only of connections that were kept
# alive, because those may have gone stale. No public parameter switches it off.
# A POST is sent once. Whoever has to know how often a request went out can stop it by a client
# middleware that turns the error into another one.
#
# Seen: "DELETE: 2 requests on 2 connections", "POST: 1 requests on 1 connections",
#       "DELETE with the middleware: 1 requests on 1 connections". Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check aiohttp==3.14.5
cat > "$folder/twice.py" <<'PYTHON'
import asyncio

import aiohttp


class Breaking:
    """Reads a request whole, and closes the connection without an answer."""

    def __init__(self):
        self.connections = self.requests = 0

    async def serve(self, reader, writer):
        self.connections += 1
        await reader.readuntil(b"\r\n\r\n")
        self.requests += 1
        writer.close()


async def once(request, handler):
    try:
        return await handler(request)
    except aiohttp.ServerDisconnectedError as error:
        raise aiohttp.ClientConnectionError(str(error)) from error


async def sent(method, middlewares=()):
    breaking = Breaking()
    server = await asyncio.start_server(breaking.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connector, middlewares=middlewares) as session:
        try:
            await session.request(method, f"http://127.0.0.1:{port}/")
        except aiohttp.ClientConnectionError:
            pass
        else:
            raise SystemExit("there was an answer")
    server.close()
    return f"{breaking.requests} requests on {breaking.connections} connections"


async def main():
    print("aiohttp", aiohttp.__version__)
    print("DELETE:", await sent("DELETE"))
    print("POST:", await sent("POST"))
    print("DELETE with the middleware:", await sent("DELETE", [once]))


asyncio.run(main())
PYTHON
"$folder/venv/bin/python" "$folder/twice.py" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
aiohttp 3.14.5
DELETE: 2 requests on 2 connections
POST: 1 requests on 1 connections
DELETE with the middleware: 1 requests on 1 connections
SEEN
echo "as it was"
