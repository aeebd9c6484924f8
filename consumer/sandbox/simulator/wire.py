"""Sending an answer, and all the ways of not sending it."""

from __future__ import annotations

import asyncio
import socket
import struct
from datetime import datetime
from email.utils import formatdate
from functools import lru_cache

from aiohttp import web

from consumer.sandbox.simulator.exchange import WireAnswer
from consumer.sandbox.simulator.fault_rules import Action, FaultKind

DRIP_BYTES = 64
LARGE_BYTES = 65_536  # of a header; clients read about 8,000


async def send(
    request: web.BaseRequest, answer: WireAnswer, after: Action | None, now: datetime
) -> web.StreamResponse:
    """Send the answer, spoilt as the action says.

    Args:
        request: what is answered.
        answer: what the server would say.
        after: one of the actions that strike after the request took effect, or None.
        now: the server's time.
    """
    headers = _headers(answer, now)
    match after.kind if after else None:
        case FaultKind.RESET_AFTER:
            return cut(request, reset=True)
        case FaultKind.FIN_AFTER:
            return cut(request, reset=False)
        case FaultKind.HALF_BODY:
            return await _half(request, answer, headers)
        case FaultKind.DRIP if after:
            return await _drip(request, answer, headers, after.seconds)
        case FaultKind.TRUNCATED:
            body = answer.body[: len(answer.body) // 2]
            half = WireAnswer(answer.status, answer.content_type, body)
            return _whole(request, half, _headers(half, now))
        case FaultKind.LARGE_HEADER:
            return _whole(request, answer, {"X-Trail": "x" * LARGE_BYTES, **headers})
        case FaultKind.UNREADABLE_HEADER:
            return _unreadable(request, answer)
        case _:
            return _whole(request, answer, headers)


def cut(request: web.BaseRequest, *, reset: bool) -> web.StreamResponse:
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


def _whole(request: web.BaseRequest, answer: WireAnswer, headers: dict[str, str]) -> web.Response:
    if request.method in ("GET", "HEAD") and answer.status == 200:
        wanted = request.headers.get("If-None-Match", "")
        if answer.etag in wanted:
            return web.Response(status=304, headers={"ETag": answer.etag, "Date": headers["Date"]})
    return web.Response(status=answer.status, body=answer.body, headers=headers)


async def _half(
    request: web.BaseRequest, answer: WireAnswer, headers: dict[str, str]
) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers=headers)
    response.content_length = len(answer.body)
    await response.prepare(request)
    await response.write(answer.body[: len(answer.body) // 2])
    if request.transport is not None:
        request.transport.close()
    return response


def _unreadable(request: web.BaseRequest, answer: WireAnswer) -> web.StreamResponse:
    """An answer whose header has a NUL, which no library would write."""
    if request.transport is not None:
        head = f"HTTP/1.1 {answer.status} \r\nX-Trail: \0\r\nContent-Length: {len(answer.body)}"
        request.transport.write(head.encode() + b"\r\n\r\n" + answer.body)
    return cut(request, reset=False)


async def _drip(
    request: web.BaseRequest, answer: WireAnswer, headers: dict[str, str], seconds: float
) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers=headers)
    response.content_length = len(answer.body)
    await response.prepare(request)
    for start in range(0, len(answer.body), DRIP_BYTES):
        if start:  # after the last bytes nobody waits: the next request may come on this connection
            await asyncio.sleep(seconds)
        await response.write(answer.body[start : start + DRIP_BYTES])
    await response.write_eof()
    return response


def _headers(answer: WireAnswer, now: datetime) -> dict[str, str]:
    headers = {
        **({"X-Powered-By": "Express"} if answer.is_own else {}),
        "Keep-Alive": "timeout=5",
        "Date": _date(int(now.timestamp())),
        **answer.headers,
    }
    if answer.body:
        headers["ETag"] = answer.etag
    if answer.content_type:
        headers["Content-Type"] = answer.content_type
    return headers


@lru_cache(maxsize=1)  # most answers are given in the second of the one before
def _date(seconds: int) -> str:
    return formatdate(seconds, usegmt=True)
