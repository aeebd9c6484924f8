"""How errors of Kafka's client are worded."""

from __future__ import annotations

import logging

import pytest
from aiokafka.errors import IllegalSaslStateError, KafkaConnectionError

from consumer.kafka.connection import (
    KafkaConnection,
    KafkaUnavailableError,
    explained,
    in_short,
)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (TimeoutError(), "TimeoutError: no answer in time"),
        (TimeoutError("no answer within 15 s"), "TimeoutError: no answer within 15 s"),
        (AssertionError(), "AssertionError"),
        (OSError("x" * 400), "OSError: " + "x" * 291),
    ],
)
def test_an_error_without_words_gets_some(error: Exception, told: str) -> None:
    """A line that ends with a colon tells nobody what happened."""
    assert in_short(error) == told


async def test_what_took_too_long_is_told_as_that() -> None:
    """On `/readyz` and in `check`, while no broker answers."""
    with pytest.raises(KafkaUnavailableError, match=r"at k:9092 failed: .*no answer in time$"):
        async with explained("reading end offsets", KafkaConnection("k:9092")):
            raise TimeoutError


async def test_a_port_without_sasl_is_named() -> None:
    """Its error is a number and the name of a state."""
    error = IllegalSaslStateError("<AIOKafkaConnection>")

    async def connect() -> None:
        async with explained("connecting", KafkaConnection("k:9092")):
            logging.getLogger("aiokafka").error("Unable connect to %s: %s", "k:9092", error)
            raise KafkaConnectionError("Unable to bootstrap from k:9092")

    with pytest.raises(KafkaUnavailableError, match="takes no SASL on this port"):
        await connect()
