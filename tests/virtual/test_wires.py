"""Virtual time: connections in memory end as those of TCP do, and who is frozen stands still."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from consumer.sandbox.simulator import simulator
from tests.virtual.loop import OWNER, Stuck, VirtualLoop, virtually
from tests.virtual.wires import WireEnd


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
    network.listen(lambda: served, 80)
    _, near = network.connect(_Heard, 80)
    assert isinstance(near, _Heard)
    return near, served


def _wire(end: _Heard) -> WireEnd:
    assert isinstance(end.transport, WireEnd)
    return end.transport


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

    assert served.said == ["onetwo", "end", "lost"]
    assert near.said == ["lost"]


@virtually
async def test_a_reset_takes_along_what_is_under_way() -> None:
    """As with TCP's RST."""
    near, served = await _pair()
    served.transport.write(b"lost")
    _wire(served).reset()
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


# -- the same in memory and in the kernel ----------------------------------------------------------

MEBI = 1024 * 1024

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Run = Callable[[Callable[[], Coroutine[Any, Any, None]]], None]


@pytest.fixture(params=[VirtualLoop, asyncio.SelectorEventLoop], ids=["memory", "kernel"])
def on_both(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine on a loop of this kind."""

    def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(asyncio.wait_for(test(), 20))

    return run


@asynccontextmanager
async def served(serve: Serve) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to a server that does this with it."""
    tasks: list[asyncio.Task[None]] = []

    async def kept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(kept, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    try:
        yield reader, writer
    finally:
        writer.close()
        server.close()
        await asyncio.gather(*tasks, return_exceptions=True)


async def gone(reader: asyncio.StreamReader) -> type[BaseException] | None:
    """What a reader meets at the end of the connection; None for an orderly end."""
    try:
        await reader.read()
    except OSError as error:
        return type(error)
    return None


def linger_not(writer: asyncio.StreamWriter) -> None:
    """What makes an abort a reset."""
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_what_is_written_arrives_whole_and_then_the_end(on_both: Run) -> None:
    """Closing throws nothing away."""

    async def says(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"one ")
        writer.writelines([b"two ", bytearray(b"three "), memoryview(b"four")])
        writer.close()

    async def test() -> None:
        async with served(says) as (reader, _):
            assert await reader.read() == b"one two three four"
            assert reader.at_eof()

    on_both(test)


def test_both_speak_in_turns(on_both: Run) -> None:
    """A question, an answer, many times over one connection."""

    async def echoes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line.upper())

    async def test() -> None:
        async with served(echoes) as (reader, writer):
            for n in range(20):
                writer.write(b"line %d\n" % n)
                assert await reader.readline() == b"LINE %d\n" % n

    on_both(test)


def test_one_side_may_end_and_still_read(on_both: Run) -> None:
    """A half-closed connection."""

    async def counts(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(str(len(await reader.read())).encode())

    async def test() -> None:
        async with served(counts) as (reader, writer):
            writer.write(b"x" * 1000)
            writer.write_eof()
            assert await reader.read() == b"1000"

    on_both(test)


@pytest.mark.parametrize("unread", [False, True], ids=["all read", "bytes unread"])
def test_an_abort_ends_orderly_unless_bytes_are_unread(on_both: Run, unread: bool) -> None:
    """What nobody will read any more is answered with a reset."""

    async def aborts(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(4)
        if unread:
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            await asyncio.sleep(0.05)
        writer.transport.abort()

    async def test() -> None:
        async with served(aborts) as (reader, writer):
            writer.write(b"four")
            if unread:
                await asyncio.sleep(0.02)
                writer.write(b"more")
            assert await gone(reader) is (ConnectionResetError if unread else None)

    on_both(test)


def test_an_abort_without_lingering_is_a_reset(on_both: Run) -> None:
    """The simulated server breaks connections this way."""

    async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(4)
        linger_not(writer)
        writer.transport.abort()

    async def test() -> None:
        async with served(resets) as (reader, writer):
            writer.write(b"four")
            assert await gone(reader) is ConnectionResetError

    on_both(test)


def test_who_writes_to_one_that_is_gone_is_told(on_both: Run) -> None:
    """Not at once, but soon."""

    async def leaves(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(4)

    async def test() -> None:
        async with served(leaves) as (_, writer):
            writer.write(b"four")
            await asyncio.sleep(0.05)
            for _ in range(3):
                writer.write(b"more")
                await asyncio.sleep(0.02)
            with pytest.raises(OSError, match=r"."):
                await writer.drain()

    on_both(test)


def test_who_is_not_read_from_has_to_wait(on_both: Run) -> None:
    """And may go on once the other side reads."""
    waited = asyncio.Event()

    async def reads_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await waited.wait()
        writer.write(b"%d" % len(await reader.read()))

    async def test() -> None:
        async with served(reads_late) as (reader, writer):
            writer.write(b"x" * 16 * MEBI)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(writer.drain(), 0.1)
            waited.set()
            await writer.drain()
            writer.write_eof()
            assert await reader.read() == b"%d" % (16 * MEBI)

    on_both(test)


def test_a_port_where_nobody_listens_refuses(on_both: Run) -> None:
    """Also one whose server was closed; its connections go on."""

    async def echoes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        writer.close()

    async def test() -> None:
        server = await asyncio.start_server(echoes, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(host, port)
        await asyncio.sleep(0.02)
        server.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(host, port)
        writer.write(b"still there\n")
        assert await reader.readline() == b"still there\n"
        writer.close()
        await writer.wait_closed()
        again = await asyncio.start_server(echoes, host, port)
        with pytest.raises(OSError, match="in use"):
            await asyncio.start_server(echoes, host, port)
        again.close()

    on_both(test)


def test_aiohttp_does_not_notice(on_both: Run) -> None:
    """Requests over kept connections, a server that is killed and comes back on its port."""

    async def test() -> None:
        async with simulator() as sim, aiohttp.ClientSession(sim.endpoint) as session:
            for _ in range(3):
                async with session.get("/api/ping") as answer:
                    assert await answer.json() == {"online": True}
            await sim.stop()
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.get("/api/ping")
            await sim.start()
            async with session.get("/api/ping") as answer:
                assert answer.status == 200
            for kind in ("reset", "fin"):
                sim.faults.add(kind, times=2)  # one of them is tried again
                with pytest.raises(aiohttp.ClientError):
                    await session.get("/api/ping")

    on_both(test)


@virtually
async def test_addresses_elsewhere_never_answer() -> None:
    """A connection attempt runs into its own timeout, and names of others are not known."""
    async with aiohttp.ClientSession() as session:
        begun = asyncio.get_running_loop().time()
        timeout = aiohttp.ClientTimeout(sock_connect=30)
        with pytest.raises(aiohttp.ConnectionTimeoutError):
            await session.get("http://192.0.2.1/", timeout=timeout)
        assert asyncio.get_running_loop().time() - begun == pytest.approx(30, abs=1)
        with pytest.raises(aiohttp.ClientConnectorDNSError):
            await session.get("http://nowhere.invalid/")
