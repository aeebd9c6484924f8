"""Starts into trouble: alive and waiting where that helps, a clear end where it does not."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from consumer.sandbox.kafka.broker import free_ports
from consumer.sandbox.kafka.java import JavaKafka
from consumer.sandbox.samples import sample_documents
from tests.e2e.support import CANARY, PATIENCE, Process, Stage, topics_of, write_events
from tests.integration.test_local_kafka import needs_java


@pytest.fixture
def free_port() -> int:
    """A port where nobody listens."""
    (port,) = free_ports(1, random.Random())
    return port


@asynccontextmanager
async def forwarded(port: int, target: str) -> AsyncIterator[None]:
    """The target is reached at this port as well while the block runs."""
    host, _, to = target.rpartition(":")

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(host, int(to))
        await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    try:
        yield
    finally:
        server.close()


@asynccontextmanager
async def silent() -> AsyncIterator[str]:
    """The address of something that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


async def stopped(service: Process, seconds: float = PATIENCE) -> None:
    """An orderly end."""
    service.signal(signal.SIGTERM)
    assert await service.ended(seconds) == 0
    assert service.err == ""


def lines_of(service: Process) -> int:
    return len(service.out.splitlines())


async def works(stage: Stage, service: Process) -> None:
    """One document goes all the way."""
    path = write_events(stage.programs.folder / "one.ndjson", sample_documents(1))
    await stage.publish(path)
    (result,) = await stage.until_results(1)
    assert result.status == "succeeded"
    assert await service.until_ready() == ""


async def test_without_kafka_it_waits_and_goes_on_by_itself(stage: Stage, free_port: int) -> None:
    """Alive, not ready, with the cause in the log and in /readyz; ready once Kafka is there."""
    service = await stage.run(KAFKA_BOOTSTRAP_SERVERS=f"127.0.0.1:{free_port}")
    waiting = await service.until_logged("start.waiting")

    assert f"127.0.0.1:{free_port}" in waiting["error"]
    assert (await service.page("/livez"))[0] == 200
    status, word, reasons = await service.readiness()
    assert (status, word) == (503, "not ready")
    assert f"127.0.0.1:{free_port}" in reasons

    async with forwarded(free_port, stage.settings["KAFKA_BOOTSTRAP_SERVERS"]):
        await works(stage, service)
        await stopped(service)


async def test_without_topics_it_names_them_and_the_command(bare_stage: Stage) -> None:
    """A topic that nobody created is told by its name with what to do; then it goes on."""
    service = await bare_stage.run()
    waiting = await service.until_logged("start.waiting")

    assert bare_stage.settings["KAFKA_DOCUMENTS_TOPIC"] in waiting["error"]
    assert "topics create" in waiting["error"]
    assert (await service.readiness())[0] == 503
    async with topics_of(bare_stage.settings, 2):
        await works(bare_stage, service)
        await stopped(service)


async def test_what_is_no_kafka_is_waited_for_as_well(stage: Stage) -> None:
    """A port of something else is an outage with a cause, not a crash, and not a flood of lines."""
    address = stage.simulator.endpoint.removeprefix("http://")
    service = await stage.run(KAFKA_BOOTSTRAP_SERVERS=address)
    await service.until_logged("start.waiting", count=2)

    assert (await service.page("/livez"))[0] == 200
    assert lines_of(service) < 15
    await stopped(service)


async def test_a_stop_does_not_wait_for_a_kafka_that_says_nothing(stage: Stage) -> None:
    """Something that takes connections and stays silent holds up neither probes nor a stop."""
    async with silent() as address:
        service = await stage.run(KAFKA_BOOTSTRAP_SERVERS=address)
        await service.until_logged("anythingllm.reached")
        assert (await service.page("/livez"))[0] == 200
        began = time.monotonic()
        await stopped(service)

    assert time.monotonic() - began < 20, "it waited for an answer"


async def test_without_anythingllm_documents_wait(stage: Stage) -> None:
    """Ready but degraded, nothing dead-lettered, and all goes on when AnythingLLM is there."""
    await stage.simulator.stop()
    service = await stage.run()
    waiting = await service.until_logged("start.waiting")
    assert "AnythingLLM" in waiting["error"]
    assert "AnythingLLM" in await service.until_ready("degraded")
    await stage.publish(write_events(stage.programs.folder / "e.ndjson", sample_documents(3)))
    await service.until_logged("breaker.probe_failed")
    assert (await service.readiness())[0] == 200

    await stage.simulator.start()
    results = await stage.until_results(3)
    assert {result.status for result in results} == {"succeeded"}
    assert await service.until_ready() == ""
    await stopped(service)


async def test_with_a_wrong_key_documents_wait(stage: Stage) -> None:
    """One line names the setting; a key that becomes valid again is enough to go on."""
    stage.simulator.faults.key_revoked = True
    service = await stage.run()
    waiting = await service.until_logged("start.waiting")
    assert waiting["error"].count("ANYTHINGLLM_API_KEY") == 1
    assert "ANYTHINGLLM_API_KEY" in await service.until_ready("degraded")
    await stage.publish(write_events(stage.programs.folder / "e.ndjson", sample_documents(3)))
    probed = await service.until_logged("breaker.probe_failed", count=2)
    assert "ANYTHINGLLM_API_KEY" in probed["error"]
    assert len(service.logged("start.waiting")) == 1

    stage.simulator.faults.key_revoked = False
    results = await stage.until_results(3)
    assert {result.status for result in results} == {"succeeded"}
    assert await service.until_ready() == ""
    await stopped(service)


@pytest.mark.slow
async def test_a_breaker_that_is_open_is_degraded(stage: Stage) -> None:
    """An outage in mid-life: ready, degraded, told in metrics; it closes by itself."""
    service = await stage.run(BREAKER_RECOVERY_SECONDS="1")
    await service.until_ready()
    await stage.simulator.stop()
    await stage.publish(write_events(stage.programs.folder / "e.ndjson", sample_documents(3)))
    changed = await service.until_logged("breaker.changed")
    assert changed["new"] == "open"
    assert "AnythingLLM" in await service.until_ready("degraded")

    await stage.simulator.start()
    await stage.until_results(3)
    assert await service.until_ready() == ""
    metrics = await service.metrics()
    assert metrics["breaker_state closed"] == 1
    assert metrics["breaker_state open"] == 0
    await stopped(service)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}, "Kafka: "),
        ({"KAFKA_DOCUMENTS_TOPIC": "test-nowhere"}, "test-nowhere"),
        ({"ANYTHINGLLM_ENDPOINT": "http://127.0.0.1:1"}, "AnythingLLM"),
        ({"ANYTHINGLLM_API_KEY": CANARY + "-wrong"}, "ANYTHINGLLM_API_KEY"),
    ],
    ids=["kafka", "topic", "anythingllm", "key"],
)
async def test_fail_fast_ends_with_one_line(stage: Stage, wrong: dict[str, str], told: str) -> None:
    """For those who want their orchestrator to wait instead: exit 1 and the reason."""
    ended = await stage.program("run", "--fail-fast", settings=wrong)

    assert ended.code == 1
    (line,) = ended.err.splitlines()
    assert line.startswith("error: ")
    assert told in line
    assert ended.seconds < PATIENCE / 2


async def test_a_port_in_use_is_told(stage: Stage) -> None:
    """Exit 1 with one line that names the setting."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = await stage.program("run", settings={"ADMIN_PORT": str(port)})

    assert ended.code == 1
    (line,) = ended.err.splitlines()
    assert f"127.0.0.1:{port}" in line
    assert "ADMIN_PORT" in line


@pytest.mark.slow
@needs_java
@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_a_stop_without_kafka_is_orderly(bare_stage: Stage, how: str, tmp_path: Path) -> None:
    """With Kafka gone in mid-life a stop still ends soon, with 0 and without a traceback."""
    kafka = JavaKafka(random.Random())
    try:
        await kafka.start()
        pid = kafka.pid
        assert pid is not None
        settings = {"KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers}
        created = await bare_stage.command("topics", "create", settings=settings)
        assert created.code == 0, created.err
        service = await bare_stage.run(**settings)
        await service.until_ready()
        if how == "killed":
            await kafka.stop(hard=True)
        else:
            os.kill(pid, signal.SIGSTOP)
        assert "Kafka" in await service.until_ready("not ready")
        assert (await service.page("/livez"))[0] == 200
        began = time.monotonic()
        await stopped(service, seconds=30)
        assert time.monotonic() - began < 20
        assert service.logged("service.stopped")
    finally:
        await kafka.close()
