"""What is settled behind the first open record, as a text beside a committed offset."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.kafka.settled_metadata import (
    LIMIT,
    SettledBehind,
    SettledEntry,
    anchor_of,
    check_of,
    decode,
    encode,
    name_of,
)
from consumer.model.record import Coordinates, Record

RECORD = Record(Coordinates("documents", 3, 41), 1_700_000_000_000, b"a key", b"a value", ())
ANCHOR = anchor_of(RECORD, "cluster")
OFFSETS = st.lists(st.integers(1, 2**40), min_size=1, max_size=60, unique=True).map(sorted)


def entries_of(offsets: list[int], committed: int = 0) -> tuple[SettledEntry, ...]:
    return tuple(
        SettledEntry(committed + offset, offset % 65_536, offset % 3 == 0, offset % 5 == 0)
        for offset in offsets
    )


def behind(entries: tuple[SettledEntry, ...]) -> SettledBehind:
    return SettledBehind(ANCHOR, entries)


@given(
    offsets=OFFSETS,
    committed=st.integers(0, 2**60),
    first=st.booleans(),
    held_until=st.integers(0, 2**40),
    in_doubt=st.lists(st.integers(0, 2**32 - 1), max_size=300).map(tuple),
)
def test_what_is_written_is_read(
    offsets: list[int], committed: int, first: bool, held_until: int, in_doubt: tuple[int, ...]
) -> None:
    """Whatever was settled comes back, in order; the first open record may be among it."""
    entries = entries_of([0, *offsets] if first else offsets, committed)
    written = SettledBehind(ANCHOR, entries, held_until, in_doubt=in_doubt)

    assert decode(encode(committed, written, 10_000), committed) == written


@given(offsets=OFFSETS, limit=st.integers(0, 200))
def test_what_does_not_fit_is_left_out_from_the_far_end(offsets: list[int], limit: int) -> None:
    """No text is longer than the broker takes; what it holds is the beginning."""
    entries = entries_of(offsets)
    text = encode(0, SettledBehind(ANCHOR, entries), limit)

    assert len(text) <= limit
    if text:
        found = decode(text, 0)
        assert found is not None
        assert found.entries == entries[: len(found.entries)]


@pytest.mark.parametrize(("limit", "some"), [(0, False), (20, False), (64, True), (LIMIT, True)])
def test_small_limits(limit: int, some: bool) -> None:
    """A broker that takes 64 bytes takes a few entries; one that takes none gets an empty text."""
    text = encode(5, behind(entries_of(list(range(1, 3_000)), 5)), limit)

    assert bool(text) is some
    assert len(text) <= limit


def test_the_default_limit_holds_about_a_thousand() -> None:
    """What is settled behind one open document during a normal restart fits."""
    found = decode(encode(0, behind(entries_of(list(range(1, 3_000))))), 0)

    assert found is not None
    assert len(found.entries) > 950


@pytest.mark.parametrize("limit", [0, 20, 64, 200, LIMIT])
def test_names_take_a_quarter_of_the_room_at_most(limit: int) -> None:
    """The first ones stay; the rest is for what is settled."""
    many = SettledBehind(ANCHOR, entries_of(list(range(1, 3_000))), 1, in_doubt=(*range(3_000),))
    text = encode(0, many, limit)
    assert len(text) <= limit
    found = decode(text, 0)
    if found is not None:
        assert found.in_doubt == many.in_doubt[: len(found.in_doubt)]
        assert 4 * len(found.in_doubt) <= limit * 3 // 16

    assert limit < LIMIT or (found and len(found.entries) > 700 and len(found.in_doubt) > 180)


def test_a_name_is_of_one_thing() -> None:
    """As far as 32 bits go."""
    assert len({name_of(f"doc {n}") for n in range(100)}) == 100


@given(offsets=OFFSETS, data=st.data())
def test_damage_is_never_believed(offsets: list[int], data: st.DataObject) -> None:
    """A changed, cut or grown text says nothing, rather than something else."""
    text = encode(7, behind(entries_of(offsets, 7)), 10_000)
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from("Aa0-_.=~ é").filter(lambda sign: sign != text[at]))

    assert decode(text[:at] + other + text[at + 1 :], 7) is None
    assert decode(text[:at], 7) is None
    assert decode(text + other, 7) is None


@pytest.mark.parametrize(
    "text", ["", "x", "alc2.", "alc2.AAAA", "alc1." + "A" * 40, "\0", "alc2.é"]
)
def test_what_others_wrote_says_nothing(text: str) -> None:
    """Any tool may commit any text; older versions of ours commit an empty one."""
    assert decode(text, 0) is None


def test_a_text_is_bound_to_its_offset() -> None:
    """Offsets that somebody resets by hand, keeping the text, drop it."""
    text = encode(5, behind(entries_of([1, 2], 5)))

    assert decode(text, 5) is not None
    assert decode(text, 4) is None


@pytest.mark.parametrize(
    "other",
    [
        replace(RECORD, at=Coordinates("documents", 4, 41)),
        replace(RECORD, at=Coordinates("documents", 3, 42)),
        replace(RECORD, at=Coordinates("others", 3, 41)),
        replace(RECORD, timestamp_ms=RECORD.timestamp_ms + 1),
        replace(RECORD, key=b"another"),
        replace(RECORD, key=None),
    ],
)
def test_the_anchor_is_one_record(other: Record) -> None:
    """Another partition, a topic made anew and another record have another anchor."""
    assert anchor_of(other, "cluster") != ANCHOR


def test_the_anchor_is_of_one_cluster() -> None:
    """Metadata that a mirror copied to another cluster is not believed there."""
    assert anchor_of(RECORD, "another") != ANCHOR


def test_the_check_is_over_timestamp_and_key() -> None:
    """The value is not read for it; null and empty keys differ."""
    assert check_of(RECORD) == check_of(replace(RECORD, value=b"other"))
    assert check_of(RECORD) != check_of(replace(RECORD, timestamp_ms=1))
    assert check_of(replace(RECORD, key=None)) != check_of(replace(RECORD, key=b""))
