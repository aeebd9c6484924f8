"""Sending an answer, and all the ways of not sending it."""

from __future__ import annotations

import asyncio
import socket
import struct

from aiohttp import web

from consumer.sandbox.simulator.exchange import WireAnswer
from consumer.sandbox.simulator.faults import Action, FaultKind

DRIP_BYTES = 64


async def send(
    request: web.Request, answer: WireAnswer, after: Action | None
) -> web.StreamResponse:
    """Send the answer, spoilt as the action says.

    Args:
        request: what is answered.
        answer: what the server would say.
        after: one of the actions that strike after the request took effect, or None.
    """
    match after.kind if after else None:
        case FaultKind.RESET_AFTER:
            return cut(request, reset=True)
        case FaultKind.FIN_AFTER:
            return cut(request, reset=False)
        case FaultKind.HALF_BODY:
            return await _half(request, answer)
        case FaultKind.DRIP if after:
            return await _drip(request, answer, after.seconds)
        case FaultKind.TRUNCATED:
            half = answer.body[: len(answer.body) // 2]
            return _whole(request, WireAnswer(answer.status, answer.content_type, half))
        case _:
            return _whole(request, answer)


def cut(request: web.Request, *, reset: bool) -> web.StreamResponse:
    """Break the connection without a word: by a TCP reset, or by closing it."""
    transport = request.transport
    if transport is not None:
        if reset:
            _linger_zero(transport)
            transport.abort()
        else:
            transport.close()
    return web.Response()


def _linger_zero(transport: asyncio.Transport) -> None:
    """Closing then sends RST instead of FIN."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _whole(request: web.Request, answer: WireAnswer) -> web.Response:
    headers = _headers(answer)
    if request.method in ("GET", "HEAD") and answer.status == 200:
        wanted = request.headers.get("If-None-Match", "")
        if answer.etag in wanted:
            return web.Response(status=304, headers={"ETag": answer.etag})
    return web.Response(status=answer.status, body=answer.body, headers=headers)


async def _half(request: web.Request, answer: WireAnswer) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers=_headers(answer))
    response.content_length = len(answer.body)
    await response.prepare(request)
    await response.write(answer.body[: len(answer.body) // 2])
    if request.transport is not None:
        request.transport.close()
    return response


async def _drip(request: web.Request, answer: WireAnswer, seconds: float) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers=_headers(answer))
    response.content_length = len(answer.body)
    await response.prepare(request)
    for start in range(0, len(answer.body), DRIP_BYTES):
        await response.write(answer.body[start : start + DRIP_BYTES])
        await asyncio.sleep(seconds)
    await response.write_eof()
    return response


def _headers(answer: WireAnswer) -> dict[str, str]:
    headers = {"X-Powered-By": "Express", "Keep-Alive": "timeout=5", **answer.headers}
    if answer.body:
        headers["ETag"] = answer.etag
    if answer.content_type:
        headers["Content-Type"] = answer.content_type
    return headers
