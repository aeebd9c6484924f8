"""What was wrong with AnythingLLM at the start: where it is, what happened, each said once."""

from __future__ import annotations

import random

import pytest

from consumer.anythingllm import AnythingLLMClient, AnythingLLMConfig
from consumer.app.anythingllm_watch import AnythingLLMWatch
from consumer.app.errors import StartFailedError

NOWHERE = "http://127.0.0.1:1"


async def test_nobody_there_is_told_with_the_address() -> None:
    """A wrong address is seen by reading it."""
    async with AnythingLLMClient(AnythingLLMConfig(NOWHERE, "CANARY-key")) as client:
        watch = AnythingLLMWatch(client, rng=random.Random(1))
        await watch.look()
        with pytest.raises(StartFailedError) as failed:
            await watch.look(fail_fast=True)

    told = (
        f"AnythingLLM's server at {NOWHERE}: GET /ping: not sent, no connection"
        " (Connection refused)"
    )
    assert (watch.trouble, str(failed.value)) == (told, told)
