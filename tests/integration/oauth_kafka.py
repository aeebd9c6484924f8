"""A broker that wants tokens, and an endpoint that gives them, both on this machine."""

from __future__ import annotations

import base64
import json
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from consumer.sandbox.kafka.broker import free_ports
from consumer.sandbox.kafka.java import JavaKafka

CLIENT, SECRET = "consumer", "CANARY-client-secret"
_MODULE = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule"


class TokenKafka(JavaKafka):
    """A broker with a second listener that takes unsecured tokens, as Kafka has it for tests.

    Args:
        reauth_ms: its ``connections.max.reauth.ms`` there; 0: none.
    """

    def __init__(self, rng: random.Random, reauth_ms: int = 0) -> None:
        super().__init__(rng)
        (self.guarded_port,) = free_ports(1, rng)
        self._reauth_ms = reauth_ms

    @property
    def guarded(self) -> str:
        """``host:port`` of the listener that wants tokens."""
        return f"127.0.0.1:{self.guarded_port}"

    def _properties(self, folder: Path) -> str:
        lines = super()._properties(folder).splitlines()
        (listeners,) = [line for line in lines if line.startswith("listeners=")]
        lines.remove(listeners)
        # Nothing is restarted here, and a broker that was not heard of for 1.5 s, on a machine with
        # other work, would be missing from its own answers.
        lines = [line for line in lines if not line.startswith("broker.session.timeout.ms=")]
        lines += [
            f"{listeners},GUARDED://{self.guarded}",
            "listener.security.protocol.map="
            "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,GUARDED:SASL_PLAINTEXT",
            "sasl.enabled.mechanisms=OAUTHBEARER",
            f"listener.name.guarded.oauthbearer.sasl.jaas.config={_MODULE} required "
            'unsecuredLoginStringClaim_sub="broker";',
        ]
        if self._reauth_ms:
            lines.append(
                f"listener.name.guarded.oauthbearer.connections.max.reauth.ms={self._reauth_ms}"
            )
        return "".join(f"{line}\n" for line in lines)


@dataclass(slots=True)
class TokenEndpoint:
    """Gives unsecured tokens to who has the secret.

    Args:
        seconds: how long a token counts.
        down: it answers 503.
        worthless: its tokens are over when they are given.
    """

    seconds: float = 60.0
    down: bool = False
    worthless: bool = False
    url: str = ""
    given: int = 0
    forms: list[dict[str, str]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        """The token endpoint."""
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.forms.append(form)
        if self.down:
            return web.Response(status=503, text="<html>down</html>")
        basic = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        if request.headers.get("Authorization") != f"Basic {basic}":
            told = f"Client secret {form.get('client_secret', '')} is wrong"
            return web.json_response(
                {"error": "invalid_client", "error_description": told}, status=401
            )
        self.given += 1
        return web.json_response(
            {
                "access_token": self._token(),
                "token_type": "Bearer",
                "expires_in": self.seconds,
            }
        )

    def _token(self) -> str:
        now = time.time() - (2 * self.seconds if self.worthless else 0.0)
        claims = {"sub": CLIENT, "iat": now, "exp": now + self.seconds}
        parts = [
            base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
            for part in ({"alg": "none"}, claims)
        ]
        return ".".join([*parts, ""])

    @property
    def settings(self) -> dict[str, str]:
        """Settings of a client that gets tokens here."""
        return {
            "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "KAFKA_SASL_MECHANISM": "OAUTHBEARER",
            "KAFKA_SASL_OAUTH_TOKEN_ENDPOINT": self.url,
            "KAFKA_SASL_OAUTH_CLIENT_ID": CLIENT,
            "KAFKA_SASL_OAUTH_CLIENT_SECRET": SECRET,
        }


@asynccontextmanager
async def token_endpoint() -> AsyncIterator[TokenEndpoint]:
    """One on loopback while the block runs."""
    endpoint = TokenEndpoint()
    app = web.Application()
    app.router.add_post("/token", endpoint.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        endpoint.url = f"http://127.0.0.1:{runner.addresses[0][1]}/token"
        yield endpoint
    finally:
        await runner.cleanup()
