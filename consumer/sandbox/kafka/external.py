"""A Kafka that is there already and is not ours."""

from __future__ import annotations

from consumer.kafka.connection import KafkaConnection
from consumer.kafka.probe import broker_answers
from consumer.sandbox.errors import SandboxError, SandboxUnavailable
from consumer.sandbox.kafka.broker import LocalKafka


class ExternalKafka(LocalKafka):
    """See `LocalKafka`. It is never stopped.

    Args:
        bootstrap_servers: ``host:port``, comma separated; without TLS and passwords.
    """

    mode = "external"

    def __init__(self, bootstrap_servers: str) -> None:
        self.bootstrap_servers = bootstrap_servers

    def __repr__(self) -> str:
        return f"<ExternalKafka {self.bootstrap_servers}>"

    async def start(self) -> None:
        """Make sure that it answers.

        Raises:
            SandboxUnavailable: it does not.
        """
        if not await broker_answers(KafkaConnection(self.bootstrap_servers), timeout=10.0):
            raise SandboxUnavailable(
                f"no Kafka answers at {self.bootstrap_servers}, which was named as the one to use; "
                "correct or drop the name (TEST_KAFKA_BOOTSTRAP_SERVERS, or the command's option)"
            )

    async def stop(self, *, hard: bool = False) -> None:
        """Refuse.

        Raises:
            SandboxError: always.
        """
        raise SandboxError(f"the Kafka at {self.bootstrap_servers} is not ours to stop")

    async def close(self) -> None:
        """Leave it as it is."""
