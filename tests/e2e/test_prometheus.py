"""A real Prometheus scrapes the running service, and evaluates all alerts and the dashboard."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from consumer.kafka.topics import open_admin
from consumer.sandbox.samples import sample_documents
from consumer.settings import load_settings
from consumer.wiring.topics import topic_specs
from tests.deploy.dashboard import queries
from tests.deploy.places import ALERTS, MONITORING, alerts, program, read_yaml
from tests.deploy.promql import asked_of
from tests.e2e.support import PATIENCE, Process, Stage, write_events
from tests.topics import create_topics

# Only a service with several AnythingLLMs has this series; starts are over when we look.
_EMPTY_METRIC, _EMPTY_QUERY = "anythingllm_consumer_workspaces_homeless", "Starts"


@dataclass(frozen=True, slots=True)
class Prometheus:
    """One that runs."""

    address: str
    session: aiohttp.ClientSession

    async def asked(self, path: str, **parameters: str) -> Any:
        """What the API has to say.

        Raises:
            AssertionError: it is an error, or a warning.
        """
        async with self.session.get(f"{self.address}/api/v1/{path}", params=parameters) as answer:
            body = await answer.json()
        assert body["status"] == "success", body
        assert not body.get("warnings"), body
        return body["data"]

    async def values(self, expression: str) -> list[float]:
        """Of all series that an expression gives now."""
        found = await self.asked("query", query=expression)
        return [float(series["value"][1]) for series in found["result"]]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _configuration(folder: Path, target: str) -> Path:
    """The one that is shipped, but for whom it asks and how often."""
    configuration = read_yaml(MONITORING / "prometheus.yaml")
    configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    configuration["rule_files"] = [str(ALERTS)]
    (job,) = configuration["scrape_configs"]
    job["static_configs"] = [{"targets": [target]}]
    path = folder / "prometheus.yaml"
    path.write_text(yaml.safe_dump(configuration))
    return path


@asynccontextmanager
async def prometheus(folder: Path, service: Process) -> AsyncIterator[Prometheus]:
    """Scrapes the service once a second while the block runs."""
    listening = await service.until_logged("admin.listening")
    path = _configuration(folder, f"{listening['host']}:{listening['port']}")
    address = f"127.0.0.1:{_free_port()}"
    process = await asyncio.create_subprocess_exec(
        program("prometheus", "prometheus"),
        f"--config.file={path}",
        f"--storage.tsdb.path={folder / 'series'}",
        f"--web.listen-address={address}",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with aiohttp.ClientSession() as session:
            await _until(lambda: _ready(session, f"http://{address}"), "Prometheus is ready")
            yield Prometheus(f"http://{address}", session)
    finally:
        process.kill()
        await process.wait()


async def _ready(session: aiohttp.ClientSession, address: str) -> bool:
    try:
        async with session.get(f"{address}/-/ready") as answer:
            return answer.status == 200
    except aiohttp.ClientConnectionError:
        return False  # it does not listen yet


async def _until_there(server: Prometheus, expression: str) -> None:
    await _until(lambda: server.values(expression), expression)


async def _until(ask: Callable[[], Awaitable[object]], what: str) -> None:
    give_up = time.monotonic() + PATIENCE
    while not await ask():
        assert time.monotonic() < give_up, f"not within {PATIENCE:.0f} s: {what}"
        await asyncio.sleep(0.1)


@pytest.mark.slow
async def test_alerts_and_dashboard_on_a_running_service(stage: Stage, tmp_path: Path) -> None:
    """Each alert is evaluated, none is wrongly active, and no panel stays empty.

    After work with one dead letter; that one alert alone is active.
    """
    documents = sample_documents(6, seed=3, technologies=("lanterns",), max_chunks=4)
    documents[-1]["chunks"][0]["content"] = "refuse this text"
    stage.simulator.faults.add(
        "status", status=422, body="{}", path="*/raw-text", contains="refuse this text"
    )
    service = await stage.run()
    async with prometheus(tmp_path, service) as server:
        await _until_there(server, "anythingllm_consumer_partitions_assigned > 0")
        await stage.publish(write_events(stage.programs.folder / "events.ndjson", documents))
        await stage.until_results(len(documents))
        await _until_there(server, "increase(anythingllm_consumer_dead_letters_total[1m]) > 0")
        await _until_there(server, 'ALERTS{alertname="AnythingLLMConsumerDeadLetters"}')

        (group,) = (await server.asked("rules"))["groups"]
        assert [rule["name"] for rule in group["rules"]] == [each["alert"] for each in alerts()]
        for rule in group["rules"]:
            assert (rule["health"], rule.get("lastError", "")) == ("ok", ""), rule
        active = {rule["name"] for rule in group["rules"] if rule["state"] != "inactive"}
        assert active == {"AnythingLLMConsumerDeadLetters"}

        for title, expression in queries():
            metrics = {asked.name for asked in asked_of(expression)}
            empty = _EMPTY_METRIC in metrics or title == _EMPTY_QUERY
            assert bool(await server.values(expression)) != empty, f"{title}: {expression}"


def _within_seconds(alert: str) -> str:
    """An alert's expression that looks back for seconds where it looks back for minutes."""
    (rule,) = [each for each in alerts() if each["alert"] == alert]
    return re.sub(r"\[\w+\]", "[5s]", rule["expr"])


@pytest.mark.release
async def test_alerts_see_what_they_are_for(stage: Stage, tmp_path: Path) -> None:
    """Kafka that takes no results, and AnythingLLM that is away: each its own alert's state.

    The rules test makes its series up; here the service makes them.
    """
    silent, away = (
        _within_seconds(f"AnythingLLMConsumer{name}") for name in ("NotReady", "BreakerOpen")
    )
    documents = sample_documents(6, seed=3, technologies=("lanterns",), max_chunks=4)
    service = await stage.run(BREAKER_RECOVERY_SECONDS="1")
    await service.until_ready()
    async with prometheus(tmp_path, service) as server:
        await _until_there(server, "rate(anythingllm_consumer_documents_total[5s]) == 0")
        assert await server.values(silent) == await server.values(away) == []

        async with open_admin(stage.connection) as admin:
            await admin.delete([stage.settings["KAFKA_RESULTS_TOPIC"]])
        await stage.publish(write_events(stage.programs.folder / "first.ndjson", documents))
        await _until_there(server, silent)
        await create_topics(stage.connection, topic_specs(load_settings(stage.settings), 4))
        await stage.until_results(len(documents))
        await _until(lambda: _empty(server, silent), "results are taken again")

        stage.simulator.faults.add("status", status=503, body="")
        further = sample_documents(6, seed=4, technologies=("lanterns",), max_chunks=4)
        await stage.publish(write_events(stage.programs.folder / "second.ndjson", further))
        await _until_there(server, away)
        assert await server.values(silent) == []
        stage.simulator.faults.clear()
        await _until(lambda: _empty(server, away), "AnythingLLM is back")


async def _empty(server: Prometheus, expression: str) -> bool:
    return not await server.values(expression)
