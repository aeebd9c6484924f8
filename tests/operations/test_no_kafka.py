"""Operators' commands where there is no Kafka: the real client, which finds nobody."""

from __future__ import annotations

import pytest

from consumer.sandbox.simulator import Simulator
from tests.commands import PATIENCE, Commands


@pytest.mark.parametrize(
    "words",
    [
        "dlq list", "dlq show x", "dlq stats", "dlq park --yes", "dlq export", "dlq replay",
        "dlq replay --yes", "dlq replay --resume 20260101-000000-0000", "dlq runs", "results",
    ],
)  # fmt: skip
async def test_a_kafka_that_is_not_there_is_a_line(commands: Commands, words: str) -> None:
    """Exit 1 within seconds, and no API key is needed for any of it."""
    nowhere = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "ANYTHINGLLM_API_KEY": ""}
    ended = await commands.run(*words.split(), settings=nowhere)

    assert (ended.code, ended.out, ended.err.count("\n")) == (1, "", 1)
    assert ended.err.startswith("error: Kafka: ")
    assert "127.0.0.1:1" in ended.err
    assert ended.seconds < PATIENCE / 2


@pytest.mark.parametrize("words", ["audit", "where x"])
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
