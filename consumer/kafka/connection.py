"""How to reach Kafka: one value from which every aiokafka client is made."""

from __future__ import annotations

import logging
import re
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from consumer.kafka.oauth import TokenError, TokenProvider
from consumer.kafka.oauth_refusal import refusal_of_token
from consumer.kafka.tls_refusal import OwnCertificate, refusal_by_tls
from consumer.kafka.unreachable import why_unreachable
from consumer.model.certificate import distrust
from consumer.telemetry.renewable_secret import RenewableSecret

_LONGEST_LINE = 600
_CREDENTIALS = "check KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD, and that the broker knows them"
_IS_CLOSED = re.compile(r"(KafkaConnectionError: )?(Connection at \S+ )?closed")
_CLOSED = "what listens there ended the connection: is KAFKA_SECURITY_PROTOCOL right?"


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
        renewable_password: where the password is read again for each new client; None: it stays.
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
    renewable_password: RenewableSecret | None = field(default=None, repr=False, compare=False)

    def client_options(self) -> dict[str, Any]:
        """Keyword arguments that every aiokafka client takes; certificates are read now.

        Raises:
            KafkaUnavailableError: a certificate or key file can't be used.
        """
        options: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap_servers,
            "security_protocol": self.security_protocol,
            "client_id": "anythingllm-consumer",
        }
        if self.has_tls:
            options["ssl_context"] = self.ssl_context()
        if self.security_protocol.startswith("SASL"):
            options["sasl_mechanism"] = self.sasl_mechanism or "PLAIN"
            options["sasl_plain_username"] = self.sasl_username
            options["sasl_plain_password"] = self._password()
        if self.tokens is not None:
            options["sasl_oauth_token_provider"] = self.tokens
        return options

    def _password(self) -> str | None:
        if self.renewable_password is None:
            return self.sasl_password
        self.renewable_password.renew()
        return self.renewable_password.value

    @property
    def has_tls(self) -> bool:
        """Whether brokers are spoken to by TLS."""
        return self.security_protocol.endswith("SSL")

    @property
    def own_certificate(self) -> OwnCertificate | None:
        """What we prove ourselves with in TLS; None: nothing."""
        if self.cert_file is None:
            return None
        return OwnCertificate(self.cert_file, self.key_file, self.key_password)

    def ssl_context(self) -> ssl.SSLContext:
        """What TLS is made with; the files are read now.

        Raises:
            KafkaUnavailableError: one of them can't be used.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise _unusable(error, "no certificate can be read from KAFKA_SSL_CAFILE") from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            if self.own_certificate is not None:
                self.own_certificate.into(context)
        except (OSError, ssl.SSLError) as error:
            raise _unusable(
                error,
                "KAFKA_SSL_CERTFILE and KAFKA_SSL_KEYFILE are no certificate with its key, or"
                " KAFKA_SSL_KEY_PASSWORD does not open the key",
            ) from error
        return context


def _unusable(error: Exception, what: str) -> KafkaUnavailableError:
    return KafkaUnavailableError(f"the TLS files for Kafka can't be used: {what} ({error})")


class _LastError(logging.Handler):
    """Remembers the last failure that aiokafka logged, and says what to do about it.

    aiokafka 0.14 raises only "Unable to bootstrap" for a wrong password and a wrong CA alike. Only
    its log has the cause, and an operator needs the cause.
    """

    def __init__(self, connection: KafkaConnection) -> None:
        super().__init__(logging.WARNING)
        self._connection = connection
        self.line: str | None = None
        self.closed = False
        self.is_unconnected = False

    def emit(self, record: logging.LogRecord) -> None:
        cause = record.args[-1] if isinstance(record.args, tuple) and record.args else None
        is_failure = isinstance(cause, Exception)
        if record.levelno < logging.ERROR and not (is_failure and self.line is None):
            return
        line = record.getMessage().splitlines()[0]
        if isinstance(cause, Exception):
            is_first = len(record.args or ()) > 2
            line = line.removesuffix(str(cause).splitlines()[0] if str(cause) else "")
            line = self._without_address(record) if is_first else line
            line += _worded(cause, self._connection, is_first=is_first)
            is_plain = isinstance(cause, OSError | KafkaConnectionError)
            self.is_unconnected = (
                is_first and is_plain and not isinstance(cause, ssl.SSLCertVerificationError)
            )
        self.line = line[:_LONGEST_LINE]
        self.closed = isinstance(cause, KafkaConnectionError)

    def _without_address(self, record: logging.LogRecord) -> str:
        """How a line about a first connection begins; `explained` has named our only server."""
        host, port, *_ = record.args if isinstance(record.args, tuple) else ("", "")
        servers = self._connection.bootstrap_servers.replace("[", "").replace("]", "")
        return "" if servers == f"{host}:{port}" else f"{host}:{port}: "


def _worded(cause: Exception, connection: KafkaConnection, *, is_first: bool) -> str:
    """An error of aiokafka with what to do about it, where it can be told.

    Args:
        cause: what went wrong.
        connection: ours.
        is_first: whether it was a first connection, which names host and port in the log's line.
    """
    said = (str(cause).splitlines() or [""])[0]
    if isinstance(cause, ssl.SSLCertVerificationError):
        return distrust(
            cause.verify_code,
            cause.verify_message,
            address="KAFKA_BOOTSTRAP_SERVERS, and `advertised.listeners` of the broker",
            authority="KAFKA_SSL_CAFILE",
        )
    if isinstance(cause, SaslAuthenticationFailed):
        return f"{said}; {_CREDENTIALS}"
    if isinstance(cause, UnsupportedSaslMechanismError):
        return (
            f"the broker takes no {connection.sasl_mechanism} on this port; check"
            " KAFKA_SASL_MECHANISM"
        )
    if isinstance(cause, IllegalSaslStateError):
        return f"{said}; the broker takes no SASL on this port: is KAFKA_SECURITY_PROTOCOL right?"
    if isinstance(cause, KafkaConnectionError) and is_first:
        return _CLOSED if _IS_CLOSED.fullmatch(said) else f"{said}; {_CLOSED}"
    # A broker that expects another protocol closes the connection without a word.
    return said or f"{type(cause).__name__}; is KAFKA_SECURITY_PROTOCOL right?"


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
    last = _LastError(connection)
    aiokafka_log = logging.getLogger("aiokafka")
    aiokafka_log.addHandler(last)
    try:
        yield
    except (TimeoutError, KafkaError, OSError, AssertionError) as error:
        cause = await _refusal(connection, error, closed=last.closed)
        if cause is None and (last.is_unconnected or isinstance(error, TimeoutError)):
            servers = connection.bootstrap_servers
            cause = await why_unreachable(servers, has_tls=connection.has_tls)
        cause = cause or last.line or in_short(error)
        raise KafkaUnavailableError(
            f"{what} at {connection.bootstrap_servers} failed: {cause}"
        ) from error
    finally:
        aiokafka_log.removeHandler(last)


async def _refusal(
    connection: KafkaConnection, error: BaseException, *, closed: bool
) -> str | None:
    """What a broker has against us and aiokafka does not see: our token, or our certificate."""
    if connection.tokens is not None and not isinstance(error, TokenError):
        refusal = await refusal_of_token(connection.client_options())
        if refusal is not None:
            connection.tokens.forget()
            return refusal
    if not (closed and connection.has_tls):
        return None
    return await refusal_by_tls(
        connection.bootstrap_servers, connection.ssl_context(), connection.own_certificate
    )


def in_short(error: BaseException) -> str:
    """An error as one field of a log line: its class, and the beginning of what it says."""
    said = str(error) or ("no answer in time" if isinstance(error, TimeoutError) else "")
    return f"{error.__class__.__name__}: {said}"[:300] if said else error.__class__.__name__
