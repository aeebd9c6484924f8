"""The difference between wanted and stored: one rule, held by properties over any store."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from consumer.model.copies import contained_in_others, doubles_in
from consumer.model.difference import count_held, cover, cover_in_turn, difference
from consumer.model.document import Chunk, ProcessedDocument
from consumer.model.marker import StoredUnit, unit_of
from consumer.model.names import Location
from consumer.model.version import DocumentVersion

START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = DocumentVersion(START)


@dataclass(frozen=True)
class Row:
    """The least that a stored unit has to be."""

    location: Location
    digests: tuple[str, ...]
    version: DocumentVersion = NOW
    chunk_ids: str = ""


def _rows(*digests: str, day: int = 0) -> list[Row]:
    """One row a text; of several letters each is a chunk of a pack."""
    version = DocumentVersion(START + timedelta(days=day))
    return [Row(Location(f"{day}-{n:03}"), tuple(each), version) for n, each in enumerate(digests)]


_TEXTS = st.text("abcd", max_size=8)
_STORES = st.lists(st.text("abcde", max_size=3), max_size=8).map(lambda each: _rows(*each))


@given(wanted=_TEXTS, stored=_STORES)
def test_carrying_it_out_stores_exactly_what_is_wanted(wanted: str, stored: list[Row]) -> None:
    """Whatever is stored, packs included: kept and missing together are wanted, once each."""
    found = difference(wanted, stored, NOW)
    kept = Counter(digest for row in found.kept for digest in row.digests)
    missing = Counter(wanted[position] for position in found.missing)

    assert kept + missing == Counter(wanted)
    assert sorted(found.unchanged + found.missing) == list(range(len(wanted)))
    assert Counter(wanted[position] for position in found.unchanged) == kept


@given(wanted=_TEXTS, stored=_STORES)
def test_every_unit_is_kept_or_stale_and_never_both(wanted: str, stored: list[Row]) -> None:
    """What is neither would stay for ever, what is both would be removed although it is needed."""
    found = difference(wanted, stored, NOW)

    assert sorted([*found.kept, *found.stale], key=lambda row: row.location) == stored


@given(wanted=_TEXTS, stored=_STORES)
def test_once_carried_out_nothing_is_left_to_do(wanted: str, stored: list[Row]) -> None:
    """Deciding again about what was just brought about changes nothing."""
    found = difference(wanted, stored, NOW)
    uploaded = _rows(*(wanted[position] for position in found.missing), day=1)
    again = difference(wanted, [*found.kept, *uploaded], NOW)

    assert (again.missing, again.stale) == ((), ())


@given(wanted=_TEXTS, stored=_STORES, seed=st.integers())
def test_who_decides_twice_keeps_the_same_copies(wanted: str, stored: list[Row], seed: int) -> None:
    """Two that keep different copies of equal units would remove both: order must not matter."""
    shuffled = random.Random(seed).sample(stored, len(stored))
    letters = random.Random(seed).sample(wanted, len(wanted))

    assert cover(letters, shuffled) == cover(wanted, stored)


@given(wanted=_TEXTS, stored=_STORES)
def test_a_location_listed_twice_is_one_unit(wanted: str, stored: list[Row]) -> None:
    """Removing "the second row" of a kept document would remove the document."""
    assert cover(wanted, stored + stored) == cover(wanted, stored)


@given(text=_TEXTS)
def test_an_insertion_at_the_start_costs_one_upload(text: str) -> None:
    """Positions and ids shift behind it; the texts are what is compared."""
    found = difference("n" + text, _rows(*text), NOW)

    assert (found.missing, found.stale) == ((0,), ())


@given(text=_TEXTS)
def test_published_again_nothing_changes(text: str) -> None:
    """However often a text is repeated in it."""
    found = difference(text, _rows(*text), NOW)

    assert (len(found.kept), found.missing, found.stale) == (len(text), (), ())


@pytest.mark.parametrize(
    ("wanted", "stored", "kept", "missing"),
    [
        ("aa", ["a"], 1, 1),
        ("a", ["a", "a"], 1, 0),
        ("aaa", ["a", "b", "a"], 2, 1),
        ("ab", ["ab"], 1, 0),
        ("abc", ["ab"], 1, 1),
        ("a", ["ab"], 0, 1),
        ("ab", ["a", "ab"], 1, 0),
        ("abc", ["b", "c", "ab"], 2, 0),
        ("ab", ["aab"], 0, 2),
        ("aab", ["aab", "ab"], 1, 0),
        ("", ["a", "ab"], 0, 0),
        ("a", [""], 0, 1),
        ("", [""], 0, 0),
    ],
)
def test_what_is_kept_and_what_is_missing(
    wanted: str, stored: Sequence[str], kept: int, missing: int
) -> None:
    """Repeated texts are counted; a pack is kept whole or not at all; an empty unit holds nothing.

    Larger packs come first.

    What is not kept is stale, so a pack with one unwanted chunk costs an upload of the others.
    """
    found = difference(wanted, _rows(*stored), NOW)

    assert (len(found.kept), len(found.missing)) == (kept, missing)
    assert len(found.stale) == len(stored) - kept


def test_what_is_newer_is_never_stale() -> None:
    """An old copy of a document must not undo a newer one; equal and older units go."""
    old, new = _rows("x"), _rows("x", day=1)
    found = difference("y", old + new, NOW)

    assert found.stale == tuple(old)
    assert [row.location for row in cover("y", old + new).left] == ["0-000", "1-000"]


def test_of_equal_units_the_first_by_location_is_kept() -> None:
    """A rule that anybody can check by hand."""
    second, first = Row(Location("b"), ("x",)), Row(Location("a"), ("x",))
    found = cover(["x"], [second, first])

    assert (found.kept, found.left) == ((first,), (second,))
    assert found.covered == Counter("x")


def test_stored_units_are_decided_about() -> None:
    """What listings give has what deciding needs."""
    texts = (Chunk("c0", "zero", 0), Chunk("c1", "one", 1))
    document = ProcessedDocument("d", "T", "tech", "https://example.com/d", texts)
    unit = StoredUnit(Location("custom-documents/x.json"), unit_of(texts, document, NOW).marker)
    found = difference(unit.digests, [unit], NOW)

    assert (found.kept, found.missing, found.stale) == ((unit,), (), ())
    assert unit.version == NOW


def test_a_double_holds_nothing() -> None:
    """Of two units for the same chunk of the same event the second is stale, though wanted.

    Were it kept for another chunk with that text, whoever removes doubles later would take it away.
    """
    stored = [
        Row(Location("1"), ("x",), chunk_ids="first"),
        Row(Location("2"), ("x",), chunk_ids="first"),
        Row(Location("3"), ("x",), chunk_ids="second"),
    ]
    all_there = difference("xx", stored, NOW)
    assert all_there.stale == (stored[1],)
    assert all_there.missing == ()

    one_missing = difference("xx", stored[:2], NOW)
    assert one_missing.stale == (stored[1],)
    assert len(one_missing.missing) == 1


def test_of_doubles_the_newest_counts() -> None:
    """Its version keeps older events out; of one version everybody keeps the first by location."""
    older, newer = DocumentVersion(START, 0, 1), DocumentVersion(START, 0, 2)
    a = Row(Location("a"), ("x",), older, "id")
    b = Row(Location("b"), ("x",), newer, "id")
    c = Row(Location("c"), ("x",), newer, "id")
    other_id = Row(Location("d"), ("x",), older, "other")
    other_text = Row(Location("e"), ("y",), older, "id")

    assert doubles_in([c, other_text, b, other_id, a]) == {"a", "c"}
    assert doubles_in([a, b, c], lambda each: each == "a") == {"b", "c"}
    assert doubles_in([a, b, c], lambda _: False) == {"a", "c"}


@given(st.permutations(range(4)))
def test_everybody_finds_the_same_doubles(order: list[int]) -> None:
    """Also among versions that can't be compared: two processes would remove both copies."""
    versions = [DocumentVersion(START), *(DocumentVersion(START, n, 5) for n in range(3))]
    rows = [Row(Location(str(n)), ("x",), each, "id") for n, each in enumerate(versions)]

    assert doubles_in([rows[n] for n in order]) == {"0", "1", "2"}


@pytest.mark.parametrize(
    ("wanted", "stored", "expected"),
    [
        ("abc", [], 0),
        ("abc", ["a", "c"], 2),
        ("abc", ["abx"], 2),
        ("abc", ["abx", "ab"], 2),
        ("aab", ["a"], 1),
        ("ab", ["xy"], 0),
    ],
)
def test_how_many_chunks_are_there(wanted: str, stored: Sequence[str], expected: int) -> None:
    """Also in a pack that is not kept, because something else is in it: it may have to stay."""
    assert count_held(wanted, _rows(*stored)) == expected


PACKED_ROWS = [
    Row(Location("pack"), ("a", "b"), chunk_ids="1 2"),
    Row(Location("one"), ("a",), chunk_ids="1"),
    Row(Location("two"), ("b",), chunk_ids="2"),
]


@pytest.mark.parametrize(
    ("rows", "proven", "expected"),
    [
        (PACKED_ROWS, {"pack", "one", "two"}, {"one", "two"}),
        (PACKED_ROWS, {"one", "two"}, {"pack"}),
        (PACKED_ROWS, {"pack"}, {"one", "two"}),
        (PACKED_ROWS, {"one"}, set()),
        (PACKED_ROWS, set(), set()),
        (PACKED_ROWS[:2], {"pack", "one"}, {"one"}),
        ([*PACKED_ROWS[:1], replace(PACKED_ROWS[1], chunk_ids="3")], {"pack", "one"}, set()),
        ([*PACKED_ROWS[:1], replace(PACKED_ROWS[1], digests=("c",))], {"pack", "one"}, set()),
        ([*PACKED_ROWS[:1], _rows("a", day=1)[0]], {"pack", "one"}, set()),
    ],
)
def test_what_is_there_in_a_pack_and_on_its_own(
    rows: Sequence[Row], proven: set[str], expected: set[str]
) -> None:
    """The larger one stays, or what is known to be stored; with another id it is another chunk."""
    assert contained_in_others(rows, proven.__contains__) == expected


def test_what_is_in_a_pack_as_well_counts_for_no_other_chunk() -> None:
    """It goes as soon as anybody looks, and would take the text of that chunk with it."""
    pack = Row(Location("pack"), ("two", "six"), chunk_ids="0 1")
    beside = [
        Row(Location("a"), ("six",), chunk_ids="1"),
        Row(Location("b"), ("two",), chunk_ids="0"),
    ]
    third = Row(Location("c"), ("six",), chunk_ids="2")
    wanted = ["two", "six", "six"]

    assert cover(wanted, [pack, *beside, third]).kept == (third, pack)
    found = difference(wanted, [pack, *beside], NOW, ids=["0", "1", "2"])
    assert (found.missing, found.kept, found.stale) == ((2,), (pack,), tuple(beside))
    assert count_held(wanted, [pack, *beside]) == 2


def test_what_is_in_a_pack_that_goes_is_kept() -> None:
    """A late pack with a text that is not wanted any more would take its place, and stay."""
    pack = Row(Location("pack"), ("two", "six"), chunk_ids="0 1")
    two = Row(Location("b"), ("two",), chunk_ids="0")

    found = difference(["two"], [pack, two], NOW, ids=["0"])
    assert (found.kept, found.stale) == ((two,), (pack,))


def test_of_packs_that_overlap_those_that_fit_together_are_kept() -> None:
    """A pack of a former event that came late would take the place of two, and nothing would go."""
    late, new = _rows("bc", "ax"), _rows("ab", "cd", day=1)
    found = cover("abcd", [*late, *new])

    assert (found.kept, found.left) == (tuple(new), tuple(late))


def _pack(at: str, digests: str, ids: str, day: int = 0) -> Row:
    version = DocumentVersion(START + timedelta(days=day))
    return Row(Location(at), tuple(digests), version, " ".join(ids))


@pytest.mark.parametrize(
    ("wanted", "stored", "kept"),
    [
        ("abcdef", [("1", "abc", "012"), ("2", "def", "345"), ("3", "bcde", "1234")], "12"),
        ("abcd", [("1", "bc", "12"), ("2", "ab", "01"), ("3", "cd", "23")], "23"),
        ("xyxz", [("1", "xy", "01"), ("2", "xz", "23"), ("3", "yxz", "123")], "12"),
        (
            "abca",
            [("1", "abc", "012"), ("2", "a", "3"), ("3", "bca", "123"), ("4", "a", "0")],
            "12",
        ),
    ],
)
def test_of_packs_of_one_version_those_are_kept_that_fit_together(
    wanted: str, stored: Sequence[tuple[str, str, str]], kept: str
) -> None:
    """A larger one that came late would take their place, and leave something missing."""
    found = difference(wanted, [_pack(*each) for each in stored], NOW, ids="012345")

    assert ([each.location for each in found.kept], found.missing) == (list(kept), ())


def test_a_late_pack_takes_no_place_that_leaves_something_to_other_packs() -> None:
    """What is in it as well was left out first; it stayed beside a pack with one of its texts."""
    late, other = _pack("1", "abc", "012"), _pack("2", "db", "34")
    own = [_pack("3", "a", "0"), _pack("4", "c", "2")]
    found = difference("abcd", [late, other, *own], NOW, ids="0123")

    assert ([each.location for each in found.kept], found.missing) == (["2", "3", "4"], ())
    assert found.stale == (late,)


def test_a_pack_that_has_to_go_lends_what_nothing_else_holds() -> None:
    """Where a new chunk fails nothing goes, and what is lent would be there twice."""
    found = cover("abc", _rows("ax", "a", "bxy"))

    assert [row.digests for row in found.kept] == [("a",)]
    assert [row.digests for row in found.lenders] == [("b", "x", "y")]
    assert (found.covered, found.lent) == (Counter("a"), Counter("b"))
    assert not cover("abc", _rows("bxy"), may_lend=lambda unit: False).lent


def test_a_double_of_a_pack_lends_nothing() -> None:
    """It goes as soon as anybody looks, whatever fails: a text of two would be lost."""
    pack, double = _pack("1", "xo", "01"), _pack("2", "xo", "01")
    other = _pack("3", "xp", "02")
    ids = "06"

    assert difference("xx", [pack, double], NOW, ids=ids).lent == (0,)
    assert difference("xx", [pack, other], NOW, ids=ids).lent == (0,)
    assert difference("xx", [pack, replace(other, chunk_ids="6 2")], NOW, ids=ids).lent == (0, 1)


def test_what_is_lent_is_the_chunk_itself_where_it_is_there() -> None:
    """Uploaded once more it would be a double of the pack, and one of the two would go for it."""
    pack = _pack("1", "xo", "51")
    found = difference("xx", [pack], NOW, ids="05")

    assert (found.missing, found.lent) == ((0, 1), (1,))


_NAMED = st.lists(
    st.tuples(
        st.one_of(st.text("abcd", min_size=1, max_size=3), st.permutations("abc").map("".join)),
        st.text("12345", max_size=3),
    ),
    max_size=8,
)


@example(wanted="abc", stored=[("abc", "123"), ("cab", "145"), ("bca", "")])
@given(wanted=_TEXTS, stored=_NAMED)
def test_what_is_simple_is_chosen_as_whatever_overlaps(
    wanted: str, stored: list[tuple[str, str]]
) -> None:
    """An older version in the same group decides by the exact cover alone: both keep the same."""
    rows = [
        _pack(f"{n:03}", texts, ids[: len(texts)] if len(ids) >= len(texts) else "")
        for n, (texts, ids) in enumerate(stored)
    ]
    simply = cover(wanted, rows)
    with patch("consumer.model.fitting._alike", lambda wanted, units, shared: ([], units)):
        assert cover(wanted, rows) == simply


class _Counted(str):
    """A text that counts how often anybody looks something up by one."""

    __slots__ = ()
    looked_up = 0

    def __hash__(self) -> int:
        _Counted.looked_up += 1
        return super().__hash__()


def _look_ups(chunks: int, *, size: int, copies: int) -> int:
    """What it takes to decide about so many chunks, each there so often under other ids."""
    texts = [_Counted(f"text {n}") for n in range(chunks)]
    rows = [
        Row(
            Location(f"{copy}-{at:05}"),
            tuple(texts[at : at + size]),
            chunk_ids=" ".join(f"{copy}-{n}" for n in range(at, at + size)),
        )
        for copy in range(copies)
        for at in range(0, chunks, size)
    ]
    _Counted.looked_up = 0
    found = cover(texts, rows)
    assert (len(found.kept), found.covered.total()) == (chunks // size, chunks)
    return _Counted.looked_up


@pytest.mark.parametrize("size", [1, 10])
def test_texts_that_are_all_there_twice_take_about_twice_as_long(size: int) -> None:
    """It took nine times as much: with 20,000 chunks the loop stood still for 1.5 s."""
    once = _look_ups(200, size=size, copies=1)
    twice = _look_ups(200, size=size, copies=2)

    assert twice < 4 * once
    assert _look_ups(800, size=size, copies=2) < 4.1 * twice


@given(wanted=_TEXTS, groups=st.lists(_STORES, max_size=3), there=_STORES)
def test_what_stays_of_several_groups_holds_whatever_can_be_had(
    wanted: str, groups: list[list[Row]], there: list[Row]
) -> None:
    """As often as it is wanted, or as often as all of them hold it."""
    named = [
        [replace(row, location=Location(f"{n}-{row.location}")) for row in group]
        for n, group in enumerate(groups)
    ]
    stays, missing = cover_in_turn(wanted, named, there=there)
    every = Counter(each for row in [*there, *chain.from_iterable(named)] for each in row.digests)
    held = Counter(each for row in [*there, *stays] for each in row.digests)

    assert missing == Counter(wanted) - every
    assert Counter(wanted) - held == missing
