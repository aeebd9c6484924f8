"""How to reach Kafka: one value from which every aiokafka client is made."""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiokafka.errors import IllegalSaslStateError, KafkaError

from consumer.kafka.oauth import TokenError, TokenProvider
from consumer.kafka.oauth_refusal import refusal_of_token

_LONGEST_LINE = 600


class KafkaUnavailableError(Exception):
    """Kafka can't be reached or refuses us; the message says why and what to look at."""


@dataclass(frozen=True, slots=True)
class KafkaConnection:
    """Where Kafka is, and our name there.

    Args:
        bootstrap_servers: ``host:port``, comma separated.
        security_protocol: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.
        sasl_mechanism: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER.
        tokens: where tokens for OAUTHBEARER come from; one for all clients.
        ca_file: PEM file of the authority to trust; the system's where None.
        cert_file: PEM file of the client certificate (mTLS).
        key_file: PEM file of its key.
        compression: how what we publish is compressed; a word of `KAFKA_COMPRESSION`.
    """

    bootstrap_servers: str
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str | None = None
    sasl_username: str | None = None
    sasl_password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    key_password: str | None = field(default=None, repr=False)
    compression: str = "lz4"
    tokens: TokenProvider | None = field(default=None, repr=False, compare=False)

    def client_options(self) -> dict[str, Any]:
        """Keyword arguments that every aiokafka client takes.

        Raises:
            KafkaUnavailableError: a certificate or key file can't be used.
        """
        options: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap_servers,
            "security_protocol": self.security_protocol,
            "client_id": "anythingllm-consumer",
        }
        if self.security_protocol in {"SSL", "SASL_SSL"}:
            options["ssl_context"] = self._ssl_context()
        if self.security_protocol.startswith("SASL"):
            options["sasl_mechanism"] = self.sasl_mechanism or "PLAIN"
            options["sasl_plain_username"] = self.sasl_username
            options["sasl_plain_password"] = self.sasl_password
        if self.tokens is not None:
            options["sasl_oauth_token_provider"] = self.tokens
        return options

    def _ssl_context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self.cert_file is not None:
                context.load_cert_chain(self.cert_file, self.key_file, self.key_password)
        except (OSError, ssl.SSLError) as error:
            raise KafkaUnavailableError(
                f"the TLS files for Kafka can't be used ({error.__class__.__name__}: {error}); "
                "check KAFKA_SSL_CAFILE, KAFKA_SSL_CERTFILE, KAFKA_SSL_KEYFILE"
            ) from error
        return context


class _LastError(logging.Handler):
    """Remembers aiokafka's last ERROR line.

    aiokafka 0.14 raises only "Unable to bootstrap" for a wrong password and a wrong CA alike. Only
    its log has the cause, and an operator needs the cause.
    """

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.line: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        self.line = record.getMessage().splitlines()[0][:_LONGEST_LINE]
        cause = record.args[-1] if isinstance(record.args, tuple) and record.args else None
        if isinstance(cause, Exception) and not str(cause):
            # A broker that expects another protocol closes the connection without a word.
            self.line += f"{type(cause).__name__}; is KAFKA_SECURITY_PROTOCOL right?"
        if isinstance(cause, IllegalSaslStateError):
            self.line += (
                "; the broker takes no SASL on this port: is KAFKA_SECURITY_PROTOCOL right?"
            )


@contextmanager
def without_aiokafka_log() -> Iterator[None]:
    """Keep aiokafka's ERROR lines out of the log, for steps whose error `explained` words.

    Only while nothing else is going on with Kafka: its lines would be lost as well.
    """
    aiokafka_log = logging.getLogger("aiokafka")
    nothing = logging.NullHandler()  # without any handler Python would print the lines raw
    before, aiokafka_log.propagate = aiokafka_log.propagate, False
    aiokafka_log.addHandler(nothing)
    try:
        yield
    finally:
        aiokafka_log.removeHandler(nothing)
        aiokafka_log.propagate = before


@asynccontextmanager
async def explained(what: str, connection: KafkaConnection) -> AsyncIterator[None]:
    """Turn whatever aiokafka raises inside into `KafkaUnavailableError` with the real cause.

    Args:
        what: the step, as it reads after "Kafka: ", for example "consumer start".
        connection: names the servers in the message.
    """
    last = _LastError()
    aiokafka_log = logging.getLogger("aiokafka")
    aiokafka_log.addHandler(last)
    try:
        yield
    except (TimeoutError, KafkaError, OSError, AssertionError) as error:
        cause = await _refusal(connection, error)
        cause = cause or last.line or in_short(error)
        raise KafkaUnavailableError(
            f"{what} at {connection.bootstrap_servers} failed: {cause}"
        ) from error
    finally:
        aiokafka_log.removeHandler(last)


async def _refusal(connection: KafkaConnection, error: BaseException) -> str | None:
    """That a broker refuses our token, which aiokafka does not see (`oauth_refusal.py`)."""
    if connection.tokens is None or isinstance(error, TokenError):
        return None
    refusal = await refusal_of_token(connection.client_options())
    if refusal is not None:
        connection.tokens.forget()
    return refusal


def in_short(error: BaseException) -> str:
    """An error as one field of a log line: its class, and the beginning of what it says."""
    said = str(error) or ("no answer in time" if isinstance(error, TimeoutError) else "")
    return f"{error.__class__.__name__}: {said}"[:300] if said else error.__class__.__name__
