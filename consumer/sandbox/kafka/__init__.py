"""A real Apache Kafka for tests and demo, with whatever this machine has.

    async with local_kafka() as kafka:
        connect_to(kafka.bootstrap_servers)

Nothing here reads the settings of ``run``: a test must never reach for a cluster in production.
``python -m consumer.sandbox.kafka`` fetches ahead what would be fetched at the first start.
"""

from __future__ import annotations

from consumer.sandbox.errors import SandboxError, SandboxUnavailable
from consumer.sandbox.kafka.broker import LocalKafka
from consumer.sandbox.kafka.modes import Mode, choose_kafka, local_kafka, prefetch

__all__ = [
    "LocalKafka",
    "Mode",
    "SandboxError",
    "SandboxUnavailable",
    "choose_kafka",
    "local_kafka",
    "prefetch",
]
