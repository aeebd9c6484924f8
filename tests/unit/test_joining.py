"""For whom the group waits is told, once, with the time that it waits at most."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from consumer.app.joining import Joining, JoiningBounds
from consumer.kafka.connection import KafkaUnavailableError
from consumer.kafka.groups import Member
from tests.virtual.loop import virtually

TWO = (Member("anythingllm-consumer", "10.0.0.1"), Member("anythingllm-consumer", "10.0.0.2"))


class Group:
    """A group that a member joins."""

    def __init__(self, members: Sequence[Member] = TWO) -> None:
        self.members = members
        self.is_waiting = True
        self.asked = 0
        self.is_away = False
        clock = asyncio.get_running_loop().time
        self.joining = Joining(lambda: self.is_waiting, self.awaited, JoiningBounds(45, 300), clock)

    async def awaited(self) -> Sequence[Member]:
        self.asked += 1
        if self.is_away:
            raise KafkaUnavailableError("no broker answers")
        return self.members


async def joined_after(group: Group, seconds: float) -> str:
    await asyncio.sleep(seconds)
    group.is_waiting = False
    return "joined"


def test_a_long_wait_is_told_once_with_its_bounds() -> None:
    """In the log and as the reason, until we are in the group."""

    @virtually
    async def run() -> None:
        group = Group()
        with capture_logs() as logs:
            joining = asyncio.create_task(group.joining.beside(joined_after(group, 44)))
            await asyncio.sleep(2)
            assert group.joining.notice is None
            await asyncio.sleep(2)
            assert "at most 45 s (KAFKA_SESSION_TIMEOUT_SECONDS)" in str(group.joining.notice)
            assert await joining == "joined"

        (told,) = logs
        assert (told["event"], told["members"]) == ("group.waiting", 2)
        assert told["hosts"] == ["10.0.0.1", "10.0.0.2"]
        assert (told["dead_seconds"], told["busy_seconds"]) == (45, 300)
        assert group.joining.notice is None
        assert group.asked == 1

    run()


@pytest.mark.parametrize(
    ("members", "seconds"),
    [(TWO, 2.5), (TWO[:1], 60), ((), 60)],
    ids=["joined soon", "nobody else", "it waits for none"],
)
def test_nothing_is_told_where_nobody_is_waited_for(
    members: Sequence[Member], seconds: float
) -> None:
    """Also of a group that is new, or whose broker is slow."""

    @virtually
    async def run() -> None:
        group = Group(members)
        with capture_logs() as logs:
            await group.joining.beside(joined_after(group, seconds))

        assert logs == []

    run()


def test_a_kafka_that_is_away_is_told_by_others() -> None:
    """It is asked again every few seconds, and what joining meets gets out."""

    @virtually
    async def run() -> None:
        async def failing() -> None:
            await asyncio.sleep(10)
            raise KafkaUnavailableError("no broker answers")

        group = Group()
        group.is_away = True
        with capture_logs() as logs, pytest.raises(KafkaUnavailableError):
            await group.joining.beside(failing())

        assert logs == []
        assert group.asked == 3

    run()


def test_each_rebalance_is_watched_for_itself() -> None:
    """The next one may wait for somebody again."""

    @virtually
    async def run() -> None:
        group = Group()
        with capture_logs() as logs:
            watching = asyncio.create_task(group.joining.watch())
            for is_waiting in (True, False, True):
                group.is_waiting = is_waiting
                await asyncio.sleep(10)
                assert (group.joining.notice is not None) == is_waiting
            watching.cancel()

        assert [each["event"] for each in logs] == ["group.waiting", "group.waiting"]

    run()
