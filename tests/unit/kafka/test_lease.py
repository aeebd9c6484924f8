"""The lease: renewed by the group's answers alone, over before the session timeout is."""

from __future__ import annotations

from consumer.kafka.assignment import Assignment
from consumer.kafka.lease import Lease


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_it_holds_while_the_group_answers() -> None:
    """Who is heard keeps its partitions for as long as it likes."""
    clock = Clock()
    lease = Lease(10.0, clock)
    for _ in range(1_000):
        clock.now += 1.0
        lease.heard(clock.now)
        assert not lease.over


def test_running_alone_does_not_renew_it() -> None:
    """A process that turns its loop behind a dead network is given up by the group all the same."""
    clock = Clock()
    lease = Lease(10.0, clock)
    for _ in range(85):
        clock.now += 0.1
        lease.turn()

    assert lease.over


def test_it_counts_from_the_question_and_not_from_the_answer() -> None:
    """The session timeout began when the heartbeat reached it, however late we read its answer."""
    clock = Clock()
    lease = Lease(10.0, clock)
    clock.now += 7.0
    lease.heard(101.0)
    clock.now += 2.5
    assert lease.unheard_seconds == 8.5
    assert lease.over


def test_an_older_answer_takes_nothing_back() -> None:
    """Answers may be read in another order than they were asked for."""
    clock = Clock()
    lease = Lease(10.0, clock)
    clock.now += 5.0
    lease.heard(105.0)
    lease.heard(103.0)
    assert lease.unheard_seconds == 0.0


def test_it_is_over_before_the_session_is_and_stays_so() -> None:
    """No late answer brings it back: the partitions may have gone, their work has ended."""
    clock = Clock()
    lease = Lease(10.0, clock)
    clock.now += 8.5
    assert lease.over
    lease.heard(clock.now)
    assert lease.over

    assert lease.turn() == 8.5
    lease.begin()
    assert not lease.over


def test_an_assignment_that_lay_there_while_we_stood_still_is_over_at_once() -> None:
    """It begins with the last moment we are known to have run, not with when we read it."""
    clock = Clock()
    lease = Lease(10.0, clock)
    clock.now += 60.0
    lease.begin()
    assert lease.over


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
    lease.turn()
    lease.begin()

    assert assignment.fence.closed
