"""The ledger: how far a commit may go."""

from __future__ import annotations

import sys

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from consumer.kafka.ledger import Ledger


def _ledger(*offsets: int) -> Ledger:
    ledger = Ledger("documents-0")
    for offset in offsets:
        ledger.receive(offset, now=float(offset))
    return ledger


def _committable(ledger: Ledger) -> int | None:
    return ledger.committable


def test_nothing_settled_commits_nothing() -> None:
    """A received record alone permits no commit."""
    assert _ledger(4, 5).committable is None


def test_commits_only_the_settled_prefix() -> None:
    """A settled record behind an open one does not move the commit."""
    ledger = _ledger(4, 5, 6)
    ledger.settle(5)
    assert _committable(ledger) is None

    ledger.settle(4)
    assert _committable(ledger) == 6

    ledger.settle(6)
    assert _committable(ledger) == 7


def test_gaps_are_stepped_over() -> None:
    """Compaction and transaction markers leave gaps; what was never received holds back nothing."""
    ledger = _ledger(4, 9)
    ledger.settle(4)
    assert _committable(ledger) == 5

    ledger.settle(9)
    assert _committable(ledger) == 10


def test_committed_offsets_are_not_offered_again() -> None:
    """A commit that would tell Kafka nothing new is not offered."""
    ledger = _ledger(4)
    ledger.settle(4)
    ledger.committed(5)

    assert _committable(ledger) is None


def test_received_twice_is_worked_once() -> None:
    """A record that comes again within one assignment is not handed out again."""
    ledger = _ledger(4)

    assert not ledger.receive(4, now=9.0)
    assert ledger.receive(5, now=9.0)


def test_settling_twice_is_a_fault() -> None:
    """A second receipt for one record is a fault in the program and says so."""
    ledger = _ledger(4)
    ledger.settle(4)

    with pytest.raises(KeyError):
        ledger.settle(4)


def test_oldest_open_is_what_holds_back_the_commit() -> None:
    """The age reported is that of the record at the front, not of the last settled."""
    ledger = _ledger(4, 5)
    assert ledger.oldest_open_since == 4.0

    ledger.settle(4)
    assert ledger.oldest_open_since == 5.0

    ledger.settle(5)
    assert ledger.oldest_open_since is None


def test_repr_is_a_window() -> None:
    """The repr tells what an operator would ask."""
    ledger = _ledger(4, 5)
    ledger.settle(4)

    assert repr(ledger) == "<Ledger documents-0 open=1 front=5 committable=5 committed=None>"


class LedgerAgainstModel(RuleBasedStateMachine):
    """Whatever the order of settling: no commit passes an open record; memory is what is open."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger("model")
        self.next_offset = 0
        self.open: set[int] = set()
        self.received: list[int] = []

    @rule(gap=st.integers(0, 3))
    def receive(self, gap: int) -> None:
        self.next_offset += gap
        assert self.ledger.receive(self.next_offset, now=0.0)
        self.open.add(self.next_offset)
        self.received.append(self.next_offset)
        self.next_offset += 1

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        offset = data.draw(st.sampled_from(sorted(self.open)))
        self.ledger.settle(offset)
        self.open.remove(offset)

    @precondition(lambda self: self.ledger.committable is not None)
    @rule()
    def commit(self) -> None:
        self.ledger.committed(self.ledger.committable or 0)

    @invariant()
    def commit_is_the_settled_prefix(self) -> None:
        committable = self.ledger.committable
        if committable is not None:
            assert all(offset >= committable for offset in self.open)
            assert committable - 1 in self.received
        assert self.ledger.open_count == len(self.open)


LedgerAgainstModel.TestCase.settings = settings(max_examples=60, deadline=None)
TestLedgerAgainstModel = LedgerAgainstModel.TestCase


def test_memory_goes_by_open_records_not_by_history() -> None:
    """A record that waits for days at the front costs no more for what is settled behind it."""
    ledger = _ledger(0)
    empty = _size(ledger)

    for offset in range(1, 100_000):
        ledger.receive(offset, now=0.0)
        ledger.settle(offset)

    assert _size(ledger) <= empty + 1_000
    assert ledger.committable is None


def _size(ledger: Ledger) -> int:
    return sum(sys.getsizeof(value) for value in vars(ledger).values())
