"""How one document is judged: every rule of `consumer.operations.audit.judgement`, one by one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from consumer.model.names import Location
from consumer.model.record import Coordinates
from consumer.model.version import DocumentVersion
from consumer.operations.audit.judgement import Case, Excuse, Judgement, KeptUnit, WantedDocument
from consumer.operations.audit.judgement import judge as judged
from consumer.operations.audit.states import NOTES, UNEXPLAINED, WHAT_TO_DO, DocumentState
from consumer.operations.letters.standing import Standing

DAY = datetime(2026, 3, 1, tzinfo=UTC)
AT = Coordinates("docs", 0, 5)
OLD, NOW = 100.0, 1_000.0


def version(day: int = 0) -> DocumentVersion:
    return DocumentVersion(DAY + timedelta(days=day), 0, day)


def wanted(*digests: str) -> WantedDocument:
    return WantedDocument("doc", AT, version(5), digests, AT)


def kept(*digests: str, day: int = 5, created: float | None = OLD) -> tuple[KeptUnit, ...]:
    """A unit a chunk."""
    return tuple(
        KeptUnit(
            Location(f"{day}-{number}.json"),
            version(day),
            (digest,),
            f"ids{number}",
            "doc",
            created,
            f"source{number}",
        )
        for number, digest in enumerate(digests)
    )


def judge(
    of: WantedDocument | None,
    *units: KeptUnit,
    deleted: bool = False,
    waiting: bool = False,
    excuse: Excuse | None = None,
) -> DocumentState:
    return judged(Case(of, deleted, waiting, excuse, units, settled_before=NOW)).state


def excused(standing: Standing, chunks: int = 0) -> Excuse:
    return Excuse(standing, chunks)


def test_stored_completely_once() -> None:
    """Whatever versions the chunks come from, and equal texts as often as wanted."""
    units = (*kept("a", "b"), *kept("b", day=1))
    assert judge(wanted("a", "b", "b"), *units) is DocumentState.STORED
    assert judge(wanted()) is DocumentState.STORED
    assert judge(wanted("a"), *kept("a"), waiting=True) is DocumentState.STORED
    assert judge(wanted("a"), *kept("a"), excuse=excused(Standing.OPEN, 1)) is DocumentState.STORED


def test_missing_is_missing_at_once() -> None:
    """However young the others are: it was committed, so it should be there."""
    assert judge(wanted("a", "b")) is DocumentState.MISSING
    assert judge(wanted("a", "b"), *kept("a", created=NOW + 1)) is DocumentState.INCOMPLETE
    assert judge(wanted("a", "a"), *kept("a")) is DocumentState.INCOMPLETE


def test_what_waits_is_not_judged() -> None:
    """The group may be about to change it."""
    for units in ((), kept("a"), kept("x", day=1), kept("a", "b", "b")):
        assert judge(wanted("a", "b"), *units, waiting=True) is DocumentState.WAITING
    assert judge(None, *kept("a"), deleted=True, waiting=True) is DocumentState.WAITING


@pytest.mark.parametrize("standing", Standing)
def test_a_dead_letter_explains_while_somebody_may_act_on_it(standing: Standing) -> None:
    """Open, parked or under way; resolved or stale ones explain nothing."""
    explains = standing in {Standing.OPEN, Standing.PARKED, Standing.IN_FLIGHT}
    expected = DocumentState.DEAD_LETTER if explains else DocumentState.INCOMPLETE
    assert judge(wanted("a", "b"), *kept("a"), excuse=excused(standing, 1)) is expected


def test_a_dead_letter_explains_no_more_than_it_says() -> None:
    """One chunk failed and two are missing: one is lost. What it does not say counts as all."""
    of = wanted("a", "b", "c")
    assert judge(of, *kept("a"), excuse=excused(Standing.OPEN, 2)) is DocumentState.DEAD_LETTER
    assert judge(of, *kept("a"), excuse=excused(Standing.OPEN, 1)) is DocumentState.INCOMPLETE
    assert judge(of, excuse=excused(Standing.OPEN, 0)) is DocumentState.DEAD_LETTER
    stale = kept("x", "y", day=1)
    assert (
        judge(of, *kept("a"), *stale, excuse=excused(Standing.OPEN, 2)) is DocumentState.DEAD_LETTER
    )


def test_a_pack_that_holds_something_else_as_well_holds_what_is_wanted_of_it() -> None:
    """It stays where a new chunk was refused, and the dead letter explains that one."""
    pack = replace(kept("a")[0], digests=("a", "b", "old"), chunk_ids="1 2 3")
    of = wanted("a", "b", "new")
    assert judge(of, pack, excuse=excused(Standing.OPEN, 1)) is DocumentState.DEAD_LETTER
    assert judge(of, pack) is DocumentState.INCOMPLETE
    found = judged(Case(of, False, False, None, (pack,), settled_before=NOW))
    assert (found.stored, found.total, found.surplus) == (2, 3, 1)
    found = judged(Case(of, False, False, None, (pack,), NOW, lost=frozenset({pack.location})))
    assert (found.holders, found.not_found) == ((pack,), 2)


def test_what_is_there_too_often_is_judged_when_nothing_is_under_way() -> None:
    """Doubles and stale chunks; young ones, and those of unknown age, may still go."""
    double = replace(kept("a")[0], location=Location("z.json"))
    assert judge(wanted("a"), *kept("a"), double) is DocumentState.DOUBLE
    assert judge(wanted("a"), *kept("a"), *kept("x", day=1)) is DocumentState.STALE
    assert judge(wanted(), *kept("x", day=1)) is DocumentState.STALE
    for created in (None, NOW + 1):
        young = replace(double, created=created)
        assert judge(wanted("a"), *kept("a"), young) is DocumentState.SETTLING


def test_a_newer_version_is_not_judged() -> None:
    """Neither where it is whole nor where it lacks what the older one had."""
    assert judge(wanted("a", "b"), *kept("c", day=6)) is DocumentState.NEWER
    assert judge(wanted("a"), *kept("a"), *kept("c", day=6)) is DocumentState.NEWER


def test_what_nothing_wants() -> None:
    """Deleted and gone, deleted and still there, and what no event tells of."""
    assert judge(None, deleted=True) is DocumentState.GONE
    assert judge(None, *kept("a"), deleted=True) is DocumentState.NOT_REMOVED
    assert judge(None, *kept("a", created=NOW + 1), deleted=True) is DocumentState.SETTLING
    assert judge(None, *kept("a")) is DocumentState.UNEXPECTED


def lost(
    of: WantedDocument, *units: KeptUnit, excuse: Excuse | None = None, waiting: bool = False
) -> Judgement:
    """The judgement where searches found none of the units."""
    every = frozenset(unit.location for unit in units)
    return judged(Case(of, False, waiting, excuse, units, settled_before=NOW, lost=every))


def test_what_is_listed_and_not_found_is_not_stored() -> None:
    """Whatever explains other chunks explains nothing of these; another fault keeps its name."""
    open_letter = excused(Standing.OPEN, 1)
    found = lost(wanted("a", "b"), *kept("a", "b"))
    assert (found.state, found.stored, found.not_found) == (DocumentState.NOT_FOUND, 2, 2)
    assert lost(wanted("a", "b"), *kept("a"), excuse=open_letter).state is DocumentState.NOT_FOUND
    incomplete = lost(wanted("a", "b"), *kept("a"))
    assert (incomplete.state, incomplete.not_found) == (DocumentState.INCOMPLETE, 1)
    assert incomplete.text == (
        "1 of 2 chunks are not stored; 1 chunk is listed, and no search finds it"
    )


def test_only_what_holds_a_wanted_chunk_is_looked_for() -> None:
    """Not what is stale; and nothing of a document whose event waits, or that is newer."""
    stale = lost(wanted("a"), *kept("x", day=1), *kept("a"))
    assert [unit.digests for unit in stale.holders] == [("a",)]
    assert (stale.state, stale.not_found) == (DocumentState.STALE, 1)
    for unjudged in (
        lost(wanted("a", "b"), *kept("a"), waiting=True),
        lost(wanted("a"), *kept("a", "b", day=6)),
    ):
        assert (unjudged.holders, unjudged.not_found) == ((), 0)


def test_whatever_is_told_says_what_to_do() -> None:
    """Nobody is left alone with a word."""
    assert set(WHAT_TO_DO) == UNEXPLAINED | NOTES
