"""SASL/OAUTHBEARER on a real broker: tokens, connections that end with them, and what is told."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import AsyncIterator, Callable, Iterable, MutableMapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from consumer.kafka.groups import GroupOffset
from consumer.kafka.topic_spec import TopicSpec
from consumer.sandbox.kafka.jars import missing_for_java
from consumer.settings import load_settings
from consumer.wiring.kafka import kafka_clients
from tests.commands import Commands
from tests.integration.oauth_kafka import SECRET, TokenEndpoint, TokenKafka, token_endpoint
from tests.integration.service_fixtures import Stage, open_stage
from tests.staging import document, texts

pytestmark = [
    pytest.mark.kafka,
    # aiokafka 0.14 drops a connection at whose end it has arrived without closing it
    # (`AIOKafkaClient._get_conn`), and here the broker ends each after two seconds.
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in. <function StreamWriter"
        ":pytest.PytestUnraisableExceptionWarning"
    ),
]

REAUTH_MS = 2000


@pytest.fixture
async def guarded() -> AsyncIterator[TokenKafka]:
    if (missing := await asyncio.to_thread(missing_for_java)) is not None:
        pytest.skip(missing)
    kafka = TokenKafka(random.Random(), REAUTH_MS)
    try:
        await kafka.start()
        yield kafka
    finally:
        await kafka.close()


@pytest.fixture
async def endpoint() -> AsyncIterator[TokenEndpoint]:
    async with token_endpoint() as one:
        yield one


@pytest.fixture
async def stage(
    guarded: TokenKafka, endpoint: TokenEndpoint, unique_name: Callable[[str], str]
) -> AsyncIterator[Stage]:
    """All of it, with tokens that outlive the connections by far."""
    settings = endpoint.settings | {"KAFKA_BOOTSTRAP_SERVERS": guarded.guarded}
    async with open_stage(guarded, unique_name, settings) as stage:
        yield stage


async def _goes_on(
    stage: Stage,
    connections: Callable[[], int],
    more: int,
    *,
    is_enough: Callable[[], bool] = lambda: True,
) -> int:
    """Publish event by event, each answered, until so many connections were made anew.

    Returns:
        How many events there are.
    """
    wanted, count = connections() + more, 0
    async with asyncio.timeout(60):
        while connections() < wanted or not is_enough():
            await stage.publish(document(f"doc-{count}", texts(f"doc-{count}", 2)))
            count += 1
            await stage.wait_results(count)
    return count


@pytest.mark.parametrize("token_seconds", [60.0, 3.0], ids=["token-lives", "token-ends"])
async def test_connections_that_end_cost_nothing(
    stage: Stage,
    endpoint: TokenEndpoint,
    caplog: pytest.LogCaptureFixture,
    token_seconds: float,
) -> None:
    """Aiokafka does not authenticate again, so the broker closes each connection at its limit.

    New ones are made: every event is answered once and stored once, nothing of ours complains.
    """
    caplog.set_level(logging.INFO, "aiokafka.conn")
    endpoint.seconds = token_seconds
    with capture_logs() as logs:
        await stage.start()
        ends = token_seconds < 10
        events = await _goes_on(
            stage,
            lambda: len(caplog.records),
            15,
            is_enough=lambda: not ends or endpoint.given >= 3,
        )
        await stage.finish()

    assert len(stage.results) == events
    assert stage.stored() == {f"doc-{n}": sorted(texts(f"doc-{n}", 2)) for n in range(events)}
    assert [line for line in logs if line["log_level"] not in {"debug", "info"}] == []
    assert (endpoint.given >= 3) == ends


async def test_while_there_is_no_token_the_service_waits(
    stage: Stage, endpoint: TokenEndpoint
) -> None:
    """It is told once, with what to look at; nothing is lost or answered twice."""
    endpoint.seconds = 3.0
    with capture_logs() as logs:
        await stage.start()
        endpoint.down = True
        async with asyncio.timeout(40):
            while not _told_of_token(logs):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.05)
        await stage.publish(document("waits", ["text"]))  # by a connection that is there
        async with asyncio.timeout(40):
            while len(endpoint.forms) < endpoint.given + 2:  # noqa: ASYNC110 - likewise
                await asyncio.sleep(0.05)
        assert stage.results == []
        endpoint.down = False
        await stage.wait_results(1)
        await stage.finish()

    first, *_ = _told_of_token(logs)
    assert "answers 503" in first["error"]
    assert "KAFKA_SASL_OAUTH_TOKEN_ENDPOINT" in first["error"]
    assert [result["document_id"] for result in stage.results] == ["waits"]


def _told_of_token(logs: Iterable[MutableMapping[str, Any]]) -> list[MutableMapping[str, Any]]:
    return [line for line in logs if line["event"] == "kafka.token_failed"]


async def test_commands_that_take_long_outlive_their_connections(
    guarded: TokenKafka,
    endpoint: TokenEndpoint,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A replay or an audit takes hours: what is asked at a connection's limit is asked again."""
    caplog.set_level(logging.INFO, "aiokafka.conn")
    env = endpoint.settings | {"KAFKA_BOOTSTRAP_SERVERS": guarded.guarded}
    clients = kafka_clients(load_settings(env, needs_anythingllm=False))
    async with clients.admin() as admin:
        asked = (
            admin.cluster_id,
            lambda: admin.partitions("t"),
            lambda: admin.states(["t"]),
            lambda: admin.members("g"),
            lambda: admin.groups(""),
            lambda: admin.places("g"),
            lambda: admin.commit("g", {("t", 0): GroupOffset(1)}),
            lambda: admin.group_kind("g"),
        )
        await admin.create([TopicSpec("t", "a test", 1)], 1)
        for ask in asked:
            await ask()
            before = len(caplog.records)
            async with asyncio.timeout(20):
                while len(caplog.records) == before:
                    await asyncio.sleep(0.1)
                    await ask()


async def test_check_says_what_is_wrong_with_tokens(
    guarded: TokenKafka, endpoint: TokenEndpoint, commands: Commands
) -> None:
    """The endpoint does not know us, is away, or gives what the broker refuses. No secret."""
    env = endpoint.settings | {
        "KAFKA_BOOTSTRAP_SERVERS": guarded.guarded,
        "ANYTHINGLLM_API_KEY": "k",
    }

    async def told(**changes: str) -> str:
        ended = await commands.run("check", "--json", settings=env | changes)
        assert SECRET not in ended.out + ended.err
        assert "OTHER" not in ended.out + ended.err
        (kafka,) = [found for found in map(json.loads, ended.lines) if found["subject"] == "Kafka"]
        return str(kafka["finding"]) if not kafka["ok"] else ""

    assert await told() == ""
    unknown = await told(KAFKA_SASL_OAUTH_CLIENT_SECRET="OTHER-secret")
    posted = await told(
        KAFKA_SASL_OAUTH_CLIENT_SECRET="OTHER-secret", KAFKA_SASL_OAUTH_CLIENT_AUTH="post"
    )
    away = await told(KAFKA_SASL_OAUTH_TOKEN_ENDPOINT="http://127.0.0.1:1/token")
    wrong = await told(KAFKA_SASL_OAUTH_TOKEN_ENDPOINT=endpoint.url + "s")
    endpoint.worthless = True
    refused = await told()

    assert "401 invalid_client (Client secret  is wrong)" in unknown
    assert "Client secret *** is wrong" in posted
    assert "KAFKA_SASL_OAUTH_CLIENT_SECRET" in unknown
    assert "can't be asked (ConnectionRefusedError" in away
    assert "answers 404, and no JSON object; check KAFKA_SASL_OAUTH_TOKEN_ENDPOINT" in wrong
    assert "the broker does not take our token (status invalid_token" in refused
