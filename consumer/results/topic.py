"""The results topic as an iterator: each event's first result, if it is wanted.

Its Kafka client is aiokafka; `consumer.results` does without.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

from consumer.contract.received_result import ReceivedResult
from consumer.kafka.connection import KafkaConnection
from consumer.kafka.connection import KafkaUnavailableError as KafkaUnavailableError
from consumer.kafka.reader import Records
from consumer.kafka.start import Start
from consumer.kafka.tail import open_tail, read_since
from consumer.results.sieve import EVERYTHING, REMEMBERED, Sieve, Wanted
from consumer.telemetry.library_log import library_logger

log = library_logger(__name__)

RESULTS_TOPIC = "documents.upload-results"


class Results(AsyncIterator[ReceivedResult]):
    """The results of `open_results`, for one task at a time.

    Waiting for the next one may be cancelled, as by `asyncio.timeout`: nothing is lost, and whoever
    asks again waits on. A generator would end there, and look as if no more came.

    Args:
        source: where they come from.
    """

    def __init__(self, source: AsyncIterator[ReceivedResult]) -> None:
        self._source = source
        self._asked: asyncio.Task[ReceivedResult | None] | None = None

    async def __anext__(self) -> ReceivedResult:
        """The next one.

        Raises:
            KafkaUnavailableError: see `open_results`.
            StopAsyncIteration: that was all, with ``until_end``.
        """
        if self._asked is None:
            self._asked = asyncio.create_task(self._next(), name="next result")
        await asyncio.wait({self._asked})
        asked, self._asked = self._asked, None
        result = asked.result()
        if result is None:
            raise StopAsyncIteration
        return result

    async def aclose(self) -> None:
        """Ask for nothing more. `open_results` calls it at the end of its block."""
        if (asked := self._asked) is not None:
            asked.cancel()
            await asyncio.wait({asked})
            if not asked.cancelled() and (error := asked.exception()) is not None:
                log.debug("result.unasked", error=str(error))  # nobody waits for it any more

    async def _next(self) -> ReceivedResult | None:
        return await anext(self._source, None)


@asynccontextmanager
async def open_results(
    kafka: str | KafkaConnection,
    *,
    group: str | None = None,
    topic: str = RESULTS_TOPIC,
    start: Start = "beginning",
    wanted: Wanted = EVERYTHING,
    until_end: bool = False,
    remembered: int = REMEMBERED,
) -> AsyncIterator[Results]:
    """Results as they come, oldest first within a partition; for one task at a time.

    With a group, its members share the partitions, and who comes back goes on where the group was.
    A result counts as read once the next one is asked for. That is committed about every second,
    when partitions go to another member and at the end of the block. So after a crash of yours
    some results come again: where a second effect would hurt, keep ``event_id`` beside the effect.

    A wait for the next result may be cancelled, as by `asyncio.timeout`, and asked for again.

    Without a group everything from ``start`` on comes, each time. Partitions that a topic gets
    later are seen by groups alone.

    What is on the topic and no result is skipped, with a line in the log.

    Args:
        kafka: ``host:port``, comma separated; a `KafkaConnection` for TLS and passwords.
        group: consumer group; None: alone.
        topic: where the service publishes its results.
        start: ``beginning``, ``now``, or from when (aware, by the records' timestamps). With a
            group only for what it has committed nothing of.
        wanted: which results.
        until_end: end at what is there now, partition by partition, instead of waiting for more;
            without a group.
        remembered: of how many events repeats are known, about 150 bytes each.

    Raises:
        KafkaUnavailableError: Kafka can't be reached or refuses, or there is no such topic; also
            while results are read.
        ValueError: ``start`` has no time zone, or a group is to stop at the end.
    """
    if until_end and group is not None:
        raise ValueError("a group has no end that it could stop at: until_end is without a group")
    connection = KafkaConnection(kafka) if isinstance(kafka, str) else kafka
    sieve = Sieve(wanted, remembered=remembered)
    if until_end:
        async with (
            aclosing(read_since(connection, topic, start)) as records,
            aclosing(_through(sieve, records)) as source,
            aclosing(Results(source)) as results,
        ):
            yield results
        return
    async with (
        open_tail(connection, topic, group_id=group, start=start) as tail,
        aclosing(tail.records()) as records,
        aclosing(_through(sieve, records)) as source,
        aclosing(Results(source)) as results,
    ):
        yield results


async def _through(sieve: Sieve, records: Records) -> AsyncGenerator[ReceivedResult, None]:
    async for record in records:
        try:
            result = sieve.take(record.value, record.key, record.headers)
        except ValueError as error:
            log.warning("result.skipped", record=str(record.at), problem=str(error))
            continue
        if result is not None:
            yield result
