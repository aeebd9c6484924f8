"""Says for whom the group waits, where joining it takes long: without that a start looks hung.

Kafka answers a member that joins only when all the others have joined anew. One that has died is
given up when it was silent for the session timeout, and one that is still busy with what it has to
finish when the rebalance timeout is over (Kafka's classic group protocol). Nothing decides by this.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import TypeVar

import structlog

from consumer.kafka.connection import KafkaConnection, KafkaUnavailableError
from consumer.kafka.groups import Member
from consumer.kafka.topics import open_admin

log = structlog.get_logger(__name__)

T = TypeVar("T")

_LOOK_SECONDS = 1.0
_LONG_SECONDS = 3.0  # a group whose members all answer takes less

Awaited = Callable[[], Awaitable[Sequence[Member]]]


@dataclass(frozen=True, slots=True)
class JoiningBounds:
    """How long Kafka waits at most.

    Args:
        dead_seconds: for a member that has died: the session timeout.
        busy_seconds: for one that finishes what it has: the rebalance timeout.
    """

    dead_seconds: float
    busy_seconds: float


class Joining:
    """Watches how long we wait for the group.

    Args:
        is_waiting: whether it has not said yet what is ours, and we have nothing to finish.
        awaited: the members of a group that waits for some of them; none where it waits for none.
        bounds: see `JoiningBounds`.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        is_waiting: Callable[[], bool],
        awaited: Awaited,
        bounds: JoiningBounds,
        clock: Callable[[], float],
    ) -> None:
        self._is_waiting = is_waiting
        self._awaited = awaited
        self._bounds = bounds
        self._clock = clock
        self._asked_at = float("-inf")
        self._since: float | None = None
        self._notice: str | None = None

    @property
    def notice(self) -> str | None:
        """For whom the group waits and for how long at most; None: it does not, or not for long."""
        return self._notice

    async def beside(self, joining: Coroutine[object, object, T]) -> T:
        """The outcome of joining, watched meanwhile."""
        watching = asyncio.create_task(self.watch())
        try:
            return await joining
        finally:
            watching.cancel()
            await asyncio.wait({watching})
            self._since, self._notice = None, None
            if not watching.cancelled():
                watching.result()

    async def watch(self) -> None:
        """Watch for ever."""
        while True:
            await self._look()
            await asyncio.sleep(_LOOK_SECONDS)

    async def _look(self) -> None:
        if not self._is_waiting():
            self._since, self._notice = None, None
            return
        now = self._clock()
        self._since = now if self._since is None else self._since
        is_due = now >= max(self._since, self._asked_at) + _LONG_SECONDS
        if self._notice is None and is_due:
            self._asked_at = now
            await self._ask()

    async def _ask(self) -> None:
        try:
            members = await self._awaited()
        except KafkaUnavailableError:
            return  # who joins a group of a Kafka that is away meets that, and tells it
        if len(members) < 2 or not self._is_waiting():
            return  # the only one is we
        dead, busy = self._bounds.dead_seconds, self._bounds.busy_seconds
        self._notice = (
            f"the group waits for {len(members)} members to join anew: for one that has died at"
            f" most {dead:g} s (KAFKA_SESSION_TIMEOUT_SECONDS), for one that finishes its work at"
            f" most {busy:g} s"
        )
        log.warning(
            "group.waiting",
            members=len(members),
            hosts=sorted({each.host for each in members}),
            dead_seconds=dead,
            busy_seconds=busy,
            consequence="nothing comes to this instance before they have joined, or are given up:"
            " one that has died after dead_seconds, one that finishes its work after busy_seconds",
            what_to_do="nothing; KAFKA_SESSION_TIMEOUT_SECONDS sets dead_seconds",
        )


def awaited_members(connection: KafkaConnection, group: str) -> Awaited:
    """What asks Kafka for the members of a group that it waits for.

    Args:
        connection: to Kafka.
        group: its id.
    """

    async def ask() -> Sequence[Member]:
        async with open_admin(connection) as admin:
            return await admin.awaited_members(group)

    return ask
