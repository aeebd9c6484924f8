"""Results as an iterator: a wait that is cancelled loses nothing, and ends nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from consumer.contract.received_result import ReceivedResult, ReceivedSource
from consumer.results.topic import Results


def result(event_id: str) -> ReceivedResult:
    source = ReceivedSource(topic="documents", partition=0, offset=0)
    return ReceivedResult(event_id=event_id, status="succeeded", source=source)


class Source:
    """Gives what is put, and raises what is put where that is an error; None ends it."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[str | Exception | None] = asyncio.Queue()
        self.is_closed = False

    async def results(self) -> AsyncGenerator[ReceivedResult, None]:
        try:
            while (each := await self.queue.get()) is not None:
                if isinstance(each, Exception):
                    raise each
                yield result(each)
        finally:
            self.is_closed = True


async def test_a_wait_that_is_cancelled_is_gone_on_with() -> None:
    """As with `asyncio.timeout` round each: a generator would be at its end from then on."""
    source = Source()
    async with aclosing(source.results()) as results, aclosing(Results(results)) as reader:
        for _ in range(2):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await anext(reader)
        for each in ("a", "b", None):
            source.queue.put_nowait(each)

        assert [found.event_id async for found in reader] == ["a", "b"]
        assert [found async for found in reader] == []


async def test_what_came_with_the_cancellation_is_given_next() -> None:
    source = Source()
    async with aclosing(source.results()) as results, aclosing(Results(results)) as reader:
        waiting = asyncio.create_task(anext(reader))
        source.queue.put_nowait("a")
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

        assert waiting.cancelled()
        assert (await anext(reader)).event_id == "a"


async def test_the_block_ends_while_one_is_asked_for() -> None:
    source = Source()
    async with aclosing(source.results()) as results, aclosing(Results(results)) as reader:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await anext(reader)

    assert source.is_closed


async def test_an_error_is_raised_to_who_waits() -> None:
    source = Source()
    source.queue.put_nowait(OSError("gone"))
    async with aclosing(source.results()) as results, aclosing(Results(results)) as reader:
        with pytest.raises(OSError, match="gone"):
            await anext(reader)
