"""What happens to work when its partition goes."""

from __future__ import annotations

import asyncio

from aiokafka import TopicPartition

from consumer.kafka.assignment import Assignment
from consumer.kafka.assignments import Assignments
from consumer.telemetry.metrics import Metrics
from tests.unit.pipeline.doubles import Clock

PARTITION = TopicPartition("documents", 0)


class Group:
    """Assignments of a member without a broker: nothing is committed."""

    def __init__(self, drain_timeout: float = 60.0) -> None:
        self.clock = Clock()
        self.sweep_ended = True
        self.forgotten = 0
        self.assignments = Assignments(
            session_timeout=45.0,
            drain_timeout=drain_timeout,
            commit_timeout=1.0,
            metrics=Metrics(),
            on_assigned=lambda: None,
            on_revoking=self._revoking,
            on_revoked=self._revoked,
            clock=self.clock,
            epoch=self.clock,
        )
        self.assignments.assigned([PARTITION])
        self.assignment: Assignment = self.assignments.by_partition[PARTITION]

    async def _revoking(self) -> bool:
        return self.sweep_ended

    def _revoked(self) -> None:
        self.forgotten += 1

    def work(self) -> tuple[asyncio.Future[None], asyncio.Task[None]]:
        """A request in the middle, and the task that waits for its answer."""
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def wait() -> None:
            await answer

        task = asyncio.create_task(wait())
        self.assignment.begin(task)
        return answer, task


async def turns() -> None:
    """Let everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_revocation_waits_for_requests_in_the_middle() -> None:
    """Cancelled, each would be in doubt, and the next owner would have to look for it."""
    group = Group()
    answer, task = group.work()
    revoking = asyncio.create_task(group.assignments.revoked())
    await turns()
    assert group.assignment.fence.closed, "nothing new is sent"
    assert not revoking.done()
    assert not group.assignment.ended, "what is answered now is settled"
    answer.set_result(None)
    await revoking

    assert task.done()
    assert not task.cancelled()
    assert group.assignment.ledger._ended, "the next owner reads that nothing is in doubt"
    assert (group.assignments.by_partition, group.forgotten) == ({}, 1)


async def test_a_revocation_does_not_wait_for_ever() -> None:
    """The group would go on without us. What is cut off may still take effect."""
    group = Group(drain_timeout=0.01)
    _, task = group.work()
    await group.assignments.revoked()
    await turns()

    assert task.cancelled()
    assert group.assignment.ended
    assert not group.assignment.ledger._ended


async def test_an_owner_whose_removals_are_in_doubt_has_not_ended_in_order() -> None:
    """The next one must not count as stored what they may still take."""
    group = Group()
    group.sweep_ended = False
    await group.assignments.revoked()

    assert not group.assignment.ledger._ended


async def test_what_is_lost_is_not_waited_for() -> None:
    """Another member has it already."""
    group = Group()
    _, task = group.work()
    group.clock.now += 60.0  # and nobody has heard of the group meanwhile
    revoking = asyncio.create_task(group.assignments.revoked())
    await turns()

    assert revoking.done()
    assert task.cancelled()
    assert group.forgotten == 1
