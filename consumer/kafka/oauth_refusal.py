"""Why a broker does not take our token.

aiokafka 0.14 takes the broker's "invalid_token" for success: Kafka sends it as one more challenge
(RFC 7628, 3.2.3), and the client does not look into it. Then the broker closes the connection, and
all that is seen of it is that. So the broker is asked once more, by a connection that does look.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

from aiokafka.conn import AIOKafkaConnection, OAuthAuthenticator
from aiokafka.errors import KafkaError

_SECONDS = 10.0
_LONGEST_TOLD = 200


class TokenRefusedError(KafkaError):  # type: ignore[misc]  # aiokafka has no types
    """A broker does not take our token; the message has its words."""


class _Looking(OAuthAuthenticator):  # type: ignore[misc]  # aiokafka has no types
    async def step(self, payload: bytes | None) -> Any:
        if self._token_sent and payload:
            raise TokenRefusedError(_words(payload))
        return await super().step(payload)


class _LookingConnection(AIOKafkaConnection):  # type: ignore[misc]  # aiokafka has no types
    def authenticator_oauth(self) -> OAuthAuthenticator:
        return _Looking(sasl_oauth_token_provider=self._sasl_oauth_token_provider)


async def refusal_of_token(options: dict[str, Any]) -> str | None:
    """What the first broker that answers says of our token; None where it takes it.

    Args:
        options: of an aiokafka client.
    """
    kept = {name: options[name] for name in options if name != "bootstrap_servers"}
    for server in options["bootstrap_servers"].split(","):
        host, _, port = server.rpartition(":")
        connection = _LookingConnection(host.strip("[]"), int(port), **kept)
        try:
            async with asyncio.timeout(_SECONDS):
                await connection.connect()
        except TokenRefusedError as error:
            return str(error.args[0])
        except (KafkaError, OSError, TimeoutError):
            continue
        else:
            return None
        finally:
            with suppress(KafkaError, OSError):
                connection.close()
    return None


def _words(payload: bytes) -> str:
    try:
        fields = json.loads(payload)
        said = {name: str(fields[name]) for name in ("status", "scope") if name in fields}
    except (ValueError, TypeError):
        said = {}
    told = ", ".join(f"{name} {value}" for name, value in said.items())[:_LONGEST_TOLD]
    return (
        f"the broker does not take our token ({told or 'without a reason'}); check"
        " KAFKA_SASL_OAUTH_SCOPE, KAFKA_SASL_OAUTH_EXTENSIONS, and which issuer and audience the"
        " broker wants"
    )
