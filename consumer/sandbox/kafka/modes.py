"""Which Kafka: one that is there, one in a container, one on this machine's Java."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

from consumer.sandbox.errors import SandboxUnavailable
from consumer.sandbox.kafka.broker import LocalKafka
from consumer.sandbox.kafka.container import DockerKafka, missing_for_docker
from consumer.sandbox.kafka.external import ExternalKafka
from consumer.sandbox.kafka.jars import ensure_jars, missing_for_java
from consumer.sandbox.kafka.java import JavaKafka

Mode = Literal["auto", "external", "docker", "java"]

_WHAT_TO_DO = (
    "Install Java 17 or newer and Maven (Debian, Ubuntu: `apt-get install maven` brings both; "
    "macOS: `brew install openjdk maven`), or start Docker, or name a Kafka of yours in "
    "TEST_KAFKA_BOOTSTRAP_SERVERS."
)


@asynccontextmanager
async def local_kafka(
    mode: Mode = "auto", *, external: str | None = None, rng: random.Random | None = None
) -> AsyncIterator[LocalKafka]:
    """A Kafka that answers; gone without a trace afterwards, unless it is an external one.

    Args:
        mode: ``auto`` takes external, docker, java in this order.
        external: ``host:port`` of a Kafka to use; TEST_KAFKA_BOOTSTRAP_SERVERS where None.
        rng: picks ports and ids.

    Raises:
        SandboxUnavailable: this machine lacks what the mode needs; the message says what.
        SandboxError: the Kafka did not start.
    """
    kafka = await choose_kafka(mode, external=external, rng=rng)
    try:
        await kafka.start()
        yield kafka
    finally:
        await kafka.close()


async def choose_kafka(
    mode: Mode = "auto", *, external: str | None = None, rng: random.Random | None = None
) -> LocalKafka:
    """The Kafka that `local_kafka` would start, not started. Arguments and errors as there."""
    rng = random.Random() if rng is None else rng
    external = external or os.environ.get("TEST_KAFKA_BOOTSTRAP_SERVERS")
    if mode == "external" or (mode == "auto" and external):
        if not external:
            raise SandboxUnavailable("name the Kafka to use in TEST_KAFKA_BOOTSTRAP_SERVERS")
        return ExternalKafka(external)
    no_docker = await missing_for_docker() if mode in {"auto", "docker"} else "not asked for"
    if no_docker is None:
        return DockerKafka(rng)
    no_java = (
        await asyncio.to_thread(missing_for_java) if mode in {"auto", "java"} else "not asked for"
    )
    if no_java is None:
        return JavaKafka(rng)
    found = {"auto": f"{no_java}, and {no_docker}", "docker": no_docker, "java": no_java}[mode]
    raise SandboxUnavailable(f"Kafka can't be run on this machine: {found}. {_WHAT_TO_DO}")


async def prefetch() -> str:
    """Fetch ahead what the first start would fetch; returns one line about it.

    Raises:
        SandboxUnavailable: there is no way to run a Kafka here.
        SandboxError: fetching failed.
    """
    kafka = await choose_kafka()
    if isinstance(kafka, JavaKafka):
        return f"Kafka's jars are in {await ensure_jars()}"
    return f"nothing to fetch ahead for {kafka!r}"
