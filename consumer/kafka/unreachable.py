"""Why Kafka can't be reached, asked of each address once more, after the client has failed.

aiokafka 0.14 says "Unable to bootstrap" for all of it, and its log has what the operating system
said, or nothing. So each address is looked at by a plain connection with the smallest request that
Kafka knows (ApiVersions, Kafka protocol guide), and what comes back says who listens there.

A name may stand for several addresses, as ``localhost`` does for IPv4 and IPv6. They are tried in
turn, as the client does; what all of them say is told.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from contextlib import suppress

_SECONDS = 3.0
_DEFAULT_PORT = 9092  # where aiokafka looks if none is named
_MOST = 5  # addresses that are looked at, side by side
_CORRELATION = 0x616C6B31
# Its length; key 18 in version 0, a number that comes back, no client id.
_API_VERSIONS = struct.pack(">ihhih", 10, 18, 0, _CORRELATION, -1)
_TLS_ALERT = b"\x15\x03"
_HTTP = b"HTTP/"


async def why_unreachable(servers: str, *, has_tls: bool, seconds: float = _SECONDS) -> str | None:
    """What is wrong with each address; None where Kafka, or what may be Kafka, listens at one.

    Args:
        servers: ``host:port``, comma separated.
        has_tls: whether we speak TLS.
        seconds: for each of three steps; a person waits.
    """
    addresses = [each.strip() for each in servers.split(",") if each.strip()][:_MOST]
    found = await asyncio.gather(*(_why(each, seconds, has_tls=has_tls) for each in addresses))
    if not found or not all(found):
        return None
    if len(found) == 1:
        return found[0]
    return "; ".join(f"{at}: {why}" for at, why in zip(addresses, found, strict=True))


async def _why(address: str, seconds: float, *, has_tls: bool) -> str | None:
    host, port = _host_and_port(address)
    try:
        async with asyncio.timeout(seconds):
            places = await _places(host, port)
    except TimeoutError:
        return f"no DNS says within {seconds:g} s what the name {host} stands for: is it up?"
    except (socket.gaierror, UnicodeError):
        return f"the name {host} is not known here: check KAFKA_BOOTSTRAP_SERVERS and the DNS"
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await _connected(places)
    except ConnectionRefusedError:
        return "nothing listens there (connection refused): is Kafka up, and is the port right?"
    except TimeoutError:
        return (
            f"nobody answers within {seconds:g} s: is the host up, and does a firewall let us"
            " through?"
        )
    except OSError as error:
        said = os.strerror(error.errno) if error.errno else str(error)
        return f"no connection can be made: {said}"
    try:
        writer.write(_API_VERSIONS)
        async with asyncio.timeout(seconds):
            return _who(await reader.read(8), has_tls=has_tls)
    except TimeoutError:
        return (
            f"something takes connections there and says nothing for {seconds:g} s: is it"
            " Kafka, and is it well?"
        )
    except OSError:
        return None
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal()):
        host, port = address, str(_DEFAULT_PORT)
    return host.strip("[]"), int(port)


async def _places(host: str, port: int) -> list[tuple[str, int]]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(str(each[0]), port) for *_, each in found]


async def _connected(
    places: list[tuple[str, int]],
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to the first of these that takes one.

    Raises:
        OSError: none does; of several errors one that is no refusal, because it says more.
    """
    failed: OSError = ConnectionRefusedError()
    for host, port in places:
        try:
            return await asyncio.open_connection(host, port)
        except OSError as error:
            if isinstance(failed, ConnectionRefusedError):
                failed = error
    raise failed


def _who(answer: bytes, *, has_tls: bool) -> str | None:
    """What an answer to ApiVersions without TLS says of who gave it."""
    is_kafka = answer[4:] == _CORRELATION.to_bytes(4)
    if has_tls and is_kafka:
        return (
            "no TLS is spoken there: KAFKA_SECURITY_PROTOCOL has to be PLAINTEXT or SASL_PLAINTEXT"
        )
    if answer.startswith(_TLS_ALERT):
        # What it has against our TLS the client itself hears.
        is_wrong = "TLS is spoken there: KAFKA_SECURITY_PROTOCOL has to be SSL or SASL_SSL"
        return None if has_tls else is_wrong
    if answer.startswith(_HTTP):
        return "a web server listens there, and not Kafka: check the port"
    if not answer or is_kafka:
        return None
    return "what listens there does not speak Kafka's protocol: check the port"
