#!/usr/bin/env bash
# aiokafka 0.14.0 and SASL/OAUTHBEARER: two surprises.
#
# 1. It takes a refused token for an accepted one. A broker says "invalid_token" as one more
#    challenge (RFC 7628, 3.2.3) with error code 0, and waits for the client's last word; the client
#    does not look into it, calls itself authenticated, and its first request has the broker close
#    the connection. All that is seen is "Connection at … closed".
# 2. It never authenticates a connection again (KIP-368): the broker's `session_lifetime_ms` is not
#    looked at. So a broker with `connections.max.reauth.ms` closes every connection at its limit,
#    and requests under way are sent again on a new one, with an ERROR line each time. On Apache
#    Kafka 4.1.0 with a limit of 2 s nothing was lost or doubled (an idempotent producer, a consumer
#    group that commits by itself).
#
# Seen: "a refused token: connected", "authentications in five lifetimes: 1". Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check aiokafka==0.14.0
cat > "$folder/oauth.py" <<'PYTHON'
import asyncio
import importlib.metadata
import struct

from aiokafka.abc import AbstractTokenProvider
from aiokafka.conn import create_conn
from aiokafka.protocol.admin import ApiVersionRequest

VERSIONS, HANDSHAKE, AUTHENTICATE = 18, 17, 36
LIFETIME_MS = 200


class Broker:
    """Speaks as much of Kafka's protocol as a client needs to authenticate."""

    def __init__(self, challenge):
        self.challenge = challenge
        self.authentications = 0

    async def serve(self, reader, writer):
        try:
            while True:
                (length,) = struct.unpack(">i", await reader.readexactly(4))
                request = await reader.readexactly(length)
                key, _version, correlation_id = struct.unpack(">hhi", request[:8])
                answer = struct.pack(">i", correlation_id) + self.answer(key)
                writer.write(struct.pack(">i", len(answer)) + answer)
        except (asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.close()

    def answer(self, key):
        if key == VERSIONS:
            apis = [(VERSIONS, 0, 0), (HANDSHAKE, 1, 1), (AUTHENTICATE, 1, 1)]
            return struct.pack(">hi", 0, len(apis)) + b"".join(struct.pack(">hhh", *a) for a in apis)
        if key == HANDSHAKE:
            name = b"OAUTHBEARER"
            return struct.pack(">hih", 0, 1, len(name)) + name
        assert key == AUTHENTICATE
        self.authentications += 1
        size = len(self.challenge)
        return struct.pack(">hhi", 0, -1, size) + self.challenge + struct.pack(">q", LIFETIME_MS)


class Tokens(AbstractTokenProvider):
    async def token(self):
        return "token"


async def connected(broker):
    server = await asyncio.start_server(broker.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    return await create_conn(
        "127.0.0.1",
        port,
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="OAUTHBEARER",
        sasl_oauth_token_provider=Tokens(),
    )


async def main():
    print("aiokafka", importlib.metadata.version("aiokafka"))
    refused = await connected(Broker(b'{"status":"invalid_token"}'))
    print("a refused token:", "connected" if refused.connected() else "refused")
    refused.close()
    broker = Broker(b"")
    connection = await connected(broker)
    for _ in range(10):
        await asyncio.sleep(LIFETIME_MS / 1000 / 2)
        await connection.send(ApiVersionRequest())
    print("authentications in five lifetimes:", broker.authentications)
    connection.close()


asyncio.run(main())
PYTHON
"$folder/venv/bin/python" "$folder/oauth.py" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
aiokafka 0.14.0
a refused token: connected
authentications in five lifetimes: 1
SEEN
echo "as it was"
