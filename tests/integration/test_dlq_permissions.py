"""What an operator is told who may not do what he asks for: a line, an exit code, never a hang."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import CreateAclsRequest

from consumer.kafka.connection import KafkaConnection
from consumer.kafka.topic_spec import TopicSpec
from consumer.kafka.topics import open_admin
from consumer.sandbox.kafka.broker import free_ports
from consumer.sandbox.kafka.jars import missing_for_java
from consumer.sandbox.kafka.java import JavaKafka
from tests.e2e.support import Programs
from tests.integration.kafka_support import publish

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

TOPICS = {
    f"KAFKA_{name}_TOPIC": f"test-{name.lower()}".replace("_", "-")
    for name in ("DOCUMENTS", "REPLAY", "RESULTS", "DEAD_LETTERS", "PARKED")
}
LETTERS, PARKED = TOPICS["KAFKA_DEAD_LETTERS_TOPIC"], TOPICS["KAFKA_PARKED_TOPIC"]
PASSWORD = "test-password"

# Kafka's numbers (ACL resource types, pattern types, operations, permissions).
TOPIC, GROUP, LITERAL, READ, WRITE, DESCRIBE, ALLOW = 2, 3, 3, 3, 4, 8, 3


class GuardedKafka(JavaKafka):
    """A broker with an authorizer.

    Who comes without a password may do everything, the user ``operator`` what `allow` says.
    """

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        (self.guarded_port,) = free_ports(1, rng)

    def _properties(self, folder: Path) -> str:
        lines = super()._properties(folder).splitlines()
        (listeners,) = [line for line in lines if line.startswith("listeners=")]
        lines.remove(listeners)
        module = "org.apache.kafka.common.security.plain.PlainLoginModule"
        lines += [
            f"{listeners},GUARDED://127.0.0.1:{self.guarded_port}",
            "listener.security.protocol.map="
            "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,GUARDED:SASL_PLAINTEXT",
            "sasl.enabled.mechanisms=PLAIN",
            f"listener.name.guarded.plain.sasl.jaas.config={module} required "
            f'user_operator="{PASSWORD}";',
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users=User:ANONYMOUS",
        ]
        return "".join(f"{line}\n" for line in lines)

    @property
    def settings(self) -> dict[str, str]:
        """Settings of the user."""
        return TOPICS | {
            "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{self.guarded_port}",
            "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "KAFKA_SASL_USERNAME": "operator",
            "KAFKA_SASL_PASSWORD": PASSWORD,
        }

    async def allow(self, operation: int, names: Sequence[str], resource: int = TOPIC) -> None:
        """Let the user do that with these topics (or groups)."""
        client = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap_servers)
        await client.start()
        try:
            for name in names:
                request = CreateAclsRequest(
                    resource, name, LITERAL, "User:operator", "*", operation, ALLOW
                )
                response = await client._send_request(request)
                assert [code for code, _ in response.creation_responses] == [0]
        finally:
            await client.close()


@pytest.fixture
async def guarded() -> AsyncIterator[GuardedKafka]:
    """With the five topics, a letter and a replay."""
    if (missing := await asyncio.to_thread(missing_for_java)) is not None:
        pytest.skip(missing)
    kafka = GuardedKafka(random.Random())
    try:
        await kafka.start()
        connection = KafkaConnection(kafka.bootstrap_servers)
        async with open_admin(connection) as admin:
            specs = [TopicSpec(name, "a test", 1) for name in TOPICS.values()]
            await admin.create(specs, replication_factor=1)
        await publish(connection, LETTERS, "a letter")
        await publish(connection, TOPICS["KAFKA_REPLAY_TOPIC"], "a replay")
        yield kafka
    finally:
        await kafka.close()


async def test_every_missing_permission_is_a_line(guarded: GuardedKafka, tmp_path: Path) -> None:
    """What is only helpful, how far the service is with replays, is done without, and said."""
    programs = Programs(tmp_path)
    settings = guarded.settings

    nothing = await programs.run("dlq", "list", settings=settings)
    await guarded.allow(DESCRIBE, [*TOPICS.values()])
    looking = await programs.run("dlq", "list", settings=settings)
    await guarded.allow(READ, [*TOPICS.values()])
    reading = await programs.run("dlq", "list", "--json", settings=settings)
    parking = await programs.run("dlq", "park", "--yes", settings=settings)
    await guarded.allow(WRITE, [PARKED])
    allowed = await programs.run("dlq", "park", "--yes", settings=settings)

    assert (nothing.code, looking.code, parking.code) == (1, 1, 1)
    assert f"no permission to see topic {LETTERS}" in nothing.err
    assert f"reading {LETTERS}" in looking.err
    assert "Authorization" in looking.err
    assert (reading.code, len(reading.lines)) == (0, 1)
    assert "it is not known how far anythingllm-consumer is with replays" in reading.err
    assert "Authorization" in parking.err
    assert allowed.code == 0
    assert "1 parked" in allowed.out
    for ended in (nothing, looking, reading, parking, allowed):
        assert ended.seconds < 30
        assert PASSWORD not in ended.err
        assert "Traceback" not in ended.err
