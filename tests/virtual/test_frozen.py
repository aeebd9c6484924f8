"""An AnythingLLM that takes requests and answers none: the probes tell of it at once."""

from __future__ import annotations

import asyncio
import random

import pytest

from consumer.app.anythingllm_watch import AnythingLLMWatch
from consumer.app.condition import ServerCondition
from tests.virtual.loop import virtually
from tests.virtual.world import World, event, world

REQUEST_TIMEOUT = 30.0


def _condition(w: World) -> ServerCondition:
    watch = AnythingLLMWatch(w.client, rng=random.Random(1))
    return ServerCondition(None, w.client, watch, w.pipeline.gates, w.pipeline.index)


@pytest.mark.parametrize("documents", [1, 8])
def test_readiness_degrades_after_the_first_time_outs(documents: int) -> None:
    """Before the breaker opens, which takes several; and it is well once something is answered."""

    @virtually
    async def run() -> None:
        async with world() as w:
            condition = _condition(w)
            w.sim.faults.add("hold")
            for n in range(documents):
                w.publish(event(f"d{n}", ["a text"]))
            await asyncio.sleep(REQUEST_TIMEOUT - 1)
            assert list(condition.degraded()) == []
            await asyncio.sleep(2)
            (worry,) = condition.degraded()
            assert "no complete answer within 30.0 s" in worry
            assert w.client.breaker.state == "closed"
            w.sim.faults.clear()
            await w.settled()
            assert list(condition.degraded()) == []

    run()
