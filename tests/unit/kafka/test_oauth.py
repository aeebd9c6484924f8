"""Tokens by client credentials: what is asked, what is an answer, how long a token serves."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from structlog.testing import capture_logs

from consumer.kafka.oauth import OAuthClient, TokenError, TokenProvider, token_in, token_request
from consumer.telemetry.renewable_secret import RenewableSecret
from tests.certificates import Certificates
from tests.tls_front import tls_before

SECRET = "CANARY /+%:"
CLIENT = OAuthClient("http://127.0.0.1:1/token", "us", SECRET, scope="read write")
GOOD = {"access_token": "abc.def", "token_type": "Bearer", "expires_in": 100}


def test_basic_has_the_form_encoded_pair() -> None:
    """RFC 6749, 2.3.1: a colon or percent sign in the secret would else be another secret."""
    headers, body = token_request(CLIENT)
    scheme, _, encoded = headers["Authorization"].partition(" ")

    assert scheme == "Basic"
    assert base64.b64decode(encoded) == b"us:CANARY+%2F%2B%25%3A"
    assert parse_qs(body.decode()) == {
        "grant_type": ["client_credentials"],
        "scope": ["read write"],
    }


def test_post_has_them_in_the_body() -> None:
    """For endpoints that do not know Basic."""
    headers, body = token_request(replace(CLIENT, client_auth="post", scope=None))

    assert "Authorization" not in headers
    assert parse_qs(body.decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": ["us"],
        "client_secret": [SECRET],
    }


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (401, {"error": "invalid_client"}, "KAFKA_SASL_OAUTH_CLIENT_SECRET"),
        (400, {"error": "invalid_scope"}, "400 invalid_scope; check KAFKA_SASL_OAUTH_SCOPE"),
        (400, {"error": "unsupported_grant_type"}, "no client credentials"),
        (400, {"error": "x", "error_description": f"{SECRET}\nbad"}, r"\(\*\*\* bad\)"),
        (403, b"<html>", "403, and no JSON object; check KAFKA_SASL_OAUTH_TOKEN_ENDPOINT"),
        (302, b"", "302"),
        (200, b"<html>", "200, and no JSON object"),
        (200, {"access_token": ""}, "200 without a usable access_token"),
        (200, {"access_token": "a\nb"}, "200 without a usable access_token"),
        (200, [], "no JSON object"),
        (500, {"error": {"code": 1}}, "500; check"),
    ],
)
def test_what_is_no_token_is_named(status: int, body: object, said: str) -> None:
    """By status, the endpoint's own code, and the setting to look at; never with the secret."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(TokenError, match=said) as told:
        token_in(status, raw, CLIENT, asked_at=0.0)
    assert "CANARY" not in str(told.value)


def test_what_the_endpoint_repeats_of_our_request_is_not_told() -> None:
    """Nor what stands in its own query: some take a key there."""
    headers, body = token_request(CLIENT)
    posted = token_request(replace(CLIENT, client_auth="post"))[1]
    sent = f"got {headers['Authorization']}, {body.decode()} and {posted.decode()}"
    there = replace(CLIENT, token_endpoint="http://127.0.0.1:1/token?key=CANARY2")
    raw = json.dumps({"error": "invalid_request", "error_description": sent}).encode()
    with pytest.raises(TokenError, match=r"127\.0\.0\.1:1/token answers 400") as told:
        token_in(400, raw, there, asked_at=0.0)

    assert "CANARY" not in str(told.value)
    assert headers["Authorization"].removeprefix("Basic ")[:12] not in str(told.value)


@pytest.mark.parametrize(
    ("seconds", "fresh_until", "usable_until"),
    [(100, 80, 90), (3600, 300, 3590), (10, 8, 8), (None, 0, 0), ("x", 0, 0), ("60", 48, 50)],
)
def test_a_token_is_renewed_before_its_end(
    seconds: object, fresh_until: float, usable_until: float
) -> None:
    """At four fifths of its life, after five minutes at the latest; without an end at once."""
    body = json.dumps(GOOD | {"expires_in": seconds}).encode()
    token = token_in(200, body, CLIENT, asked_at=1000.0)

    assert token.text == "abc.def"
    assert token.is_fresh(1000.0) == (fresh_until > 0)
    assert token.is_fresh(999.9 + fresh_until)
    assert not token.is_fresh(1000.0 + fresh_until)
    assert token.seconds_left(999.9 + usable_until) > 0
    assert token.seconds_left(1000.0 + usable_until + 0.001) == 0
    assert "abc.def" not in repr(token)


Answer = Callable[[bytes], Awaitable[bytes]]


@asynccontextmanager
async def _endpoint(answer: Answer) -> AsyncIterator[OAuthClient]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (first := await reader.readexactly(4)) == b"POST":  # and no TLS
            writer.write(await answer(first + await reader.readuntil(b"\r\n\r\n")))
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield replace(CLIENT, token_endpoint=f"http://127.0.0.1:{port}/t?policy=x")
    finally:
        server.close()


def _http(status: str, body: object) -> bytes:
    raw = json.dumps(body).encode()
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status.encode(), len(raw), raw)


async def test_a_token_serves_until_it_is_renewed_and_while_the_endpoint_is_down() -> None:
    """Asked once for many connections; after its end there is none, and that is told."""
    now, up, heads = 0.0, True, list[bytes]()

    async def answer(head: bytes) -> bytes:
        heads.append(head)
        body = GOOD | {"access_token": f"token-{len(heads)}"}
        return _http("200 OK", body) if up else _http("503 No", {})

    async with _endpoint(answer) as client:
        provider = TokenProvider(client, clock=lambda: now)
        many = await asyncio.gather(*(provider.token() for _ in range(5)))
        now = 81.0
        renewed = await provider.token()
        provider.forget()
        other = await provider.token()
        now, up = 81.0 + 85.0, False
        with capture_logs() as logs:
            kept = await provider.token()
            now = 81.0 + 95.0
            with pytest.raises(TokenError, match="503"):
                await provider.token()
            asked = len(heads)
            with pytest.raises(TokenError, match="503"):
                await provider.token()  # at once: the endpoint is not asked again
            assert len(heads) == asked
        up = True
        now += 5.0
        again = await provider.token()

    assert many == ["token-1"] * 5
    assert (renewed, other, kept) == ("token-2", "token-3", "token-3")
    assert again == f"token-{len(heads)}"
    assert heads[0].startswith(b"POST /t?policy=x HTTP/1.1\r\n")
    assert [line["event"] for line in logs] == ["kafka.token_failed"] * 2
    assert [line["log_level"] for line in logs] == ["warning", "error"]
    assert "counts for 5 s more" in logs[0]["consequence"]


async def test_a_secret_that_was_changed_is_taken_from_its_file() -> None:
    """When the endpoint refuses the former one; the same question is put once more."""
    heads, secret = list[bytes](), RenewableSecret("A_FILE", SECRET, lambda: "CANARY-new")
    new = token_request(replace(CLIENT, client_secret="CANARY-new"))[0]["Authorization"]

    async def answer(head: bytes) -> bytes:
        heads.append(head)
        if new.encode() in head:
            return _http("200 OK", GOOD)
        return _http("401 No", {"error": "invalid_client"})

    async with _endpoint(answer) as client:
        assert await TokenProvider(client, secret=secret).token() == "abc.def"
    assert len(heads) == 2


async def test_a_redirect_is_not_followed() -> None:
    """The secret would travel to wherever it says."""
    asked = 0

    async def answer(_: bytes) -> bytes:
        nonlocal asked
        asked += 1
        return b"HTTP/1.1 307 There\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n"

    async with _endpoint(answer) as client:
        with pytest.raises(TokenError, match="307"):
            await TokenProvider(client).token()
    assert asked == 1


async def test_what_can_not_be_asked_is_named() -> None:
    """Nobody listens there, or what listens closes without an answer."""
    with pytest.raises(TokenError, match="ConnectionRefusedError"):
        await TokenProvider(CLIENT).token()

    async def answer(_: bytes) -> bytes:
        return b""

    async with _endpoint(answer) as client:
        with pytest.raises(TokenError, match=r"RemoteDisconnected.*KAFKA_SASL_OAUTH_TOKEN_END"):
            await TokenProvider(client).token()
        tls = replace(client, token_endpoint=client.token_endpoint.replace("http:", "https:"))
        with pytest.raises(TokenError, match=r"SSL.*KAFKA_SASL_OAUTH_CAFILE"):
            await TokenProvider(tls).token()


async def test_a_certificate_of_the_endpoint_that_is_not_trusted_is_told(tmp_path: Path) -> None:
    """Which it is, and the setting to look at; the secret is not sent."""
    ours, heads = Certificates(tmp_path), list[bytes]()

    async def answer(head: bytes) -> bytes:
        heads.append(head)
        return _http("200 OK", GOOD)

    async with _endpoint(answer) as plain:
        for server, authority, told in (
            (ours.server, ours.ca, None),
            (ours.server, ours.strange_ca, "signed by nobody we trust.*KAFKA_SASL_OAUTH_CAFILE"),
            (ours.expired_server, ours.ca, "its certificate has expired"),
            (ours.other_host, ours.ca, "for another host.*KAFKA_SASL_OAUTH_TOKEN_ENDPOINT"),
        ):
            heads.clear()
            async with tls_before(plain.token_endpoint, ours.tls_of(server)) as endpoint:
                client = replace(plain, token_endpoint=f"{endpoint}/t", ca_file=authority)
                if told is None:
                    assert await TokenProvider(client).token() == "abc.def"
                    continue
                with pytest.raises(TokenError, match=told):
                    await TokenProvider(client).token()
            assert heads == []
