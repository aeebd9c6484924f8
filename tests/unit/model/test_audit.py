"""How one document is judged: every rule of `consumer.model.audit`, one by one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from consumer.model.audit import NOTES, UNEXPLAINED, WHAT_TO_DO, Case, Excuse, Kept, State, Wanted
from consumer.model.audit import judge as judged
from consumer.model.delivery import Coordinates
from consumer.model.standing import Standing
from consumer.model.version import DocumentVersion

DAY = datetime(2026, 3, 1, tzinfo=UTC)
OLD, NOW = 100.0, 1_000.0


def version(day: int = 0) -> DocumentVersion:
    return DocumentVersion(DAY + timedelta(days=day), 0, day)


def wanted(*digests: str) -> Wanted:
    return Wanted("doc", Coordinates("docs", 0, 5), version(5), digests)


def kept(*digests: str, day: int = 5, created: float | None = OLD) -> tuple[Kept, ...]:
    """A unit a chunk."""
    return tuple(
        Kept(f"{day}-{number}.json", version(day), (digest,), f"ids{number}", "doc", created)
        for number, digest in enumerate(digests)
    )


def judge(
    of: Wanted | None,
    *units: Kept,
    deleted: bool = False,
    waiting: bool = False,
    excuse: Excuse | None = None,
) -> State:
    return judged(Case(of, deleted, waiting, excuse, units, settled_before=NOW)).state


def excused(standing: Standing, chunks: int = 0) -> Excuse:
    return Excuse(standing, chunks)


def test_stored_completely_once() -> None:
    """Whatever versions the chunks come from, and equal texts as often as wanted."""
    units = (*kept("a", "b"), *kept("b", day=1))
    assert judge(wanted("a", "b", "b"), *units) is State.STORED
    assert judge(wanted()) is State.STORED
    assert judge(wanted("a"), *kept("a"), waiting=True) is State.STORED
    assert judge(wanted("a"), *kept("a"), excuse=excused(Standing.OPEN, 1)) is State.STORED


def test_missing_is_missing_at_once() -> None:
    """However young the others are: it was committed, so it should be there."""
    assert judge(wanted("a", "b")) is State.MISSING
    assert judge(wanted("a", "b"), *kept("a", created=NOW + 1)) is State.INCOMPLETE
    assert judge(wanted("a", "a"), *kept("a")) is State.INCOMPLETE


def test_what_waits_is_not_judged() -> None:
    """The group may be about to change it."""
    for units in ((), kept("a"), kept("x", day=1), kept("a", "b", "b")):
        assert judge(wanted("a", "b"), *units, waiting=True) is State.WAITING
    assert judge(None, *kept("a"), deleted=True, waiting=True) is State.WAITING


@pytest.mark.parametrize("standing", Standing)
def test_a_dead_letter_explains_while_somebody_may_act_on_it(standing: Standing) -> None:
    """Open, parked or under way; resolved or stale ones explain nothing."""
    explains = standing in {Standing.OPEN, Standing.PARKED, Standing.IN_FLIGHT}
    expected = State.DEAD_LETTER if explains else State.INCOMPLETE
    assert judge(wanted("a", "b"), *kept("a"), excuse=excused(standing, 1)) is expected


def test_a_dead_letter_explains_no_more_than_it_says() -> None:
    """One chunk failed and two are missing: one is lost. What it does not say counts as all."""
    of = wanted("a", "b", "c")
    assert judge(of, *kept("a"), excuse=excused(Standing.OPEN, 2)) is State.DEAD_LETTER
    assert judge(of, *kept("a"), excuse=excused(Standing.OPEN, 1)) is State.INCOMPLETE
    assert judge(of, excuse=excused(Standing.OPEN, 0)) is State.DEAD_LETTER
    stale = kept("x", "y", day=1)
    assert judge(of, *kept("a"), *stale, excuse=excused(Standing.OPEN, 2)) is State.DEAD_LETTER


def test_what_is_there_too_often_is_judged_when_nothing_is_under_way() -> None:
    """Doubles and stale chunks; young ones, and those of unknown age, may still go."""
    double = replace(kept("a")[0], location="z.json")
    assert judge(wanted("a"), *kept("a"), double) is State.DOUBLE
    assert judge(wanted("a"), *kept("a"), *kept("x", day=1)) is State.STALE
    assert judge(wanted(), *kept("x", day=1)) is State.STALE
    for created in (None, NOW + 1):
        young = replace(double, created=created)
        assert judge(wanted("a"), *kept("a"), young) is State.SETTLING


def test_a_newer_version_is_not_judged() -> None:
    """Neither where it is whole nor where it lacks what the older one had."""
    assert judge(wanted("a", "b"), *kept("c", day=6)) is State.NEWER
    assert judge(wanted("a"), *kept("a"), *kept("c", day=6)) is State.NEWER


def test_what_nothing_wants() -> None:
    """Deleted and gone, deleted and still there, and what no event tells of."""
    assert judge(None, deleted=True) is State.GONE
    assert judge(None, *kept("a"), deleted=True) is State.NOT_REMOVED
    assert judge(None, *kept("a", created=NOW + 1), deleted=True) is State.SETTLING
    assert judge(None, *kept("a")) is State.UNEXPECTED


def test_whatever_is_told_says_what_to_do() -> None:
    """Nobody is left alone with a word."""
    assert set(WHAT_TO_DO) == UNEXPLAINED | NOTES
