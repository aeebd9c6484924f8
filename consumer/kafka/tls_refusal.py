"""Why a broker ends a TLS connection: what it dislikes about our certificate.

With TLS 1.3 a broker looks at our certificate after our side has finished. aiokafka 0.14 sees only
that the connection was closed, so the broker is asked once more, by a connection that hears the
alert. Java says "certificate unknown" of a strange one and an expired one alike; whether ours has
expired is seen here.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from consumer.model.certificate import EXPIRED

_SECONDS = 5.0
_QUIET_SECONDS = 1.0  # after which a broker has nothing against us: it waits for a request
_MOST_STEPS = 10  # of a handshake with ourselves; it takes three
_CHECK = "check KAFKA_SSL_CERTFILE and KAFKA_SSL_KEYFILE"


@dataclass(frozen=True, slots=True)
class OwnCertificate:
    """What we prove ourselves with.

    Args:
        cert_file: PEM.
        key_file: PEM; None: the key is in the certificate's file.
        key_password: opens the key.
    """

    cert_file: Path
    key_file: Path | None = None
    key_password: str | None = field(default=None, repr=False)

    def into(self, context: ssl.SSLContext) -> None:
        """Have the context use it.

        Raises:
            OSError: it can't be used (`ssl.SSLError` is one).
        """
        # Without any password OpenSSL would ask for one on the terminal, and wait.
        context.load_cert_chain(self.cert_file, self.key_file, self.key_password or "")


async def refusal_by_tls(
    servers: str, context: ssl.SSLContext, own: OwnCertificate | None
) -> str | None:
    """What the first broker that answers has against our certificate; None: nothing.

    Args:
        servers: ``host:port``, comma separated.
        context: as the client has it.
        own: our certificate; None: we have none.
    """
    for server in servers.split(","):
        host, _, port = server.rpartition(":")
        try:
            async with asyncio.timeout(_SECONDS):
                await _listen(host.strip("[]"), int(port), context)
        except ssl.SSLError as error:
            return _told((error.reason or "").lower().replace("_", " "), own)
        except (OSError, TimeoutError):
            continue
        else:
            return None
    return None


async def _listen(host: str, port: int, context: ssl.SSLContext) -> None:
    reader, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(_QUIET_SECONDS):
                await reader.read(1)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def _told(alert: str, own: OwnCertificate | None) -> str | None:
    if "alert" not in alert:
        return None
    if own is None:
        return (
            f"the broker wants a certificate of ours ({alert}); set KAFKA_SSL_CERTFILE and"
            " KAFKA_SSL_KEYFILE"
        )
    if has_expired(own):
        return f"our certificate has expired ({alert}); renew it: KAFKA_SSL_CERTFILE"
    return (
        f"the broker does not take our certificate ({alert}); {_CHECK}, and whether the broker"
        " trusts who signed it"
    )


def has_expired(own: OwnCertificate) -> bool:
    """Whether a client's certificate is over; false where it can't be told.

    The standard library reads no certificate, but it judges one: a handshake in memory between a
    client that has it and a server that trusts it.
    """
    judge = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    try:
        for context in (judge, client):
            own.into(context)
        judge.load_verify_locations(own.cert_file)
        judge.verify_mode = ssl.CERT_REQUIRED
        judge.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        _shake_hands(judge, client)
    except ssl.SSLCertVerificationError as error:
        return error.verify_code == EXPIRED
    except (OSError, ssl.SSLError):
        return False
    return False


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> None:
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = (client.wrap_bio(back, there), server.wrap_bio(there, back, server_side=True))
    for _ in range(_MOST_STEPS):
        for side in sides:
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
