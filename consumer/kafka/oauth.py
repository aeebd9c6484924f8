"""Tokens for SASL/OAUTHBEARER by the client-credentials flow of OAuth (RFC 6749, 4.4).

What is always true:

- A token is asked for when a connection needs one and the one we have is not fresh. aiokafka 0.14
  authenticates a connection once, when it is made, so nothing else needs one.
- While the token endpoint is down, a token that still counts is used.
- Whatever goes wrong is a `KafkaError`: aiokafka waits it out as it waits for a broker. Anything
  else would end its tasks for good.
- Neither secret nor token is ever in a message.

No library does this in less: those for OAuth bring an HTTP client of their own, and the client of
AnythingLLM belongs to that room.
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal
from urllib.parse import quote_plus, urlencode, urlsplit

from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaError

from consumer.model.certificate import distrust
from consumer.telemetry.library_log import library_logger
from consumer.telemetry.renewable_secret import RenewableSecret
from consumer.telemetry.repeats import RepeatedLine
from consumer.telemetry.scrub import MASK, Scrubber

log = library_logger(__name__)

# Of a token's life: Kafka's own client renews at this share too.
_FRESH_SHARE = 0.8
# A key that is changed at the token endpoint makes all tokens worthless long before their end.
_FRESH_SECONDS = 300.0
_LAST_SECONDS = 10.0  # of a token's life: the broker's clock is not ours
_EXCHANGE_SECONDS = 10.0
_PAUSE_SECONDS = 5.0  # after a failure: aiokafka connects anew ten times a second
_MOST_BYTES = 64 * 1024
_LONGEST_TOLD = 160

_IDENTITY = "check KAFKA_SASL_OAUTH_CLIENT_ID, KAFKA_SASL_OAUTH_CLIENT_SECRET"
_ADVICE: Mapping[str, str] = MappingProxyType(
    {
        "invalid_client": f"{_IDENTITY} and KAFKA_SASL_OAUTH_CLIENT_AUTH",
        "unauthorized_client": f"{_IDENTITY}: the client may not use client credentials",
        "unsupported_grant_type": "the token endpoint has no client credentials; is it the right"
        " KAFKA_SASL_OAUTH_TOKEN_ENDPOINT?",
        "invalid_scope": "check KAFKA_SASL_OAUTH_SCOPE",
        "invalid_request": f"check KAFKA_SASL_OAUTH_SCOPE; {_IDENTITY}",
    }
)
_CHECK_ENDPOINT = "check KAFKA_SASL_OAUTH_TOKEN_ENDPOINT"


class TokenError(KafkaError):  # type: ignore[misc]  # aiokafka has no types
    """There is no token to be had now; the message says why and what to look at."""


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """Who we are at the token endpoint, and what we ask there.

    Args:
        token_endpoint: http(s) URL.
        client_id: our name there.
        client_secret: our password there.
        scope: what the token shall be good for, blanks between; None: what the endpoint decides.
        extensions: what brokers want to hear beside the token (Confluent: ``logicalCluster``).
        client_auth: how id and secret travel: as HTTP Basic, or in the request's body.
        ca_file: PEM file of the authority to trust for https; the system's where None.
    """

    token_endpoint: str
    client_id: str
    client_secret: str = field(repr=False)
    scope: str | None = None
    extensions: Mapping[str, str] = field(default_factory=dict)
    client_auth: Literal["basic", "post"] = "basic"
    ca_file: Path | None = None

    @property
    def place(self) -> str:
        """The token endpoint as it may be told: there may be a key in its query."""
        return self.token_endpoint.partition("?")[0]


@dataclass(frozen=True, slots=True)
class OAuthToken:
    """A token, and how long it counts.

    Args:
        text: what the broker gets.
        asked_at: monotonic seconds.
        seconds: of its life; 0 where the endpoint does not say: it is used once.
    """

    text: str = field(repr=False)
    asked_at: float
    seconds: float

    def is_fresh(self, now: float) -> bool:
        """Whether no other one need be asked for."""
        return now < self.asked_at + min(_FRESH_SHARE * self.seconds, _FRESH_SECONDS)

    def seconds_left(self, now: float) -> float:
        """How long it may still be used; 0 when it is over."""
        last = min(_LAST_SECONDS, (1 - _FRESH_SHARE) * self.seconds)
        return max(0.0, self.asked_at + self.seconds - last - now)


def token_request(client: OAuthClient) -> tuple[dict[str, str], bytes]:
    """Headers and body of the request for a token. Pure.

    Id and secret are form-encoded before they become HTTP Basic (RFC 6749, 2.3.1).
    """
    fields = {"grant_type": "client_credentials"}
    if client.scope is not None:
        fields["scope"] = client.scope
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    if client.client_auth == "post":
        fields |= {"client_id": client.client_id, "client_secret": client.client_secret}
    else:
        pair = f"{quote_plus(client.client_id)}:{quote_plus(client.client_secret)}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return headers, urlencode(fields).encode()


def token_in(status: int, body: bytes, client: OAuthClient, *, asked_at: float) -> OAuthToken:
    """The token in an answer. Pure.

    Raises:
        TokenError: there is none; the message says what the endpoint says.
    """
    fields = _fields(body)
    text, seconds = fields.get("access_token"), fields.get("expires_in")
    if status == 200 and isinstance(text, str) and text.isascii() and text.isprintable() and text:
        return OAuthToken(text, asked_at, _seconds(seconds))
    error = fields.get("error")
    code = error if isinstance(error, str) and error.replace("_", "").isalnum() else ""
    told = _told(fields.get("error_description"), client)
    what_to_do = _ADVICE.get(code, _CHECK_ENDPOINT if status != 401 else _ADVICE["invalid_client"])
    said = " ".join(filter(None, (str(status), code[:40])))
    if not fields:
        said += ", and no JSON object"
    elif status == 200:
        said += " without a usable access_token"
    raise TokenError(
        f"no token: {client.place} answers {said}{f' ({told})' if told else ''}; {what_to_do}"
    )


def _fields(body: bytes) -> dict[str, object]:
    try:
        fields = json.loads(body)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _seconds(found: object) -> float:
    try:
        return max(0.0, min(float(found), 86_400.0))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return 0.0


def _told(found: object, client: OAuthClient) -> str:
    """The endpoint's own words, short and without the secret, should it repeat what it got."""
    if not isinstance(found, str):
        return ""
    plain = "".join(each if each.isprintable() else " " for each in found)
    pair = token_request(client)[0].get("Authorization", "").removeprefix("Basic ")
    masked = Scrubber([client.client_secret, pair]).text(plain, len(plain))
    return masked.replace(client.client_secret, MASK)[:_LONGEST_TOLD].strip()


class TokenProvider(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka has no types
    """Hands a token to each new connection; see the module's docstring. One for all clients.

    Args:
        client: who we are.
        secret: where the client's secret is read again when it is refused; None: it stays.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        client: OAuthClient,
        *,
        secret: RenewableSecret | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._secret = secret
        self._clock = clock
        self._asking = asyncio.Lock()
        self._token: OAuthToken | None = None
        self._failed: tuple[float, TokenError] | None = None
        self._failures = RepeatedLine(clock)

    def extensions(self) -> Mapping[str, str]:
        """What goes to the broker beside the token."""
        return self._client.extensions

    def forget(self) -> None:
        """Ask for another token next time: a broker does not take this one."""
        self._token = None

    async def token(self) -> str:
        """A token that counts.

        Raises:
            TokenError: there is none.
        """
        async with self._asking:
            if self._token is None or not self._token.is_fresh(self._clock()):
                await self._renew()
            if self._token is None:
                raise TokenError("no token")
            return self._token.text

    async def _renew(self) -> None:
        try:
            self._token = await self._asked()
        except TokenError as error:
            kept = self._token
            left = 0.0 if kept is None else kept.seconds_left(self._clock())
            self._log_failed(error, left)
            if not left:
                self._token = None
                raise

    async def _asked(self) -> OAuthToken:
        now = self._clock()
        if self._failed is not None and now < self._failed[0] + _PAUSE_SECONDS:
            raise TokenError(*self._failed[1].args)
        try:
            status, body = await _exchanged(self._client)
            if status != 200 and await self._has_another_secret():
                status, body = await _exchanged(self._client)
            token = token_in(status, body, self._client, asked_at=now)
        except TokenError as error:
            self._failed = self._clock(), error
            raise
        self._failed = None
        return token

    async def _has_another_secret(self) -> bool:
        if self._secret is None or not await self._secret.renewed(self._client.client_secret):
            return False
        self._client = replace(self._client, client_secret=self._secret.value)
        return True

    def _log_failed(self, error: TokenError, left: float) -> None:
        repeats = self._failures.happened(self._client.place)
        if repeats is None:
            return
        say = log.warning if left else log.error
        say(
            "kafka.token_failed",
            error=str(error),
            failures=repeats.count,
            consequence=f"the token we have counts for {left:.0f} s more"
            if left
            else "no new connection to Kafka; nothing is committed; asked again",
        )


async def _exchanged(client: OAuthClient) -> tuple[int, bytes]:
    """Status and body of the endpoint's answer. No redirect is followed: it would get the secret.

    Raises:
        TokenError: there is no answer.
    """
    exchange = _TokenExchange(client)
    try:
        async with asyncio.timeout(_EXCHANGE_SECONDS):
            return await asyncio.to_thread(exchange.run)
    except (OSError, http.client.HTTPException) as error:
        cause = f"no whole answer within {_EXCHANGE_SECONDS:.0f} s"
        if not isinstance(error, TimeoutError):
            cause = f"{error.__class__.__name__}: {error}"[:_LONGEST_TOLD]
        cafile = " and KAFKA_SASL_OAUTH_CAFILE" if isinstance(error, ssl.SSLError) else ""
        if isinstance(error, ssl.SSLCertVerificationError):
            told = distrust(
                error.verify_code,
                error.verify_message,
                address="KAFKA_SASL_OAUTH_TOKEN_ENDPOINT",
                authority="KAFKA_SASL_OAUTH_CAFILE",
            )
            raise TokenError(f"no token: {client.place} can't be asked: {told}") from error
        raise TokenError(
            f"no token: {client.place} can't be asked ({cause}); {_CHECK_ENDPOINT}{cafile}"
        ) from error
    finally:
        exchange.end()


class _TokenExchange:
    """One request and its answer, in a thread; `end` may be called from another one."""

    def __init__(self, client: OAuthClient) -> None:
        self._client = client
        self._connection: http.client.HTTPConnection | None = None

    def run(self) -> tuple[int, bytes]:
        parts = urlsplit(self._client.token_endpoint)
        host, port = parts.hostname or "", parts.port
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=self._client.ca_file)
            self._connection = http.client.HTTPSConnection(
                host, port, timeout=_EXCHANGE_SECONDS, context=context
            )
        else:
            self._connection = http.client.HTTPConnection(host, port, timeout=_EXCHANGE_SECONDS)
        headers, body = token_request(self._client)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            self._connection.request("POST", target, body, headers)
            response = self._connection.getresponse()
            return response.status, response.read(_MOST_BYTES)
        finally:
            self._connection.close()

    def end(self) -> None:
        """Have a thread that still waits give up: it would hold up the end of the process."""
        sock = None if self._connection is None else self._connection.sock
        if isinstance(sock, socket.socket):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
