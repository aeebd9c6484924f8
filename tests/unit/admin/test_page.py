"""The status page over real sockets: who gets what, with which headers, and what streams cost."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import orjson
import pytest
from structlog.testing import capture_logs

import consumer.admin
from consumer.admin.guard import PROXY_HEADERS, PageRules
from consumer.admin.page import FILES, PageParts, StatusPage
from consumer.admin.server import AdminServer, Limits
from consumer.admin.status import Status
from consumer.admin.streams import StreamLimits
from consumer.telemetry.metrics import Metrics
from tests.unit.admin.sample_status import sample_status
from tests.unit.admin.test_server import Told

STATIC = Path(consumer.admin.__path__[0]) / "static"
SECONDS = StreamLimits(streams=2, every=0.05, seconds=0.4, slow_seconds=0.2)


@dataclass
class Scene:
    """A status page whose status counts how often it was made."""

    status: Status = field(default_factory=sample_status)
    made: int = 0
    now: float = 0.0
    port: int = 0

    def make(self) -> Status:
        self.made += 1
        return replace(self.status, state=f"made {self.made}")

    def page(self, rules: PageRules, streams: StreamLimits) -> StatusPage:
        clock: Callable[[], float] = lambda: self.now  # noqa: E731
        return StatusPage(PageParts(self.make, str, clock, rules, streams))

    @asynccontextmanager
    async def served(
        self, rules: PageRules | None = None, streams: StreamLimits = SECONDS
    ) -> AsyncIterator[AdminServer]:
        page = self.page(rules or PageRules(), streams)
        limits = Limits(connection_seconds=1.0, connections=8)
        async with AdminServer("127.0.0.1", 0, Told(), Metrics(), limits, page) as server:
            self.port = server.port
            yield server

    async def says(
        self, path: str, *headers: str, method: str = "GET", host: str = "localhost"
    ) -> str:
        """The whole answer to a request, head and body."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *headers]
        return await self.raw("".join(f"{line}\r\n" for line in lines) + "\r\n")

    async def raw(self, request: str) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            async with asyncio.timeout(5):
                writer.write(request.encode())
                return (await reader.read()).decode()
        finally:
            writer.close()


@pytest.fixture
def scene() -> Scene:
    return Scene()


def status_of(answer: str) -> int:
    return int(answer.split(" ", 2)[1])


def body_of(answer: str) -> str:
    return answer.split("\r\n\r\n", 1)[1]


async def test_people_get_a_page_and_scripts_the_same_facts_as_json(scene: Scene) -> None:
    """At the same address; `/status` has the JSON for everybody."""
    async with scene.served():
        page = await scene.says("/", "Accept: text/html")
        json = await scene.says("/", "Accept: application/json")
        plain = await scene.says("/status")

    assert "<title>anythingllm-consumer" in page
    assert "Content-Type: text/html; charset=utf-8" in page
    assert "Content-Type: application/json" in json
    assert orjson.loads(body_of(json)) == orjson.loads(body_of(plain))
    assert orjson.loads(body_of(json))["work"]["documents"] == 44


@pytest.mark.parametrize("path", [*FILES, "/status", "/status/events", "/nothing", "/livez"])
async def test_every_answer_says_what_browsers_may_do_with_it(scene: Scene, path: str) -> None:
    """No script but our own file, no frame, no guessing of types, nothing kept, no CORS."""
    async with scene.served():
        head = (await scene.says(path, method="HEAD")).split("\r\n\r\n", 1)[0]

    (policy,) = re.findall(r"Content-Security-Policy: (.*)", head)
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    for header in (
        "X-Content-Type-Options: nosniff",
        "X-Frame-Options: DENY",
        "Cache-Control: no-store",
        "Referrer-Policy: no-referrer",
        "Cross-Origin-Resource-Policy: same-origin",
    ):
        assert header in head
    assert "Access-Control" not in head
    assert "Set-Cookie" not in head
    assert "aiohttp" not in head


@pytest.mark.parametrize("path", [*FILES, "/status", "/status/events"])
async def test_it_is_read_only(scene: Scene, path: str) -> None:
    """HEAD is answered with no body; all else is refused, with what is allowed."""
    async with scene.served():
        head = await scene.says(path, method="HEAD")
        assert (status_of(head), body_of(head)) == (200, "")
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
            refused = await scene.says(path, "Content-Length: 0", method=method)
            assert status_of(refused) == 405
            assert re.search(r"\r\nAllow: GET,HEAD\r\n", refused)


@pytest.mark.parametrize("path", [*FILES, "/status", "/status/events", "/nothing"])
async def test_hidden_it_is_as_if_it_were_not_there(scene: Scene, path: str) -> None:
    """Probes and metrics stay; no way of asking shows a difference."""
    async with scene.served(PageRules("off")):
        nothing = await scene.says("/no-such-page")
        for method in ("GET", "HEAD", "POST"):
            answer = await scene.says(path, method=method)
            assert status_of(answer) == 404
        assert _without_date(await scene.says(path)) == _without_date(nothing)
        for probe in ("/livez", "/readyz", "/metrics"):
            assert status_of(await scene.says(probe, host="10.1.2.3")) == 200
    assert scene.made == 0


def _without_date(answer: str) -> str:
    return re.sub(r"Date: .*\r\n", "", answer)


@pytest.mark.parametrize("header", PROXY_HEADERS)
async def test_through_a_proxy_it_is_not_there(scene: Scene, header: str) -> None:
    """The proxy may stand beside us, and who asks it anywhere."""
    async with scene.served():
        assert status_of(await scene.says("/status", f"{header}: for=192.0.2.1")) == 404


@pytest.mark.parametrize("spelling", ["/%73tatus", "//status", "/status/", "/./status", "/STATUS"])
async def test_no_spelling_leads_past_the_guard(scene: Scene, spelling: str) -> None:
    """Whatever the router makes of it."""
    async with scene.served(PageRules("off")):
        assert status_of(await scene.says(spelling)) == 404
    async with scene.served():
        assert status_of(await scene.says(spelling, host="evil.example")) == 421
    assert scene.made == 0


async def test_a_strange_host_gets_nothing(scene: Scene) -> None:
    """DNS rebinding; a request without Host, or with two, is none of a browser."""
    async with scene.served(PageRules("loopback", ["status.example"])):
        assert status_of(await scene.says("/status", host="status.example:8080")) == 200
        assert status_of(await scene.says("/status", host="evil.example")) == 421
        assert status_of(await scene.raw("GET /status HTTP/1.0\r\n\r\n")) == 400
        twice = "GET /status HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n"
        assert status_of(await scene.raw(twice)) == 400
        junk = await scene.says("/status", host="<script>alert(1)</script>")
        assert status_of(junk) == 400
        assert "script" not in body_of(junk)


async def test_other_pages_get_nothing(scene: Scene) -> None:
    """A link may lead to the page; its data and its streams are not for others."""
    async with scene.served():
        elsewhere = "Sec-Fetch-Site: cross-site"
        assert status_of(await scene.says("/", elsewhere)) == 200
        assert status_of(await scene.says("/status", elsewhere)) == 403
        assert status_of(await scene.says("/status/events", elsewhere)) == 403


async def test_however_many_look_the_status_is_made_once_a_second(scene: Scene) -> None:
    """Looking must not cost the journey anything."""
    async with scene.served():
        for _ in range(5):
            await scene.says("/status")
        assert scene.made == 1
        scene.now += 1.0
        await scene.says("/status")
        assert scene.made == 2


async def test_the_page_asks_nobody_else(scene: Scene) -> None:
    """Neither markup nor script names another host, and none is inline."""
    async with scene.served():
        for path in FILES:
            text = body_of(await scene.says(path))
            assert text
            assert re.findall(r"(?:src|href|from|url)\W{0,3}https?:", text) == []
    page = (STATIC / "page.html").read_text()
    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|style=|javascript:", page) == []
    script = (STATIC / "page.js").read_text()
    made_of_text = r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|Function\("
    assert re.findall(made_of_text, script) == []


async def read_events(reader: asyncio.StreamReader, count: int) -> list[str]:
    """States of the next events of a stream."""
    states: list[str] = []
    while len(states) < count:
        line = (await reader.readline()).decode()
        assert line, "the stream ended"
        if line.startswith("data: "):
            states.append(orjson.loads(line[6:])["state"])
    return states


@asynccontextmanager
async def streaming(scene: Scene) -> AsyncIterator[asyncio.StreamReader]:
    reader, writer = await asyncio.open_connection("127.0.0.1", scene.port, limit=2**24)
    try:
        writer.write(b"GET /status/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        async with asyncio.timeout(5):
            yield reader
    finally:
        writer.close()


async def test_a_stream_brings_the_status_again_and_again(scene: Scene) -> None:
    """Longer than other connections live."""
    async with scene.served(streams=replace(SECONDS, seconds=60.0)), streaming(scene) as reader:
        assert await read_events(reader, 1) == ["made 1"]
        scene.now += 1.0
        assert "made 2" in await read_events(reader, 30)  # 1.5 s; other connections end after 1


async def test_a_stream_ends_after_its_time(scene: Scene) -> None:
    """A page that somebody left open does not hold its place for ever; it comes again by itself."""
    async with scene.served(), streaming(scene) as reader:
        await read_events(reader, 1)
        scene.now += 0.5
        assert (await reader.read()).endswith(b"0\r\n\r\n")


async def test_streams_beyond_the_limit_are_sent_to_ask_instead(scene: Scene) -> None:
    """With a time after which to try again; probes and the JSON are answered all the same."""
    async with scene.served():
        async with streaming(scene) as one, streaming(scene) as other:
            await read_events(one, 1)
            await read_events(other, 1)
            refused = await scene.says("/status/events")
            assert status_of(refused) == 503
            assert "Retry-After: 5" in refused
            assert status_of(await scene.says("/status")) == 200
            assert status_of(await scene.says("/livez")) == 200
        scene.now += 1.0
        await _until_there_is_room(scene)


async def _until_there_is_room(scene: Scene) -> None:
    async with asyncio.timeout(5):
        while True:
            async with streaming(scene) as reader:
                if b"200 OK" in await reader.readline():
                    return
            await asyncio.sleep(0.01)


async def test_who_does_not_read_is_cut_off(scene: Scene) -> None:
    """What waits for a slow reader is in our memory."""
    scene.status = sample_status(title="x" * 20_000)
    limits = StreamLimits(streams=2, every=0.001, seconds=600.0, slow_seconds=0.05, buffer=1024)
    async with scene.served(streams=limits):
        reader, writer = await asyncio.open_connection("127.0.0.1", scene.port, limit=1024)
        transport = writer.transport
        transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"GET /status/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        async with streaming(scene) as other:
            # The place of the slow one is free again: two more can stream.
            await read_events(other, 3)
            await _until_there_is_room(scene)
        writer.close()
        assert reader is not None


async def test_stopping_ends_streams_at_once(scene: Scene) -> None:
    """An orderly stop has seconds, and a page that is open must not take them."""
    forever = replace(SECONDS, every=600.0, seconds=600.0)
    async with scene.served(streams=forever) as server, streaming(scene) as reader:
        await read_events(reader, 1)
        async with asyncio.timeout(1.5):
            await server.stop()
        assert (await reader.read()).endswith(b"0\r\n\r\n")


@pytest.mark.parametrize(
    "request_head",
    [
        "GET /status HTTP/1.1\r\nHost: localhost\r\nX: " + "a" * 100_000 + "\r\n\r\n",
        "GET /status?" + "a" * 100_000 + " HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /status HTTP/1.1\r\nHost: localhost\r\n" + "X: y\r\n" * 10_000 + "\r\n",
        "GET /status HTTP/1.1\r\nHost: localhost\r\nCookie: " + "\x00" + "\r\n\r\n",
        "\x16\x03\x01 this is TLS",
        "junk\r\n\r\n",
        "GET http://evil.example/status HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        "CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
    ids=["long header", "long path", "many headers", "NUL", "TLS", "junk", "absolute", "connect",
         "star", "http2"],
)  # fmt: skip
async def test_bad_requests_are_answered_briefly(scene: Scene, request_head: str) -> None:
    """Or cut off; nothing of us is told, and the next visitor is served."""
    async with scene.served():
        try:
            answer = await scene.raw(request_head)
        except ConnectionError:
            answer = ""
        assert answer == "" or 400 <= status_of(answer) < 500
        assert len(answer) < 2_000
        for word in ("aiohttp", "Python", "Traceback", "anythingllm_consumer", str(STATIC)):
            assert word not in answer
        assert status_of(await scene.says("/status")) == 200


async def test_many_strangers_at_once_cost_no_more_than_the_limit(scene: Scene) -> None:
    """Whether they say nothing, half a request, or never read; when they are gone it is served."""
    said = (b"", b"GET /status HTTP/1.1\r\nHost: local", b"GET /status HTTP/1.1\r\nHost: localhost")
    async with scene.served() as server:
        strangers = [await asyncio.open_connection("127.0.0.1", scene.port) for _ in range(200)]
        for number, (_, writer) in enumerate(strangers):
            writer.write(said[number % 3])
        assert len(server._open) <= server.limits.connections == 8
        async with asyncio.timeout(10):
            for reader, writer in strangers:
                with suppress(ConnectionError):
                    await reader.read()
                writer.close()
        assert status_of(await scene.says("/status")) == 200
        assert scene.made == 1


async def test_a_status_that_can_t_be_made_breaks_nothing_else(scene: Scene) -> None:
    """A fault of the page is no fault of the service: probes answer, and the log has it."""
    scene.status = None  # type: ignore[assignment]
    with capture_logs() as logs:
        await _ask_for_what_is_broken(scene)
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["admin.failed"]


async def _ask_for_what_is_broken(scene: Scene) -> None:
    async with scene.served():
        broken = await scene.says("/status")
        assert status_of(broken) == 500
        assert body_of(broken) == "Internal Server Error\n"
        assert status_of(await scene.says("/readyz")) == 200
