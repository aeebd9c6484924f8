"""The lease: over before the group's patience is."""

from __future__ import annotations

from consumer.kafka.assignment import Assignment
from consumer.kafka.lease import Lease


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_it_holds_while_it_is_renewed() -> None:
    """A process that turns its loop keeps its partitions for as long as it likes."""
    clock = Clock()
    lease = Lease(10.0, clock)
    for _ in range(1_000):
        clock.now += lease.renewal_interval
        assert lease.renew()

    assert not lease.over


def test_it_is_over_before_the_session_is_and_stays_so() -> None:
    """Standing still ends it, and no renewal brings it back: the partitions may have gone."""
    clock = Clock()
    lease = Lease(10.0, clock)
    clock.now += 8.5
    assert lease.over
    assert not lease.renew()
    assert lease.over

    assert lease.begin() == 8.5
    assert not lease.over


def test_an_assignment_ends_with_its_lease() -> None:
    """Whoever asks first after standing still gets the right answer, before any task has run."""
    clock = Clock()
    lease = Lease(10.0, clock)
    assignment = Assignment("documents-0", lambda: lease.over)
    states = [(assignment.ended, assignment.fence.closed)]

    clock.now += 9
    states.append((assignment.ended, assignment.fence.closed))

    assert states == [(False, False), (True, True)]


def test_a_receipt_after_the_lease_changes_nothing() -> None:
    """A fence that closed stays closed, also for the lease that begins after it."""
    clock = Clock()
    lease = Lease(10.0, clock)
    assignment = Assignment("documents-0", lambda: lease.over)
    clock.now += 9
    assert assignment.fence.closed
    lease.begin()

    assert assignment.fence.closed
