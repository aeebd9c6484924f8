"""The ledger: how far a commit may go."""

from __future__ import annotations

import sys
from dataclasses import replace
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from consumer.kafka.ledger import CommitDue, Ledger, RecordMark
from consumer.kafka.settled_metadata import (
    NO_ANCHOR,
    SettledBehind,
    SettledEntry,
    decode,
    encode,
)

MARK = RecordMark(check=7, anchor=b"8 bytes.")


def _ledger(*offsets: int) -> Ledger:
    ledger = Ledger("documents-0")
    for offset in offsets:
        ledger.receive(offset, now=float(offset))
    return ledger


def _committable(ledger: Ledger) -> int | None:
    return ledger.committable


def _due(ledger: Ledger) -> CommitDue | None:
    return ledger.due


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
    ledger = Ledger("documents-0")
    ledger.receive(0, now=0.0, mark=MARK)
    _settle_behind(ledger, range(1, 3_000))
    bounded = _size(ledger)

    _settle_behind(ledger, range(3_000, 100_000))

    assert _size(ledger) <= bounded + 1_000
    assert ledger.due is not None
    assert ledger.due.offset == 0


def _settle_behind(ledger: Ledger, offsets: range) -> None:
    for offset in offsets:
        ledger.receive(offset, now=0.0, mark=MARK)
        ledger.settle(offset)


def _size(ledger: Ledger) -> int:
    return sum(sys.getsizeof(value) for value in vars(ledger).values())


def test_with_nothing_open_the_commit_follows_the_position() -> None:
    """Markers and aborted records behind the last event are no lag that never ends."""
    ledger = _ledger(4)
    ledger.settle(4)
    ledger.committed(5)

    ledger.follow(9)

    assert ledger.due == CommitDue(9)
    assert ledger.next_offset == 9


def test_with_a_record_open_the_position_changes_nothing() -> None:
    """What is open holds the commit back, wherever the consumer stands."""
    ledger = _ledger(4)
    ledger.follow(9)

    assert ledger.due is None
    assert ledger.next_offset == 5


def test_a_position_that_is_committed_is_not_committed_again() -> None:
    """An idle partition costs no commit a second."""
    ledger = Ledger("documents-0")
    ledger.begin_at(9)
    ledger.follow(9)

    assert ledger.due is None


def test_markers_before_the_first_record_are_passed() -> None:
    """A restart behind a transaction's marker begins at it, and nothing of ours is there."""
    ledger = Ledger("documents-0")
    ledger.begin_at(4)
    ledger.follow(5)

    assert ledger.due == CommitDue(5)


def test_what_is_settled_behind_an_open_record_stands_beside_the_commit() -> None:
    """A restart must not work it again; the commit's offset is what it was."""
    ledger = Ledger("documents-0")
    ledger.begin_at(4)
    for offset in range(4, 9):
        ledger.receive(offset, now=0.0, mark=MARK)
    ledger.settle(6, carried_out=True)
    ledger.settle(8)

    due = ledger.due
    assert due is not None
    found = decode(due.metadata, due.offset)
    assert found is not None
    assert (due.offset, found.anchor) == (4, MARK.anchor)
    assert [(e.offset, e.check, e.carried_out) for e in found.entries] == [
        (6, 7, True), (8, 7, False),
    ]  # fmt: skip
    ledger.committed(due.offset, due.metadata)
    assert ledger.due is None


def test_what_the_commit_passes_leaves_the_metadata() -> None:
    """Once the open record is settled the offset alone says it."""
    ledger = Ledger("documents-0")
    ledger.begin_at(4)
    for offset in (4, 5, 6, 7):
        ledger.receive(offset, now=0.0, mark=MARK)
    ledger.settle(5)
    ledger.settle(7)
    ledger.settle(4)

    due = ledger.due
    assert due is not None
    found = decode(due.metadata, due.offset)
    assert found is not None
    assert (due.offset, [entry.offset for entry in found.entries]) == (6, [7])

    ledger.settle(6)

    assert ledger.due == CommitDue(8)


def test_a_group_that_has_committed_nothing_can_say_it_too() -> None:
    """The open record's own offset is as good a place to begin at."""
    ledger = Ledger("documents-0")
    ledger.receive(3, now=0.0, mark=MARK)
    ledger.receive(4, now=0.0, mark=MARK)
    assert _due(ledger) is None

    ledger.settle(4)

    due = _due(ledger)
    assert due is not None
    assert due.offset == 3
    assert due.metadata


def test_a_refused_text_is_shorter_next_time() -> None:
    """Nothing is committed twice for it, and a broker that takes none gets none."""
    ledger = Ledger("documents-0")
    ledger.begin_at(0)
    for offset in range(200):
        ledger.receive(offset, now=0.0, mark=MARK)
    for offset in range(1, 200):
        ledger.settle(offset)
    for limit in (64, 0):
        ledger.limit_metadata(limit)
        due = ledger.due
        assert due is None or len(due.metadata) <= limit


def _said(ledger: Ledger) -> tuple[int, SettledBehind]:
    due = _due(ledger)
    assert due is not None
    found = decode(due.metadata, due.offset)
    assert found is not None
    return due.offset, found


@given(order=st.permutations(range(1, 14)), held=st.sets(st.integers(1, 13), max_size=3))
def test_what_is_noted_has_no_hole(order: list[int], held: set[int]) -> None:
    """Whatever settles in whichever order: a later event is noted only if all before it are.

    Otherwise a tombstone is worked again after a restart, and the document that was published after
    it is not.
    """
    with patch("consumer.kafka.ledger._MOST_BEHIND", 3):
        ledger = Ledger("documents-0")
        ledger.begin_at(0)
        for offset in range(14):
            ledger.receive(offset, now=0.0, mark=MARK)
        settled: set[int] = set()
        for offset in [*order[:9], 0, *order[9:]]:
            if offset in held:
                ledger.hold(offset, 9.0)
            else:
                ledger.settle(offset)
            settled.add(offset)
            if (due := _due(ledger)) is None or not due.metadata:
                continue
            found = decode(due.metadata, due.offset)
            noted = {each.offset for each in found.entries} if found else set()
            between = {each for each in settled if due.offset <= each < max(noted, default=0)}
            assert between <= noted


def test_what_was_left_out_is_forgotten_once_all_of_it_is_committed() -> None:
    """Then what settles is noted again."""
    with patch("consumer.kafka.ledger._MOST_BEHIND", 2):
        ledger = Ledger("documents-0")
        ledger.begin_at(0)
        for offset in range(8):
            ledger.receive(offset, now=0.0, mark=MARK)
        for offset in (1, 2, 3, 5):
            ledger.settle(offset)
        assert [each.offset for each in _said(ledger)[1].entries] == [1, 2]
        ledger.settle(0)
        assert _due(ledger) == CommitDue(4), "5 is behind the hole that began with 3"
        ledger.settle(4)
        ledger.settle(7)

    assert [each.offset for each in _said(ledger)[1].entries] == [7]


def test_what_is_held_back_keeps_the_commit_before_itself() -> None:
    """It is settled, and the next owner has to read it again without working it again."""
    ledger = Ledger("documents-0")
    ledger.begin_at(4)
    for offset in (4, 5, 6):
        ledger.receive(offset, now=float(offset), mark=MARK)
    ledger.hold(4, 1_000.5, carried_out=True)
    ledger.settle(5)
    offset, found = _said(ledger)

    assert (offset, found.held_until) == (4, 1_001)
    assert [(e.offset, e.carried_out, e.held) for e in found.entries] == [
        (4, True, True), (5, False, False),
    ]  # fmt: skip
    assert (ledger.open_count, ledger.oldest_open_since) == (1, 6.0)

    ledger.settle(4, carried_out=True)

    assert _due(ledger) == CommitDue(6)


def test_what_is_held_behind_an_open_record_is_named_once() -> None:
    """Also when it is let go before that one is settled."""
    ledger = Ledger("documents-0")
    ledger.begin_at(4)
    for offset in (4, 5):
        ledger.receive(offset, now=0.0, mark=MARK)
    ledger.hold(5, 1_000.0, carried_out=True)
    ledger.settle(5, carried_out=True)
    offset, found = _said(ledger)

    assert (offset, found.entries) == (4, (SettledEntry(5, 7, True),))


FORMER = SettledBehind(MARK.anchor, (SettledEntry(5, 7, True), SettledEntry(7, 7, False)))


def _taken_over(former: SettledBehind = FORMER) -> Ledger:
    ledger = Ledger("documents-0")
    ledger.begin_at(4, behind=former, metadata=encode(4, former))
    return ledger


def test_a_commit_before_the_first_record_changes_nothing() -> None:
    """A rebalance right after another one would forget what is settled."""
    assert _taken_over().due is None


def test_what_was_not_received_again_yet_stays_beside_the_commit() -> None:
    """Dying now would have it worked again."""
    ledger = _taken_over()
    ledger.receive(4, now=0.0, mark=MARK)
    assert ledger.due is None, "it is what is committed"
    ledger.receive(5, now=0.0, mark=MARK)
    ledger.settle(5, carried_out=True)
    ledger.settle(4)
    assert ledger.due is None, "the record at 6 is to come, and then it can be said"
    ledger.receive(6, now=0.0, mark=MARK)
    offset, found = _said(ledger)

    assert (offset, [entry.offset for entry in found.entries]) == (6, [7])


def test_what_is_not_believed_leaves_the_metadata() -> None:
    """The records are other ones, and are worked; what was settled since stays."""
    ledger = _taken_over()
    for offset in (4, 5, 6):
        ledger.receive(offset, now=0.0, mark=MARK)
    ledger.settle(6)
    ledger.disbelieve()
    offset, found = _said(ledger)

    assert (offset, [entry.offset for entry in found.entries]) == (4, [6])


def test_what_compaction_took_leaves_the_metadata() -> None:
    """The position is behind it, and nothing was there."""
    ledger = _taken_over()
    ledger.follow(9)

    assert ledger.due == CommitDue(9)


def test_the_last_commit_says_that_the_owner_ended_in_order() -> None:
    """With nothing open it is all that it says; the next owner takes it back before it begins."""
    ledger = Ledger("documents-0")
    ledger.begin_at(4)
    ledger.doubt(7, 3, 500.0)
    ledger.end()
    offset, found = _said(ledger)
    assert (offset, found) == (4, SettledBehind(NO_ANCHOR, (), 500, ended=True, in_doubt=(7,)))
    next_one = _taken_over(found)

    offset, kept = _said(next_one)

    assert (offset, kept) == (4, replace(found, ended=False))


def test_what_is_left_in_doubt_is_named_until_it_is_certain() -> None:
    """Each doubt for itself; the next owner keeps the names, for the owner after it."""
    ledger = Ledger("documents-0")
    ledger.begin_at(4)
    ledger.doubt(7, 3, 500.0)
    ledger.doubt(7, 4, 600.0)
    ledger.doubt(8, 5, 550.5)
    assert _said(ledger) == (4, SettledBehind(NO_ANCHOR, (), 600, in_doubt=(7, 8)))
    ledger.certain(7, 4)
    assert _said(ledger) == (4, SettledBehind(NO_ANCHOR, (), 551, in_doubt=(8, 7)))

    _, found = _said(ledger)
    ledger.certain(7, 3)
    ledger.certain(8, 5)
    assert ledger.due is None
    next_one = _taken_over(found)
    next_one.doubt(9, 5, 700.0)
    assert _said(next_one)[1].in_doubt == (9, 8, 7)


def test_what_was_in_doubt_long_ago_is_not_told_any_more() -> None:
    """Otherwise the names of former owners would go from one to the next for ever."""
    ledger = Ledger("documents-0")
    ledger.begin_at(4)
    ledger.doubt(7, 3, 500.0)
    ledger.doubt(8, 5, 900.0)
    ledger.expire(600.0)
    assert _said(ledger)[1].in_doubt == (8,)
    ledger.expire(901.0)

    assert _due(ledger) is None


def test_the_mark_of_an_orderly_end_is_taken_back_and_the_rest_stays() -> None:
    """Dying at once must not look like an orderly end."""
    ledger = _taken_over(replace(FORMER, ended=True, held_until=9))
    offset, found = _said(ledger)

    assert (offset, found) == (4, replace(FORMER, held_until=9))
