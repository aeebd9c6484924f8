"""Connections in memory, for a loop without sockets: what one end writes the other reads next turn.

Nothing is ever lost, reordered or slow by itself. What client and server notice of TCP is as the
kernel does it (`test_wires.py` runs the same cases on both):

- `close` lets what was written arrive first; closing with bytes unread is a reset
- `abort` does not wait either; with ``SO_LINGER`` at 0 seconds it is a reset
- who writes to one that is gone is reset, a turn later
- who is not read from is told to stop writing once the other end's buffers are full
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
import warnings
from collections.abc import Callable, Iterable
from contextvars import Context, copy_context
from typing import Any, cast

Buffer = bytes | bytearray | memoryview
Factory = Callable[[], asyncio.BaseProtocol]
Address = tuple[str, int]

HOST = "127.0.0.1"
_FIRST_PORT = 40_001
_KERNEL_BYTES = 256 * 1024  # lie unread at the other end before the writer notices
_HIGH_WATER = 64 * 1024
_READ_AT_ONCE = 256 * 1024
_LINGER = struct.Struct("ii")


class WireSocket:
    """What transports and servers show as their socket: an address and options."""

    family = socket.AF_INET
    type = socket.SOCK_STREAM

    def __init__(self, own: Address) -> None:
        self._own = own
        self._options: dict[tuple[int, int], Any] = {}

    @property
    def resets(self) -> bool:
        """Whether closing it is a reset."""
        linger = self._options.get((socket.SOL_SOCKET, socket.SO_LINGER))
        return linger is not None and _LINGER.unpack(linger) == (1, 0)

    def getsockname(self) -> Address:
        return self._own

    def setsockopt(self, level: int, name: int, value: Any) -> None:
        self._options[level, name] = value


class WireEnd(asyncio.Transport):
    """One end of a connection; its protocol is told what the other end does."""

    def __init__(self, network: Network, own: Address, peer: Address, context: Context) -> None:
        self._socket = WireSocket(own)
        super().__init__({"socket": self._socket, "peername": peer, "sockname": own})
        self._network = network
        self.context = context
        self._protocol = asyncio.Protocol()
        self._unread: list[bytes] = []
        self._unread_bytes = 0
        self._ended = False  # the other end has written its last
        self._end_told = False
        self._reading = True
        self._arriving = False  # `_arrive` is due
        self._wrote_end = False
        self._closing = False
        self._lost = False
        self._low, self._high = _HIGH_WATER // 4, _HIGH_WATER
        self._stopped = False  # our protocol is to write nothing more for now
        self.peer = self

    def __del__(self) -> None:
        if not self._closing:
            warnings.warn(
                f"unclosed transport {self!r}", ResourceWarning, stacklevel=2, source=self
            )

    def _soon(self, do: Callable[..., object], *what: object) -> None:
        """In this end's own context: what the other end does goes on when that one is frozen."""
        self._network.loop.call_soon(do, *what, context=self.context)

    # What protocols ask of a transport

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = cast("asyncio.Protocol", protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def is_closing(self) -> bool:
        return self._closing

    def is_reading(self) -> bool:
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        if not self._reading:
            self._reading = True
            self._arrives()

    def write(self, data: Buffer) -> None:
        if not data or self._closing or self._wrote_end:
            return
        peer = self.peer
        if peer._lost:
            self._soon(self._breaks)
            return
        peer._unread.append(bytes(data))
        peer._unread_bytes += len(data)
        peer._arrives()
        if peer._unread_bytes > _KERNEL_BYTES:
            self._weigh()

    def writelines(self, list_of_data: Iterable[Buffer]) -> None:
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if not self._closing and not self._wrote_end:
            self._wrote_end = True
            self.peer._ends()

    def get_write_buffer_size(self) -> int:
        return max(0, self.peer._unread_bytes - _KERNEL_BYTES)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if high is None:
            high = _HIGH_WATER if low is None else 4 * low
        self._low, self._high = high // 4 if low is None else low, high

    def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        if self._unread:
            self.peer._soon(self.peer._breaks)
        else:
            self.peer._ends()
        self._soon(self._loses, None)

    def abort(self) -> None:
        if self._socket.resets:
            self.reset()
        else:
            self.close()

    def reset(self) -> None:
        """Close, and take along what is under way."""
        if not self._lost:
            self._closing = True
            peer = self.peer
            peer._unread, peer._unread_bytes = [], 0
            peer._soon(peer._breaks)
            self._soon(self._loses, None)

    # What the other end does

    def _arrives(self) -> None:
        if not self._arriving and self._reading and not self._closing:
            self._arriving = True
            self._soon(self._arrive)

    def _arrive(self) -> None:
        self._arriving = False
        if not self._reading or self._closing:
            return
        if self._unread:
            self._protocol.data_received(self._taken())
            if self.peer._stopped:
                self.peer._weigh()
        if self._unread:
            self._arrives()
        elif self._ended and not self._end_told and self.is_reading():
            self._end_told = True
            if not self._protocol.eof_received():
                self.close()

    def _taken(self) -> bytes:
        data = self._unread[0] if len(self._unread) == 1 else b"".join(self._unread)
        self._unread = []
        if len(data) > _READ_AT_ONCE:
            self._unread = [data[_READ_AT_ONCE:]]
            data = data[:_READ_AT_ONCE]
        self._unread_bytes -= len(data)
        return data

    def _weigh(self) -> None:
        size = self.get_write_buffer_size()
        if not self._stopped and size > self._high:
            self._stopped = True
            self._protocol.pause_writing()
        elif self._stopped and size <= self._low:
            self._stopped = False
            self._protocol.resume_writing()

    def _ends(self) -> None:
        self._ended = True
        self._arrives()

    def _breaks(self) -> None:
        self._closing = True
        self._loses(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))

    def _loses(self, reason: Exception | None) -> None:
        if not self._lost:
            self._lost = True
            self._unread, self._unread_bytes = [], 0
            self._network.wires.discard(self)
            self._protocol.connection_lost(reason)


class WireServer(asyncio.AbstractServer):
    """Listens in memory, from the start until it is closed."""

    def __init__(self, network: Network, port: int) -> None:
        self._network = network
        self._port = port
        self.sockets: tuple[WireSocket, ...] = (WireSocket((HOST, port)),)

    def close(self) -> None:
        if self.sockets:
            self.sockets = ()
            del self._network.listeners[self._port]

    async def wait_closed(self) -> None:
        pass

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._network.loop

    def is_serving(self) -> bool:
        return bool(self.sockets)

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
        self.listeners: dict[int, tuple[Factory, Context]] = {}
        self.wires: set[WireEnd] = set()
        self.refuses = False  # as a proxy does whose server is well all the same
        self._next = _FIRST_PORT

    def listen(self, factory: Factory, port: int | None) -> WireServer:
        """Begin to listen; port 0 picks a free one."""
        if not port:
            port = self._free_port()
        if port in self.listeners:
            raise OSError(errno.EADDRINUSE, "Address already in use")
        self.listeners[port] = factory, copy_context()
        return WireServer(self, port)

    def check(self, port: int) -> None:
        """Raise `ConnectionRefusedError` where nobody listens."""
        if self.refuses or port not in self.listeners:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")

    def connect(
        self, factory: Factory, port: int
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """Connect to who listens there."""
        self.check(port)
        here, there = (HOST, self._free_port()), (HOST, port)
        make, listening = self.listeners[port]
        ours, theirs = copy_context(), listening.copy()
        near, far = WireEnd(self, here, there, ours), WireEnd(self, there, here, theirs)
        near.peer, far.peer = far, near
        protocol, served = factory(), theirs.run(make)
        near.set_protocol(protocol)
        far.set_protocol(served)
        self.wires.add(near)
        theirs.run(served.connection_made, far)
        protocol.connection_made(near)
        return near, protocol

    def break_off(self, concerns: Callable[[Context], bool] = lambda context: True) -> None:
        """Reset connections, as a proxy does that goes away, or the kernel of who is killed.

        Args:
            concerns: asked with the context in which a connection was made.
        """
        for wire in list(self.wires):
            if concerns(wire.context):
                wire.reset()

    def _free_port(self) -> int:
        self._next += 1
        return self._next - 1
