"""Kafka in a container, for machines with a Docker engine. Needs the extra ``test``.

The image is Apache's own in the version of the Java mode, under the same settings, so that a test
meets one and the same broker either way. testcontainers' ``KafkaContainer`` would bring another
vendor's build and an older Kafka; of testcontainers we use what starts a container and, should we
be killed, removes it.
"""

from __future__ import annotations

import asyncio
import random
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from consumer.sandbox.errors import SandboxError, SandboxUnavailable
from consumer.sandbox.kafka.broker import BROKER_SETTINGS, LocalKafka, free_ports
from consumer.sandbox.kafka.jars import kafka_version

_ENGINE_SECONDS = 3
_STOP_SECONDS = 20
_CONTAINER_PORT = 9092
_LOG_TAIL_LINES = 25

# Asked as testcontainers asks, so that its answer holds for what we start later. In a process of
# its own, because the client blocks in ways no timeout of ours could end and leaves sockets open.
_PING = f"""
from testcontainers.core.docker_client import DockerClient
DockerClient(timeout={_ENGINE_SECONDS}).client.ping()
"""


async def missing_for_docker() -> str | None:
    """What this machine lacks to run containers, as half a sentence; None: nothing."""
    if find_spec("testcontainers") is None:
        return "Docker is used only where the extra 'test' is installed"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _PING,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(_ENGINE_SECONDS):
            answers = await process.wait() == 0
    except TimeoutError:
        answers = False
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return None if answers else f"no Docker engine answered within {_ENGINE_SECONDS} s"


class DockerKafka(LocalKafka):
    """See `LocalKafka`. The data live in the container until `close`.

    Args:
        rng: picks the port. It is ours and not Docker's choice: Docker's changes with a restart.
    """

    mode = "docker"

    def __init__(self, rng: random.Random) -> None:
        (self._port,) = free_ports(1, rng)
        self.bootstrap_servers = f"127.0.0.1:{self._port}"
        self._container: Any = None

    def __repr__(self) -> str:
        return f"<DockerKafka {self.bootstrap_servers}>"

    async def start(self) -> None:
        """See `LocalKafka.start`. The first time it may pull the image, which takes a while."""
        if find_spec("testcontainers") is None:
            raise SandboxUnavailable("Docker mode needs the extra: anythingllm-consumer[test]")
        try:
            if self._container is None:
                self._container = self._new_container()
                await asyncio.to_thread(self._container.start)
            else:
                await asyncio.to_thread(self._engine_container().start)
        except Exception as error:  # docker's, requests' and testcontainers' errors share no base
            raise SandboxError(f"Docker could not start Kafka: {error}") from error
        await self._wait_until_ready(self._last_words)

    async def stop(self, *, hard: bool = False) -> None:
        """See `LocalKafka.stop`."""
        if self._container is None:
            return
        container = self._engine_container()
        if hard:
            await asyncio.to_thread(container.kill)
        else:
            await asyncio.to_thread(container.stop, timeout=_STOP_SECONDS)

    async def close(self) -> None:
        """See `LocalKafka.close`."""
        if self._container is not None:
            container, self._container = self._container, None
            await asyncio.to_thread(container.stop)

    def _new_container(self) -> Any:
        # By name, because a plain installation has no testcontainers and the other modes work.
        docker_container = import_module("testcontainers.core.container").DockerContainer
        container = docker_container(f"apache/kafka:{kafka_version()}")
        host = container.get_docker_client().host()
        self.bootstrap_servers = f"{'127.0.0.1' if host == 'localhost' else host}:{self._port}"
        for name, value in self._settings().items():
            container.with_env("KAFKA_" + name.upper().replace(".", "_"), value)
        return container.with_bind_ports(_CONTAINER_PORT, self._port)

    def _settings(self) -> dict[str, str]:
        return BROKER_SETTINGS | {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": "1@localhost:9093",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "listeners": f"PLAINTEXT://:{_CONTAINER_PORT},CONTROLLER://:9093",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap_servers}",
        }

    def _engine_container(self) -> Any:
        if self._container is None:
            raise SandboxError("the local Kafka was not started yet")
        return self._container.get_wrapped_container()

    def _last_words(self) -> str | None:
        container = self._engine_container()
        container.reload()
        if container.status not in {"exited", "dead"}:
            return None
        return str(container.logs(tail=_LOG_TAIL_LINES).decode(errors="replace"))
