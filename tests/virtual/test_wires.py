"""Virtual time: connections in memory end as those of TCP do, and who is frozen stands still."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp import web

from tests.virtual.loop import OWNER, Stuck, VirtualLoop, virtually


def _loop() -> VirtualLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop


class _Heard(asyncio.Protocol):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.said.append(data.decode())

    def eof_received(self) -> None:
        self.said.append("end")

    def connection_lost(self, exc: Exception | None) -> None:
        self.said.append("lost" if exc is None else type(exc).__name__)


async def _pair() -> tuple[_Heard, _Heard]:
    served = _Heard()
    network = _loop().network
    network.listen(lambda: served, "127.0.0.1", 80)
    _, near = network.connect(_Heard, 80)
    assert isinstance(near, _Heard)
    return near, served


async def _turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@virtually
async def test_what_was_written_before_a_close_arrives_before_the_end() -> None:
    """As with TCP's FIN."""
    near, served = await _pair()
    near.transport.write(b"one")
    near.transport.write(b"two")
    near.transport.close()
    await _turns()

    assert served.said == ["one", "two", "end", "lost"]
    assert near.said == ["lost"]


@virtually
async def test_an_abort_is_a_reset_for_the_other_end() -> None:
    """As with TCP's RST."""
    near, served = await _pair()
    served.transport.abort()
    near.transport.write(b"too late")
    await _turns()

    assert near.said == ["ConnectionResetError"]
    assert served.said == ["lost"]


@virtually
async def test_who_pauses_reading_gets_everything_later_in_order() -> None:
    """A full buffer on one side loses nothing of the other's."""
    near, served = await _pair()
    served.transport.pause_reading()
    near.transport.write(b"one")
    near.transport.close()
    await _turns()
    assert served.said == []
    served.transport.resume_reading()
    await _turns()

    assert served.said == ["one", "end", "lost"]


@virtually
async def test_aiohttp_meets_itself_without_a_socket() -> None:
    """Its client and its server, unchanged, and no time passes."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=await request.text())

    app = web.Application()
    app.router.add_post("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    said = "text " * 100_000
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"http://127.0.0.1:{port}/", data=said) as response,
    ):
        assert await response.text() == said
    await runner.cleanup()

    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(f"http://127.0.0.1:{port}/")
    assert _loop().now == 0.0


@virtually
async def test_nothing_of_a_frozen_owner_runs_until_it_thaws() -> None:
    """A process that stands still wakes up late, and does not know it."""
    ticks: list[float] = []

    async def tick() -> None:
        while True:
            await asyncio.sleep(1)
            ticks.append(_loop().now)

    OWNER.set("a")
    task = asyncio.create_task(tick())
    OWNER.set("")
    await asyncio.sleep(2.5)
    _loop().freeze("a")
    await asyncio.sleep(10)
    _loop().thaw("a")
    await asyncio.sleep(1.2)
    task.cancel()

    assert ticks == [1.0, 2.0, 12.5, 13.5]


def test_waiting_for_what_nobody_will_do_is_an_error() -> None:
    """A test that hangs says so at once."""

    @virtually
    async def forever() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Stuck):
        forever()
