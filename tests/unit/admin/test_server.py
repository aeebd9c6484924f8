"""The admin pages over real sockets: probes, metrics, and what strangers may cost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp
import orjson
import pytest

from consumer.admin.server import AdminError, AdminServer, Limits
from consumer.telemetry.metrics import Metrics


@dataclass
class Told:
    """A `Health` that says what it is told to."""

    dead: list[str] = field(default_factory=list)
    unready: list[str] = field(default_factory=list)
    worries: list[str] = field(default_factory=list)

    def alive(self) -> list[str]:
        return self.dead

    def ready(self) -> list[str]:
        return self.unready

    def degraded(self) -> list[str]:
        return self.worries


@pytest.fixture
def health() -> Told:
    return Told()


@pytest.fixture
async def server(health: Told) -> AsyncIterator[AdminServer]:
    limits = Limits(connection_seconds=0.3, connections=4)
    async with AdminServer("127.0.0.1", 0, health, Metrics(), limits) as running:
        yield running


async def ask(server: AdminServer, path: str, method: str = "GET") -> tuple[int, bytes]:
    url = f"http://127.0.0.1:{server.port}{path}"
    async with aiohttp.ClientSession() as session, session.request(method, url) as answer:
        return answer.status, await answer.read()


async def exchange(server: AdminServer, request: bytes) -> bytes:
    """Send raw bytes and read until the server ends the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        async with asyncio.timeout(5):
            writer.write(request)
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_livez_tells_whether_a_restart_would_help(server: AdminServer, health: Told) -> None:
    """200 or 503, with the reasons."""
    status, body = await ask(server, "/livez")
    assert (status, orjson.loads(body)) == (200, {"status": "alive", "reasons": []})

    health.dead.append("nothing was polled for 90 s")
    status, body = await ask(server, "/livez")
    assert (status, orjson.loads(body)["reasons"]) == (503, ["nothing was polled for 90 s"])


async def test_readyz_is_ready_but_degraded_while_the_breaker_is_open(
    server: AdminServer, health: Told
) -> None:
    """Kubernetes must not take a consumer out of service because AnythingLLM is down."""
    health.worries.append("the breaker is open; next trial in 12 s")

    status, body = await ask(server, "/readyz")

    assert status == 200
    assert orjson.loads(body) == {"status": "degraded", "reasons": health.worries}


async def test_readyz_tells_everything_when_not_ready(server: AdminServer, health: Told) -> None:
    """Reasons first, worries after them."""
    health.unready.append("no partition is assigned")
    health.worries.append("the breaker is open")

    status, body = await ask(server, "/readyz")

    assert status == 503
    assert orjson.loads(body) == {
        "status": "not ready",
        "reasons": ["no partition is assigned", "the breaker is open"],
    }


async def test_metrics_are_prometheus_text(server: AdminServer) -> None:
    """With the content type that tells the format's version."""
    server.metrics.rebalances.inc()
    url = f"http://127.0.0.1:{server.port}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        assert "anythingllm_consumer_rebalances_total 1.0" in await answer.text()


@pytest.mark.parametrize(
    ("unready", "worries", "told"),
    [([], [], b"1.0"), ([], ["the breaker is open"], b"1.0"), (["draining"], [], b"0.0")],
)
async def test_metrics_say_whether_it_is_ready(
    server: AdminServer, health: Told, unready: list[str], worries: list[str], told: bytes
) -> None:
    """As the probe does at that moment: an alert must not depend on who asks the probe."""
    health.unready, health.worries = unready, worries
    _, body = await ask(server, "/metrics")

    assert b"anythingllm_consumer_ready " + told in body.splitlines()


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
async def test_pages_are_read_only(server: AdminServer, path: str) -> None:
    """HEAD is answered like GET, everything else refused with what is allowed."""
    assert await ask(server, path, "HEAD") == (200, b"")
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        status, _ = await ask(server, path, method)
        assert status == 405


@pytest.mark.parametrize("path", ["/", "/../../etc/passwd", "/settings", "/livez/x", "/%2e%2e/"])
async def test_there_is_nothing_else(server: AdminServer, path: str) -> None:
    """And the answer tells nothing about what serves it."""
    answer = await exchange(server, f"GET {path} HTTP/1.1\r\nHost: junk\r\n\r\n".encode())

    assert answer.startswith(b"HTTP/1.1 404")
    assert b"aiohttp" not in answer
    assert b"Python" not in answer


async def test_one_connection_serves_one_request(server: AdminServer) -> None:
    """A second request on it is not answered: nobody keeps a connection."""
    request = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"

    assert (await exchange(server, request * 2)).count(b"HTTP/1.1 200") == 1


async def test_a_long_header_is_refused(server: AdminServer) -> None:
    """A megabyte of header is not collected first."""
    long = b"GET /livez HTTP/1.1\r\nX: " + b"a" * 2**20 + b"\r\n\r\n"

    assert b"200 OK" not in await exchange(server, long)


async def test_a_connection_that_never_finishes_its_request_is_ended(server: AdminServer) -> None:
    """A byte a second would otherwise hold a socket for ever."""
    assert await exchange(server, b"GET /livez HTTP/1.1\r\nHost:") == b""


async def test_a_connection_beyond_the_limit_ends_the_oldest(server: AdminServer) -> None:
    """A probe is answered whoever holds the others; these stay until their time is over."""
    idlers = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(4)]
    request = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"

    assert b"200 OK" in await exchange(server, request)
    ended = await _ended(idlers[0][0])
    rest = [reader for reader, _ in idlers[1:]]
    assert (ended, [reader.at_eof() for reader in rest]) == (b"", [False] * 3)
    assert [await _ended(reader) for reader in rest] == [b""] * 3
    for _, writer in idlers:
        writer.close()


async def _ended(reader: asyncio.StreamReader) -> bytes:
    """All that came, once the server has ended the connection."""
    try:
        async with asyncio.timeout(5):
            return await reader.read()
    except ConnectionError:
        return b""


@pytest.mark.parametrize("said", [b"", b"GET /livez HTTP/1.1\r\nHost:", b"junk"])
async def test_probes_are_answered_while_strangers_hold_connections(
    health: Told, said: bytes
) -> None:
    """A hundred come and stay, more than there may be, and new ones come between the probes."""
    request = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
    writers = []
    async with AdminServer("127.0.0.1", 0, health, Metrics()) as server:

        async def stranger() -> None:
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writers.append(writer)
            writer.write(said)

        await asyncio.gather(*(stranger() for _ in range(100)))
        for _ in range(20):
            await stranger()
            assert b"200 OK" in await exchange(server, request)
        assert len(server._open) <= server.limits.connections
    for writer in writers:
        writer.close()


async def test_a_port_in_use_is_one_clear_line(server: AdminServer, health: Told) -> None:
    """With the setting to change."""
    second = AdminServer("127.0.0.1", server.port, health, Metrics())

    with pytest.raises(AdminError, match=rf"127\.0\.0\.1:{server.port}: the port is in use.*ADMIN"):
        await second.start()
    await second.stop()


async def test_an_address_that_is_not_ours_is_one_clear_line(health: Told) -> None:
    """A wrong ADMIN_HOST."""
    with pytest.raises(AdminError, match="ADMIN_HOST"):
        await AdminServer("192.0.2.1", 0, health, Metrics()).start()


async def test_after_stop_the_port_is_free_again(health: Told) -> None:
    """Also with a connection open; stopping twice is harmless."""
    first = AdminServer("127.0.0.1", 0, health, Metrics())
    await first.start()
    _, writer = await asyncio.open_connection("127.0.0.1", first.port)
    async with asyncio.timeout(5):
        await first.stop()
        await first.stop()
    writer.close()

    async with AdminServer("127.0.0.1", first.port, health, Metrics()) as second:
        assert (await ask(second, "/livez"))[0] == 200
