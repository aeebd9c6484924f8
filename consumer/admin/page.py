"""The status page: what the service does, for people at `/` and for scripts as JSON.

Rules:

1. It is shown to whom `consumer.admin.guard` lets see it, and to others it does not exist.
2. Everything of it comes from this package: no script, style, image or request leads elsewhere,
   and the policy that browsers are given allows none. Data become text, never markup.
3. Looking costs the journey next to nothing: a status is made at most once a second, however many
   look on, and more rarely where that takes long: with ten thousand documents aside it does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import orjson
from aiohttp import web

from consumer.admin.guard import (
    PROXY_HEADERS,
    PageRefusal,
    PageRules,
    Visitor,
    prefers_json,
    refusal_of,
)
from consumer.admin.status import Status, plain
from consumer.admin.streams import StreamLimits, Streams

OPEN_PATHS = frozenset({"/livez", "/readyz", "/metrics"})
STATUS, EVENTS = "/status", "/status/events"
FILES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "/": ("page.html", "text/html"),
        "/page.css": ("page.css", "text/css"),
        "/page.js": ("page.js", "text/javascript"),
        "/icon.svg": ("icon.svg", "image/svg+xml"),
    }
)
"""Path, and the file in ``static/`` with its content type."""

HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "Content-Security-Policy": (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
            " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
            " require-trusted-types-for 'script'; trusted-types 'none'"
        ),
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
    }
)
"""Sent with every answer."""

_FOLDER = Path(__file__).parent / "static"
_KEPT_SECONDS = 1.0
_KEPT_FACTOR = 50  # times what it took to make
_SAID: Mapping[PageRefusal, str] = MappingProxyType(
    {
        PageRefusal.NO_NAME: "the request has no Host, or none that can be one",
        PageRefusal.NOT_SAME_ORIGIN: "not for pages from elsewhere",
        PageRefusal.HIDDEN: "Not Found",
        PageRefusal.STRANGE_NAME: "not served under this name; ADMIN_ALLOWED_HOSTS has others",
    }
)


@dataclass(frozen=True, slots=True)
class PageParts:
    """What the page is made from.

    Args:
        make: the status of this moment.
        clean: what every text of it goes through: secrets masked, unprintable characters escaped.
        clock: monotonic seconds.
        rules: who may see it.
        streams: what event streams may cost.
    """

    make: Callable[[], Status]
    clean: Callable[[str], str]
    clock: Callable[[], float]
    rules: PageRules = field(default_factory=PageRules)
    streams: StreamLimits = field(default_factory=StreamLimits)


class StatusPage:
    """See the module's docstring."""

    def __init__(self, parts: PageParts) -> None:
        self._parts = parts
        self._files = {
            path: ((_FOLDER / name).read_bytes(), kind) for path, (name, kind) in FILES.items()
        }
        self._kept_until = float("-inf")
        self._body = b""
        self.streams = Streams(self.body, parts.streams, parts.clock)

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve it."""
        for path in self._files:
            router.add_get(path, self._file)
        router.add_get(STATUS, self._status)
        router.add_get(EVENTS, self.streams.serve)

    def body(self) -> bytes:
        """The status as JSON in one line, a few seconds old at most."""
        now = self._parts.clock()
        if now >= self._kept_until:
            status = plain(self._parts.make(), self._parts.clean)
            self._body = orjson.dumps(status, option=orjson.OPT_UTC_Z)
            took = self._parts.clock() - now
            self._kept_until = now + max(_KEPT_SECONDS, _KEPT_FACTOR * took)
        return self._body

    def refused(self, request: web.Request) -> web.Response | None:
        """The answer to who may not see it; None for others, and for probes and metrics.

        All else is refused, there or not: so no way to spell a path leads past.
        """
        if request.path in OPEN_PATHS:
            return None
        refusal = refusal_of(_visitor(request), self._parts.rules)
        if refusal is None:
            return None
        return web.Response(status=refusal, text=f"{_SAID[refusal]}\n")

    async def _file(self, request: web.Request) -> web.Response:
        if request.path == "/" and prefers_json(request.headers.get("Accept", "")):
            return await self._status(request)
        content, kind = self._files[request.path]
        return web.Response(body=content, content_type=kind, charset="utf-8")

    async def _status(self, request: web.Request) -> web.Response:
        return web.Response(body=self.body(), content_type="application/json")


def _visitor(request: web.Request) -> Visitor:
    transport = request.transport
    infos = [transport and transport.get_extra_info(end) for end in ("peername", "sockname")]
    return Visitor(
        ends=[info[0] if isinstance(info, tuple) and info else None for info in infos],
        hosts=request.headers.getall("Host", []),
        is_forwarded=any(name in request.headers for name in PROXY_HEADERS),
        site=request.headers.get("Sec-Fetch-Site"),
        may_be_linked=request.path == "/",
    )
