"""Queues: order by identity, and what is overtaken."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.model.names import Identity, Slug
from consumer.model.precedence import Occurrence
from consumer.model.version import DocumentVersion
from consumer.pipeline.key_queues import KeyQueues, Turn
from tests.unit.model.precedence_events import arrivals, left_by

A = Identity("a")
W = Slug("w")
ONE = Slug("one")


def _version(day: int, offset: int = 0) -> DocumentVersion:
    return DocumentVersion(datetime(2026, 1, day, tzinfo=UTC), partition=0, offset=offset)


def _has_come(turn: Turn) -> bool:
    return turn._come.is_set()


def test_identities_do_not_wait_for_each_other() -> None:
    """Different documents run at once."""
    queues = KeyQueues()
    first, second = queues.enter(A, W, _version(1)), queues.enter(Identity("b"), W, _version(1))

    assert _has_come(first)
    assert _has_come(second)


async def test_one_identity_takes_turns_in_order() -> None:
    """The next of an identity begins when the one before has left."""
    queues = KeyQueues()
    first, second = queues.enter(A, W, _version(1)), queues.enter(A, W, _version(2))
    assert not _has_come(second)

    first.leave()
    await asyncio.wait_for(second.come(), 1)

    assert not second.superseded


def test_a_waiting_older_version_is_superseded_by_a_newer_one() -> None:
    """Of three versions only the running and the newest are applied."""
    queues = KeyQueues()
    running = queues.enter(A, W, _version(1))
    waiting = queues.enter(A, W, _version(2))
    newest = queues.enter(A, W, _version(3))

    assert waiting.superseded
    assert _has_come(waiting)
    running.leave()
    assert _has_come(newest)
    assert not newest.superseded


def test_a_newcomer_older_than_one_that_waits_is_superseded() -> None:
    """An event from the past does not replace a newer one that waits."""
    queues = KeyQueues()
    queues.enter(A, W, _version(1))
    waiting = queues.enter(A, W, _version(5))
    late = queues.enter(A, W, _version(2))

    assert late.superseded
    assert not waiting.superseded


def test_equal_versions_of_one_partition_go_by_offset() -> None:
    """The same document published twice: the later record counts."""
    queues = KeyQueues()
    queues.enter(A, W, _version(1, offset=1))
    waiting = queues.enter(A, W, _version(2, offset=2))
    again = queues.enter(A, W, _version(2, offset=3))

    assert waiting.superseded
    assert not again.superseded


def test_another_workspace_is_never_overtaken() -> None:
    """One document in two workspaces: both are applied, in order."""
    queues = KeyQueues()
    running = queues.enter(A, ONE, _version(1))
    other = queues.enter(A, Slug("two"), _version(2))
    third = queues.enter(A, ONE, _version(3))

    assert not other.superseded
    running.leave()
    assert _has_come(other)
    assert not _has_come(third)
    other.leave()
    assert _has_come(third)


def test_the_running_one_is_never_superseded() -> None:
    """What has begun is carried through: half a version must not stay."""
    queues = KeyQueues()
    running = queues.enter(A, W, _version(1))
    queues.enter(A, W, _version(2))

    assert not running.superseded


def test_a_newer_version_ends_the_wait_of_the_running_one_alone() -> None:
    """A document that can't be stored does not keep its own mended version out."""
    queues = KeyQueues()
    running = queues.enter(A, W, _version(2))
    queues.enter(A, W, _version(1))
    queues.enter(A, Slug("elsewhere"), _version(3))
    queues.enter(A, W, _version(3), removes=True)
    assert [running.overtaken.closed] == [False]

    queues.enter(A, W, _version(3))

    assert running.overtaken.closed
    assert not running.superseded


def test_one_that_gives_up_waiting_leaves_no_hole() -> None:
    """A turn dropped while it waited (revocation) does not hold up the next."""
    queues = KeyQueues()
    running = queues.enter(A, ONE, _version(1))
    gone = queues.enter(A, Slug("two"), _version(2))
    last = queues.enter(A, Slug("three"), _version(3))

    gone.leave()
    assert not _has_come(last)
    running.leave()
    assert _has_come(last)


def test_memory_goes_by_turns() -> None:
    """A queue that everybody left is gone."""
    queues = KeyQueues()
    for day in range(1, 20):
        queues.enter(Identity(f"identity-{day}"), W, _version(day)).leave()

    assert len(queues) == 0


def test_a_waiting_tombstone_and_a_later_document_both_have_their_turn() -> None:
    """Their versions are dates of different things and say nothing against each other."""
    queues = KeyQueues()
    queues.enter(A, W, _version(1))
    tombstone = queues.enter(A, W, _version(9, offset=1), removes=True)
    again = queues.enter(A, W, _version(1, offset=2))

    assert (tombstone.superseded, again.superseded) == (False, False)


def test_a_tombstone_makes_pointless_what_waits_before_it() -> None:
    """A queue stays short however often somebody deletes and publishes."""
    queues = KeyQueues()
    running = queues.enter(A, W, _version(1))
    first = queues.enter(A, W, _version(2, offset=1), removes=True)
    document = queues.enter(A, W, _version(3, offset=2))
    second = queues.enter(A, W, _version(4, offset=3), removes=True)

    assert (first.superseded, document.superseded) == (True, True)
    assert not _has_come(second)
    running.leave()
    assert _has_come(second)
    assert not second.superseded


def test_a_tombstone_ends_the_wait_of_a_running_document() -> None:
    """What is to be deleted need not be stored first, and can't keep its tombstone out."""
    queues = KeyQueues()
    running = queues.enter(A, W, _version(1, offset=1))
    queues.enter(A, Slug("other"), _version(9, offset=2), removes=True)
    assert not running.overtaken.closed

    queues.enter(A, None, _version(9, offset=3), removes=True)

    assert running.overtaken.closed


def test_a_restored_document_does_not_give_way_to_what_its_tombstone_deletes() -> None:
    """A newer date does not count across the tombstone: one by one the older date is left."""
    queues = KeyQueues()
    queues.enter(A, W, _version(1, offset=0))
    newer = queues.enter(A, W, _version(3, offset=1))
    tombstone = queues.enter(A, None, _version(9, offset=2), removes=True)
    restored = queues.enter(A, W, _version(2, offset=3))

    assert [each.superseded for each in (newer, tombstone, restored)] == [True, False, False]


@settings(max_examples=1_000)
@given(arrived=arrivals(), overtaken_gives_up=st.booleans())
def test_a_burst_leaves_what_its_events_leave_one_by_one(
    arrived: list[Occurrence], overtaken_gives_up: bool
) -> None:
    """Whether or not the running one was in a wait that was ended."""
    queues = KeyQueues()
    turns = [
        queues.enter(A, None if each.removes else W, each.version, removes=each.removes)
        for each in arrived
    ]
    carried_out = []
    for turn in turns:
        is_overtaken = turn.overtaken.closed and overtaken_gives_up
        if not turn.superseded and not is_overtaken:
            carried_out.append(turn.occurrence)

    assert left_by(carried_out) == left_by(arrived)
