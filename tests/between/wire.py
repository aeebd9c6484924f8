"""What the proxy sends back, byte for byte where that is the point."""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from aiohttp import web

from tests.between.behaviours import Answers, Spoil

_LARGE = "x" * 65_536
OF_ONE_CONNECTION = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "content-length", "host", "upgrade", "te"}
)


@dataclass(frozen=True, slots=True)
class Taken:
    """An answer of AnythingLLM, whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def answer(answers: Answers) -> web.Response:
    """An answer of the proxy's own."""
    headers = {"Content-Type": answers.content_type, "Server": "in-between"}
    if answers.status // 100 == 3:
        headers["Location"] = "http://127.0.0.1:9/"
    if answers.status == 204:
        return web.Response(status=204)
    return web.Response(status=answers.status, body=answers.body, headers=headers)


def whole(taken: Taken) -> web.Response:
    """AnythingLLM's answer as it is."""
    return web.Response(status=taken.status, body=taken.body, headers=kept(taken))


def kept(taken: Taken) -> dict[str, str]:
    """Its headers that are not of its connection alone."""
    return {k: v for k, v in taken.headers.items() if k.lower() not in OF_ONE_CONNECTION}


def lines_of(taken: Taken) -> list[str]:
    """Its header lines, with a length."""
    return [
        *(f"{name}: {value}" for name, value in kept(taken).items()),
        f"Content-Length: {len(taken.body)}",
    ]


def spoilt(request: web.BaseRequest, taken: Taken, how: Spoil) -> web.StreamResponse:
    """AnythingLLM's answer with something wrong."""
    lines, body = lines_of(taken), taken.body
    match how:
        case Spoil.LARGE_HEADER:
            lines.insert(0, f"X-Trail: {_LARGE}")
        case Spoil.UNREADABLE_HEADER:
            lines.insert(0, "this is: no\x00header")
        case Spoil.NO_HEADERS:
            lines = []
        case Spoil.TEXT_TYPE:
            return whole(Taken(taken.status, {"Content-Type": "text/plain"}, body))
        case Spoil.CUT_SHORT:
            body = body[: len(body) // 2]
        case Spoil.CUT_JSON:
            return whole(Taken(taken.status, taken.headers, body[: len(body) // 2]))
    return raw(request, taken, lines, body, reset=False)


def raw(
    request: web.BaseRequest, taken: Taken, lines: list[str], body: bytes, *, reset: bool
) -> web.StreamResponse:
    """Write an answer byte for byte, and end the connection."""
    if request.transport is not None:
        head = "\r\n".join([f"HTTP/1.1 {taken.status} Said", *lines, "", ""])
        request.transport.write(head.encode("latin-1", "replace") + body)
    return cut(request, reset=reset)


def cut(request: web.BaseRequest, *, reset: bool) -> web.StreamResponse:
    """End the connection without another word."""
    transport = request.transport
    if transport is not None and not reset:
        transport.close()
    elif transport is not None:
        sock = transport.get_extra_info("socket")
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response()
