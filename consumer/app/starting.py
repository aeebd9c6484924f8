"""Starting while what we need may not be there: it is logged, waited for, given up on a stop."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from typing import TypeVar

import structlog

from consumer.app.errors import StartFailedError
from consumer.kafka.connection import KafkaConnection, KafkaUnavailableError, without_aiokafka_log
from consumer.kafka.group_kinds import ANOTHER_GROUP
from consumer.kafka.topics import open_admin
from consumer.resilience.retry import RetryPolicy

log = structlog.get_logger(__name__)

T = TypeVar("T")

START_RETRY = RetryPolicy(attempts=1, base=1.0, cap=15.0)
_GIVE_UP_SECONDS = 5.0


class Starting:
    """Tries steps until they work or the service is stopped.

    Args:
        stop: set when the service is to stop.
        fail_fast: raise at a step's first failure.
    """

    def __init__(self, stop: asyncio.Event, *, fail_fast: bool, rng: random.Random) -> None:
        self._stop = stop
        self._fail_fast = fail_fast
        self._rng = rng
        self._waits_for: str | None = None

    @property
    def waits_for(self) -> str | None:
        """What the present step waits for."""
        return self._waits_for

    async def until_done(self, step: Callable[[], Coroutine[object, object, T]]) -> T | None:
        """Try a step until it works or we are stopped; None in the latter case.

        Raises:
            StartFailedError: with fail_fast.
        """
        tries = 0
        while not self._stop.is_set():
            try:
                with without_aiokafka_log():
                    done = await self.unless_stopped(step())
            except KafkaUnavailableError as error:
                if self._fail_fast:
                    raise StartFailedError(f"Kafka: {error}") from error
                tries += 1
                delay = START_RETRY.delay(tries, self._rng)
                self._waits_for = f"Kafka: {error}"
                log.error("start.waiting", error=self._waits_for, retry_in_seconds=round(delay, 1))
                await self.unless_stopped(asyncio.sleep(delay))
            else:
                self._waits_for = None
                return done
        return None

    async def unless_stopped(self, work: Coroutine[object, object, T]) -> T | None:
        """The work's outcome; None, and the work given up, when we are stopped before that.

        A Kafka that takes connections and says nothing would hold up a stop for 40 s.
        """
        task = asyncio.create_task(work)
        stopped = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            stopped.cancel()
            task.cancel()
            # Closing what was half open may hang as well.
            await asyncio.wait({task}, timeout=_GIVE_UP_SECONDS)
            if task.done() and not task.cancelled():
                task.exception()  # taken note of: it is raised above, or of no use any more


async def topics_are_there(connection: KafkaConnection, needed: Sequence[str]) -> None:
    """Return when all topics exist.

    Raises:
        KafkaUnavailableError: some don't; the message names them and the command.
    """
    async with open_admin(connection) as admin:
        missing = [topic for topic in needed if not await admin.partitions(topic)]
    if missing:
        raise KafkaUnavailableError(
            f"no such topic: {', '.join(missing)}; create what is missing with: topics create"
        )


async def group_is_for_us(connection: KafkaConnection, group: str) -> None:
    """Return when we can be in the consumer group, or where nobody says whether we can.

    Joining fails in Kafka's own words otherwise, or goes well beside members of the new protocol.

    Raises:
        StartFailedError: it is a share group, which it stays for ever.
        KafkaUnavailableError: it has members of another kind, which may leave.
    """
    async with open_admin(connection) as admin:
        try:
            kind = await admin.group_kind(group)
        except KafkaUnavailableError as error:
            log.info("start.group_unknown", group=group, error=str(error))
            return
    if kind is None or kind.obstacle is None:
        return
    told = f"consumer group {group} {kind.obstacle}; {ANOTHER_GROUP}"
    raise StartFailedError(told) if kind.is_share else KafkaUnavailableError(told)


async def cluster_id_of(connection: KafkaConnection) -> str:
    """Kafka's cluster id.

    Raises:
        KafkaUnavailableError: Kafka can't be reached.
    """
    async with open_admin(connection) as admin:
        return await admin.cluster_id()
