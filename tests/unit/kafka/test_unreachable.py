"""What is said of an address at which Kafka does not answer."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from consumer.kafka.unreachable import why_unreachable

HTTP = b"HTTP/1.1 400 Bad Request\r\n\r\n"
ALERT = bytes((0x15, 3, 3, 0, 2, 2, 70))


@asynccontextmanager
async def listening(answer: bytes | None) -> AsyncIterator[str]:
    """Something that answers the first request so; None: never."""
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.read(100)
        if answer is None:
            await over.wait()
        elif answer == b"echo":
            writer.write(struct.pack(">i", 10) + asked[8:12] + bytes(6))
        else:
            writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        yield f"{host}:{port}"
    finally:
        over.set()
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (HTTP, "a web server listens there, and not Kafka"),
        (ALERT, "KAFKA_SECURITY_PROTOCOL has to be SSL or SASL_SSL"),
        (b"220 mail.example ESMTP\r\n", "does not speak Kafka's protocol"),
        (None, "says nothing for 0.2 s"),
    ],
)
async def test_who_listens_there_is_told(answer: bytes | None, said: str) -> None:
    async with listening(answer) as address:
        why = await why_unreachable(address, has_tls=False, seconds=0.2)

    assert why is not None
    assert said in why


@pytest.mark.parametrize("answer", [b"echo", b""])
async def test_of_what_may_be_kafka_nothing_is_said(answer: bytes) -> None:
    """It answered, or ended the connection: why, the client's own error tells."""
    async with listening(answer) as address:
        assert await why_unreachable(address, has_tls=False) is None
        assert await why_unreachable(f"127.0.0.1:1,{address}", has_tls=False) is None


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"echo", "no TLS is spoken there: KAFKA_SECURITY_PROTOCOL has to be PLAINTEXT"),
        (HTTP, "a web server listens there"),
        (ALERT, None),  # what it has against our TLS the client itself hears
        (b"", None),
    ],
)
async def test_who_should_speak_tls(answer: bytes, said: str | None) -> None:
    async with listening(answer) as address:
        why = await why_unreachable(address, has_tls=True)

    assert why is None if said is None else said in str(why)


async def test_nobody_listens_and_no_such_name() -> None:
    """Each of several addresses is told with its own reason."""
    why = await why_unreachable("127.0.0.1:1, kafka.invalid:9092", has_tls=False)

    assert why == (
        "127.0.0.1:1: nothing listens there (connection refused): is Kafka up, and is the port"
        " right?; kafka.invalid:9092: the name kafka.invalid is not known here: check"
        " KAFKA_BOOTSTRAP_SERVERS and the DNS"
    )
