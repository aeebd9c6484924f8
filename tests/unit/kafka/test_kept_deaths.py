"""Counts of deaths beside a committed offset: bounded, believed only whole, unknown to others."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.kafka.kept_deaths import (
    MARK,
    MOST,
    KeptDeaths,
    deaths_name,
    decode_deaths,
    encode_deaths,
    settled_part,
)
from consumer.kafka.ledger import CommitDue, Ledger, RecordMark
from consumer.kafka.settled_metadata import LIMIT, SettledBehind, decode
from consumer.model.death_count import DeathCount

NAME = deaths_name("a unit")
COUNT = DeathCount(3, 1_700_000_000.0, 1_700_000_900.0)
DAY = 86_400.0
RECORD_MARK = RecordMark(7, b"8 bytes.")
EPOCHS = st.integers(0, 2**32 - 1).map(float)
COUNTS = st.dictionaries(
    st.binary(min_size=8, max_size=8),
    st.builds(DeathCount, st.integers(1, 255), EPOCHS, EPOCHS),
    max_size=MOST,
)


@given(counts=COUNTS, committed=st.integers(0, 2**40))
def test_what_is_written_is_read(counts: dict[bytes, DeathCount], committed: int) -> None:
    """Beside the same offset, and beside no other."""
    text = "alc2.abc" + encode_deaths(counts, committed)

    assert decode_deaths(text, committed) == counts
    assert not decode_deaths(text, committed + 1)
    assert settled_part(text) == "alc2.abc"


@given(st.text(max_size=200))
def test_whatever_others_wrote_says_nothing(text: str) -> None:
    """Anybody may commit for the group, and nothing is raised."""
    assert decode_deaths(text, 1) == {}
    assert decode_deaths(MARK + text, 1) == {}


@pytest.mark.parametrize("change", [lambda t: t[:-1], lambda t: t + "A", lambda t: "x" + t[:-2]])
def test_a_spoilt_text_says_nothing(change: object) -> None:
    """A wrong belief would dead-letter a text that kills nobody."""
    assert callable(change)
    text = encode_deaths({NAME: COUNT}, 5)

    assert decode_deaths(text, 5) == {NAME: COUNT}
    assert decode_deaths(change(text), 5) == {}


def test_the_worst_are_kept_and_never_more_than_there_is_room_for() -> None:
    """The text stays within 400 characters of the 4,096 that a broker takes."""
    counts = {deaths_name(str(n)): DeathCount(1 + n % 5, n, n) for n in range(100)}
    text = encode_deaths(counts, 5)
    kept = decode_deaths(text, 5)

    assert len(text) < 400
    assert len(kept) == MOST
    assert {each.count for each in kept.values()} == {5}
    assert encode_deaths({}, 5) == ""


def test_versions_that_do_not_know_it_believe_nothing_of_it() -> None:
    """They work again what was settled, and lose nothing; without deaths nothing is new."""
    ledger = _ledger()
    plain = _due(ledger)
    ledger.note_deaths(NAME, 4, COUNT)
    due = _due(ledger)

    assert plain is not None
    assert due is not None
    assert MARK not in plain.metadata
    assert due.metadata.startswith(plain.metadata + MARK)
    assert isinstance(decode(plain.metadata, 4), SettledBehind)
    assert decode(due.metadata, 4) is None


def _due(ledger: Ledger) -> CommitDue | None:
    return ledger.due


def _ledger() -> Ledger:
    """One that begins at offset 4; the first record is open, the second settled."""
    ledger = Ledger("documents-0")
    ledger.begin_at(4)
    for offset in (4, 5):
        ledger.receive(offset, 0.0, RECORD_MARK)
    ledger.settle(5, carried_out=True)
    return ledger


def test_the_next_owner_reads_it_and_writes_it_on() -> None:
    """Also before it received anything, and until the event is settled."""
    ledger = _ledger()
    ledger.note_deaths(NAME, 4, COUNT)
    due = _due(ledger)
    assert due is not None
    after = Ledger("documents-0")
    after.begin_at(4, behind=decode(settled_part(due.metadata), 4), metadata=due.metadata)
    assert _due(after) is None
    after.receive(4, 0.0, RECORD_MARK)
    assert _due(after) is None
    assert after.deaths_of(NAME, 4) == COUNT
    assert after.deaths_of(deaths_name("another"), 4) is None
    after.receive(5, 0.0, RECORD_MARK)
    after.settle(4)
    after.settle(5)
    settled = _due(after)
    assert settled is not None
    assert MARK not in settled.metadata


def test_what_gets_through_is_forgotten() -> None:
    """With the next commit."""
    ledger = _ledger()
    ledger.note_deaths(NAME, 4, COUNT)
    ledger.note_deaths(NAME, 4, None)

    due = _due(ledger)
    assert due is not None
    assert MARK not in due.metadata


def test_a_count_goes_a_day_after_its_last_death() -> None:
    """Of an event that was overtaken nobody says that it is settled for good."""
    kept = KeptDeaths({NAME: COUNT, deaths_name("new"): replace(COUNT, last=COUNT.last + 10)})

    assert not kept.expire(COUNT.last + DAY)
    assert kept.expire(COUNT.last + DAY + 1)
    assert list(decode_deaths(kept.encode(5), 5)) == [deaths_name("new")]


@pytest.mark.parametrize("limit", [0, 20, 100, 120, LIMIT])
def test_no_text_is_longer_than_the_broker_takes(limit: int) -> None:
    """Counts come before what is settled: repeated work costs less than a killed server."""
    ledger = _ledger()
    ledger.note_deaths(NAME, 4, COUNT)
    ledger.limit_metadata(limit)

    due = _due(ledger)
    metadata = due.metadata if due is not None else ""
    assert len(metadata) <= limit
    assert (decode_deaths(metadata, 4) == {NAME: COUNT}) == (limit >= 100)
