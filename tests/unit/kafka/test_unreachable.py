"""What is said of an address at which Kafka does not answer."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from consumer.kafka import unreachable
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


def means(monkeypatch: pytest.MonkeyPatch, **hosts: list[str] | None) -> None:
    """Have names stand for these addresses; None: the DNS never answers."""

    async def places(host: str, port: int) -> list[tuple[str, int]]:
        if (found := hosts[host]) is None:
            await asyncio.Event().wait()
        return [(each, port) for each in found or ()]

    monkeypatch.setattr(unreachable, "_places", places)


async def test_a_name_with_two_addresses_at_which_nobody_listens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As `localhost` has on most machines: asyncio only says "Multiple exceptions" there."""
    means(monkeypatch, both=["127.0.0.1", "127.0.0.2"])

    assert "nothing listens there" in str(await why_unreachable("both:1", has_tls=False))


async def test_the_second_address_of_a_name_is_kafka(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening(b"echo") as address:
        means(monkeypatch, both=["127.0.0.2", "127.0.0.1"])
        port = address.rpartition(":")[2]

        assert await why_unreachable(f"both:{port}", has_tls=False) is None


async def test_a_dns_that_is_silent_is_no_firewall(monkeypatch: pytest.MonkeyPatch) -> None:
    means(monkeypatch, kafka=None)
    why = await why_unreachable("kafka:9092", has_tls=False, seconds=0.05)

    assert why == "no DNS says within 0.05 s what the name kafka stands for: is it up?"


@pytest.mark.parametrize(
    ("address", "host"),
    [("kafka", "kafka"), ("[::1]:9092", "::1"), ("[::1]", "::1"), ("kafka:9092", "kafka")],
)
async def test_what_the_client_takes_for_an_address_is_one(
    monkeypatch: pytest.MonkeyPatch, address: str, host: str
) -> None:
    """Without a port it is 9092; an IPv6 address stands in brackets."""
    asked: list[tuple[str, int]] = []

    async def places(host: str, port: int) -> list[tuple[str, int]]:
        asked.append((host, port))
        return [("127.0.0.1", 1)]

    monkeypatch.setattr(unreachable, "_places", places)

    assert "nothing listens there" in str(await why_unreachable(address, has_tls=False))
    assert asked == [(host, 9092)]
