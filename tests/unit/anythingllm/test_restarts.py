from __future__ import annotations

import asyncio

import pytest

from consumer.anythingllm.errors import (
    AnythingLLMConnectionError,
    AnythingLLMError,
    AnythingLLMProtocolError,
    AnythingLLMTimeoutError,
    failure_of,
)
from consumer.anythingllm.restarts import PINGS, Restarts
from tests.virtual.loop import virtually

NEVER = float("-inf")


def _says(status: int) -> AnythingLLMError:
    return failure_of("GET /ping", status, changes=False)


class _Server:
    """Answers pings in turn, the last answer for ever; None is AnythingLLM's own."""

    def __init__(self, *answers: AnythingLLMError | None) -> None:
        self.answers = list(answers)
        self.pings = 0
        self.refused_at = NEVER

    async def ping(self) -> None:
        self.pings += 1
        await asyncio.sleep(0.01)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is not None:
            raise answer

    def restarts(self) -> Restarts:
        clock = asyncio.get_running_loop().time
        return Restarts(
            self.ping, refused_at=lambda: self.refused_at, clock=clock, sleep=asyncio.sleep
        )


@pytest.mark.parametrize(
    ("answers", "is_away"),
    [
        ([_says(502), _says(502)], True),
        ([_says(503), _says(521)], True),
        ([_says(523), _says(502)], True),
        ([None], False),
        ([_says(502), None], False),
        ([_says(504)], False),
        ([_says(524)], False),
        ([_says(500)], False),
        ([AnythingLLMTimeoutError("busy")], False),
        ([AnythingLLMProtocolError("a login page", http_status=200)], False),
        ([AnythingLLMConnectionError("it broke")], False),
    ],
)
def test_only_two_answers_in_a_row_that_nobody_is_there_say_so(
    answers: list[AnythingLLMError | None], is_away: bool
) -> None:
    """One is also what a proxy says whose connection was closed a moment before."""

    @virtually
    async def run() -> None:
        restarts = _Server(*answers).restarts()
        await restarts.look()

        assert (restarts.away_at > NEVER) is is_away

    run()


@virtually
async def test_a_refused_connection_says_so_by_itself() -> None:
    """There the transport notes it."""
    server = _Server(None)
    restarts = server.restarts()
    server.refused_at = 7.0

    assert restarts.away_at == 7.0


@virtually
async def test_hundreds_in_doubt_ping_once() -> None:
    """AnythingLLM has one thread, and comes back to all of them."""
    server = _Server(_says(502))
    restarts = server.restarts()

    async def late(n: int) -> None:
        await asyncio.sleep(n / 10_000)
        await restarts.look()

    await asyncio.gather(*(late(n) for n in range(500)))

    assert server.pings == PINGS
