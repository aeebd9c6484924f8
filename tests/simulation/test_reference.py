"""The reference model says what schemas/README.md says, in every order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from tests.simulation.reference import Allowed, Place, Told, allowed

TOMBSTONE_TIME = 1_000_000  # milliseconds: that of its record, later than any document's date


def doc(
    offset: int, texts: str, day: int = 0, slug: str = "docs", *, replay_at: int | None = None
) -> Told:
    """A document's event; `texts` has a letter a chunk."""
    place = ("documents", 0, offset) if replay_at is None else ("replays", 0, replay_at)
    is_replay = replay_at is not None
    return Told(place, "a", "document", slug, tuple(texts), (day, offset), is_replay)


def tomb(offset: int, slug: str | None = None) -> Told:
    """A tombstone."""
    return Told(("documents", 0, offset), "a", "tombstone", slug, (), (TOMBSTONE_TIME, offset))


def stored(may: Allowed, slug: str = "docs") -> set[str]:
    """What may be stored."""
    return {"".join(sorted(state.texts(slug).elements())) for state in may.states}


def answers(may: Allowed, told: Told) -> set[str]:
    """What may be said of an event."""
    return may.statuses[told.place]


@pytest.mark.parametrize(
    ("events", "left"),
    [
        ([doc(0, "ab")], {"ab"}),
        ([doc(0, "ab"), doc(1, "bc", day=1)], {"bc"}),
        ([doc(0, "ab", day=1), doc(1, "bc")], {"ab"}),
        ([doc(0, "ab"), doc(1, "bc")], {"bc"}),
        ([doc(0, "aab"), doc(1, "ab", day=1)], {"ab"}),
        ([doc(0, "ab"), doc(1, "aab", day=1)], {"aab"}),
        ([doc(0, "ab"), doc(1, "", day=1)], {""}),
        ([doc(0, "ab"), tomb(1)], {""}),
        ([doc(0, "ab"), tomb(1), doc(2, "ab")], {"ab"}),
        ([doc(0, "a"), doc(1, "b", day=2), tomb(2), doc(3, "c", day=1)], {"c"}),
        ([doc(0, "ab"), tomb(1), doc(0, "ab", replay_at=0)], {""}),
        ([doc(0, "a"), doc(1, "b", day=1), doc(0, "a", replay_at=0)], {"b"}),
    ],
    ids=[
        "one", "newer", "older", "equal-dates", "fewer-of-equal-texts", "more-of-equal-texts",
        "emptied", "deleted", "published-again", "restored-with-an-older-date",
        "a-replay-of-what-was-deleted", "a-replay-of-what-was-replaced",
    ],
)  # fmt: skip
def test_one_outcome_is_allowed(events: Sequence[Told], left: set[str]) -> None:
    """While one process keeps the partition and nobody else touches the workspace."""
    assert stored(allowed(events)) == left


def test_a_workspace_is_a_state_of_its_own() -> None:
    """A document that changes workspace stays in the old one until it is deleted there."""
    moved = [doc(0, "ab"), doc(1, "b", day=1, slug="other")]
    may = allowed(moved)
    assert (stored(may), stored(may, "other")) == ({"ab"}, {"b"})

    may = allowed([*moved, tomb(2, "docs")])
    assert (stored(may), stored(may, "other")) == ({""}, {"b"})

    may = allowed([*moved, tomb(2)])
    assert (stored(may), stored(may, "other")) == ({""}, {""})


def test_answers_are_those_of_carrying_out_one_by_one() -> None:
    """What a later event makes pointless may be superseded without having been tried."""
    first, older, gone = doc(0, "ab", day=2), doc(1, "b", day=1), tomb(2)
    may = allowed([first, older])
    assert (answers(may, first), answers(may, older)) == ({"succeeded"}, {"superseded"})

    may = allowed([first, gone])
    assert (answers(may, first), answers(may, gone)) == ({"succeeded", "superseded"}, {"deleted"})


def test_what_left_no_trace_may_be_forgotten_when_the_partition_changes_hands() -> None:
    """A version that only removed left no marker; one that uploaded did."""
    events = [doc(0, "ab"), doc(1, "a", day=2), doc(2, "abc", day=1)]
    assert stored(allowed(events)) == {"a"}
    assert stored(allowed(events, forgets=True)) == {"a", "abc"}

    events = [doc(0, "ab"), doc(1, "ac", day=2), doc(2, "abc", day=1)]
    assert stored(allowed(events, forgets=True)) == {"ac"}

    events = [doc(0, "a"), tomb(1), doc(0, "a", replay_at=0)]
    assert stored(allowed(events, forgets=True)) == {"", "a"}


def test_where_people_changed_a_workspace_its_markers_are_forgotten_too() -> None:
    """Nothing tells of the newer version any more."""
    events = [doc(0, "a", day=2), doc(1, "b", day=1)]

    assert stored(allowed(events, by_hand=frozenset({"docs"}))) == {"a", "b"}
    assert stored(allowed(events, by_hand=frozenset({"other"}))) == {"a"}


def test_a_refused_chunk_is_missing_and_nothing_older_goes() -> None:
    """As long as something of the new version is missing, nothing of the old one is removed."""
    old, new = doc(0, "ab"), doc(1, "cd", day=1)
    refused: dict[Place, list[Counter[str]]] = {new.place: [Counter("d")]}
    may = allowed([old, new], refused=refused)

    assert stored(may) == {"abc", "cd", "c"}, "the old one may have been overtaken"
    assert answers(may, new) == {"succeeded", "partial"}
    assert answers(allowed([new], refused={new.place: [Counter("cd")]}), new) == {
        "succeeded",
        "failed",
    }


def test_of_an_event_and_its_replay_one_is_carried_out() -> None:
    """Which one is open: two topics are read side by side. None of them would be a loss."""
    live, again = doc(0, "a"), doc(0, "a", replay_at=0)
    may = allowed([live, again])

    assert stored(may) == {"a"}
    assert answers(may, live) == answers(may, again) == {"succeeded", "superseded"}


def test_an_invalid_event_changes_nothing() -> None:
    """It is a dead letter."""
    invalid = Told(("documents", 0, 1), "a", "invalid")
    may = allowed([doc(0, "a"), invalid])

    assert stored(may) == {"a"}
    assert answers(may, invalid) == {"invalid"}
