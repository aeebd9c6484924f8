"""What every local Kafka has in common, however it is run."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from consumer.kafka.connection import KafkaConnection
from consumer.kafka.probe import broker_answers
from consumer.sandbox.errors import SandboxError

_READY_SECONDS = 90.0  # 5 s on an idle machine of two cores; a loaded one may need far more
_POLL_SECONDS = 0.1

# What tests need and production does not: groups that react within a second, one replica of
# everything, topics only where somebody asked for them, records as large as any topic allows, and
# a controller that believes a restarted broker after 1.5 s (13 to 17 s otherwise).
BROKER_SETTINGS = {
    "auto.create.topics.enable": "false",
    "broker.heartbeat.interval.ms": "300",
    "broker.session.timeout.ms": "1500",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "message.max.bytes": str(64 * 1024 * 1024),
    "offsets.topic.num.partitions": "4",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
}


class LocalKafka(ABC):
    """A Kafka for tests and demo. No method is bound to the event loop that called another.

    Attributes:
        mode: how it is run: external, docker or java.
        bootstrap_servers: ``host:port``; the same before and after a restart.
    """

    mode: str
    bootstrap_servers: str

    @property
    def pid(self) -> int | None:
        """The broker's process on this machine, while it runs and where there is one."""
        return None

    @abstractmethod
    async def start(self) -> None:
        """Start, or start again with the data of before; returns when the broker answers.

        Raises:
            SandboxError: it died or did not answer in time; its last words are in the message.
        """

    @abstractmethod
    async def stop(self, *, hard: bool = False) -> None:
        """Stop but keep the data; ``hard`` is a power cut (SIGKILL)."""

    @abstractmethod
    async def close(self) -> None:
        """Stop for good and remove everything. Does nothing the second time."""

    async def _wait_until_ready(
        self, died: Callable[[], str | None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Wait for an answer; ``died`` gives the broker's last words once there is no hope."""
        give_up = clock() + _READY_SECONDS
        while not await broker_answers(KafkaConnection(self.bootstrap_servers)):
            if (words := died()) is not None:
                raise SandboxError(f"the local Kafka ended while it was starting:\n{words}")
            if clock() > give_up:
                raise SandboxError(
                    f"the local Kafka at {self.bootstrap_servers} did not answer within "
                    f"{_READY_SECONDS:.0f} s"
                )
            await asyncio.sleep(_POLL_SECONDS)


def free_ports(count: int, rng: random.Random) -> list[int]:
    """Distinct free ports on 127.0.0.1, below those that systems give to outgoing connections.

    A port of the ephemeral range could be lost while the broker is down: a client that keeps
    connecting to it is given it as its own source port sooner or later, and talks to itself.
    """
    ports: list[int] = []
    while len(ports) < count:
        port = rng.randrange(15_000, 32_000)
        if port not in ports and _is_free(port):
            ports.append(port)
    return ports


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
