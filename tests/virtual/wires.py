"""Connections in memory, for a loop without sockets: what one end writes the other reads next turn.

They end as those of TCP do: `close` lets what was written arrive first, `abort` is a reset that
takes along what is under way. Nothing is ever lost, reordered or slow by itself.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Iterable
from typing import Any, cast

Buffer = bytes | bytearray | memoryview
Factory = Callable[[], asyncio.BaseProtocol]

_FIRST_PORT = 40_001


class WireEnd(asyncio.Transport):
    """One end of a connection; its protocol is told what the other end does."""

    def __init__(self, network: Network, port: int) -> None:
        super().__init__({"peername": ("127.0.0.1", port), "sockname": ("127.0.0.1", port)})
        self._network = network
        self._loop = network.loop
        self._protocol = asyncio.Protocol()
        self._held: list[bytes] | None = None  # what arrives while reading is paused
        self._ends_held = False
        self._closing = False
        self._lost = False
        self.peer = self

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = cast("asyncio.Protocol", protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def is_closing(self) -> bool:
        return self._closing

    def write(self, data: Buffer) -> None:
        if data and not self._closing:
            self._loop.call_soon(self.peer._arrives, bytes(data))

    def writelines(self, list_of_data: Iterable[Buffer]) -> None:
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def is_reading(self) -> bool:
        return self._held is None and not self._closing

    def pause_reading(self) -> None:
        if self._held is None:
            self._held = []

    def resume_reading(self) -> None:
        held, self._held = self._held, None
        for data in held or ():
            self._loop.call_soon(self._arrives, data)
        if self._ends_held:
            self._ends_held = False
            self._loop.call_soon(self._ends)

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self.peer._ends)
            self._loop.call_soon(self._loses, None)

    def abort(self) -> None:
        if self._lost:
            return
        self._closing = True
        self.peer._closing = True
        reset = ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
        self._loop.call_soon(self.peer._loses, reset)
        self._loop.call_soon(self._loses, None)

    def _arrives(self, data: bytes) -> None:
        if self._held is not None:
            self._held.append(data)
        elif not self._closing:
            self._protocol.data_received(data)

    def _ends(self) -> None:
        if self._held is not None:
            self._ends_held = True
        elif not self._closing:
            self._protocol.eof_received()
            self.close()

    def _loses(self, reason: Exception | None) -> None:
        if not self._lost:
            self._lost = True
            self._network.wires.discard(self)
            self._protocol.connection_lost(reason)


class _Address:
    """What a server says of its sockets."""

    def __init__(self, host: str, port: int) -> None:
        self._name = (host, port)

    def getsockname(self) -> tuple[str, int]:
        return self._name


class WireServer(asyncio.AbstractServer):
    """Listens in memory, from the start until it is closed."""

    def __init__(self, network: Network, host: str, port: int) -> None:
        self._network = network
        self._port = port
        self.sockets = (_Address(host, port),)

    def close(self) -> None:
        self._network.listeners.pop(self._port, None)

    async def wait_closed(self) -> None:
        pass

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._network.loop

    def is_serving(self) -> bool:
        return self._port in self._network.listeners

    async def start_serving(self) -> None:
        pass

    async def serve_forever(self) -> None:
        await self._network.loop.create_future()


class Network:
    """Who listens where on one loop, and what is connected.

    Args:
        loop: of both ends of every connection.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.listeners: dict[int, Factory] = {}
        self.wires: set[WireEnd] = set()
        self.refuses = False  # as a proxy does whose server is well all the same
        self._next = _FIRST_PORT

    def listen(self, factory: Factory, host: str, port: int | None) -> WireServer:
        """Begin to listen; port 0 picks a free one."""
        if not port:
            port, self._next = self._next, self._next + 1
        if port in self.listeners:
            raise OSError(errno.EADDRINUSE, "Address already in use")
        self.listeners[port] = factory
        return WireServer(self, host, port)

    def check(self, port: int) -> None:
        """Raise `ConnectionRefusedError` where nobody listens."""
        if self.refuses or port not in self.listeners:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")

    def connect(
        self, factory: Factory, port: int
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """Connect to who listens there."""
        self.check(port)
        near, far = WireEnd(self, port), WireEnd(self, port)
        near.peer, far.peer = far, near
        protocol, served = factory(), self.listeners[port]()
        near.set_protocol(protocol)
        far.set_protocol(served)
        self.wires.add(near)
        served.connection_made(far)
        protocol.connection_made(near)
        return near, protocol

    def break_all(self) -> None:
        """Reset every connection, as a proxy does that goes away."""
        for wire in list(self.wires):
            wire.abort()


def port_of(address: Any) -> int:
    """The port of an address as sockets take it."""
    return int(address[1])
