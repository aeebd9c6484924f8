"""Operators' commands where there is no Kafka: the real client, which finds nobody."""

from __future__ import annotations

import orjson
import pytest

from consumer.sandbox.samples import sample_documents
from consumer.sandbox.simulator import Simulator
from tests.commands import PATIENCE, Commands
from tests.unit.kafka.test_unreachable import listening


@pytest.mark.parametrize(
    "words",
    [
        "dlq list", "dlq show x", "dlq stats", "dlq park --yes", "dlq export", "dlq replay",
        "dlq replay --yes", "dlq replay --resume 20260101-000000-0000", "dlq runs", "results",
        "publish -", "topics create",
    ],
)  # fmt: skip
async def test_a_kafka_that_is_not_there_is_a_line(commands: Commands, words: str) -> None:
    """Exit 1 within seconds, and no API key is needed for any of it."""
    nowhere = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "ANYTHINGLLM_API_KEY": ""}
    event = orjson.dumps(sample_documents(1, seed=1)[0])
    ended = await commands.run(*words.split(), settings=nowhere, stdin=event)

    assert (ended.code, ended.out, ended.err.count("\n")) == (1, "", 1)
    assert ended.err.startswith("error: Kafka: ")
    assert "at 127.0.0.1:1 failed: nothing listens there (connection refused)" in ended.err
    assert ended.err.count("127.0.0.1:1") == 1
    assert ended.seconds < PATIENCE / 2


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "a web server listens there, and not Kafka"),
        (b"SSH-2.0-OpenSSH_9\r\n", "does not speak Kafka's protocol"),
        (bytes((0x15, 3, 3, 0, 2, 2, 70)), "TLS is spoken there"),
        (b"", "ended the connection: is KAFKA_SECURITY_PROTOCOL right?"),
    ],
)
async def test_who_listens_there_instead_is_told(
    commands: Commands, answer: bytes, why: str
) -> None:
    """By every command: all of them reach Kafka in the same ways."""
    async with listening(answer) as address:
        ended = await commands.run(
            "dlq", "stats", settings={"KAFKA_BOOTSTRAP_SERVERS": address, "ANYTHINGLLM_API_KEY": ""}
        )

    assert ended.code == 1
    assert f"at {address} failed: " in ended.err
    assert why in ended.err
    assert ended.err.count(address) == 1


@pytest.mark.parametrize(
    "words", ["audit", "audit --republish --yes", "where x", "workspaces repair --repack --yes"]
)
async def test_who_also_asks_anythingllm_says_the_same(
    commands: Commands, simulator: Simulator, words: str
) -> None:
    """Half of an audit, or of a story, is none."""
    nowhere = {
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "ANYTHINGLLM_ENDPOINT": simulator.endpoint,
        "ANYTHINGLLM_API_KEY": simulator.api_key,
    }
    ended = await commands.run(*words.split(), settings=nowhere)

    assert (ended.code, ended.out, ended.err.count("\n")) == (1, "", 1)
    assert ended.err.startswith("error: Kafka: ")
