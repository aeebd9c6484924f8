"""The original of a by-reference dead letter: where it is looked for, how it is known."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from consumer.contract.received_letter import Letter, letter_of
from consumer.model.origin import Origin
from consumer.model.outcome import FailureReason
from consumer.model.record import Coordinates, Record, Unreadable
from consumer.operations.letters.original import (
    NoOriginal,
    OriginalPlace,
    chosen,
    judged,
    places_of,
)
from tests.unit.contract.letters import DOCUMENTS, REPLAY, document_record, letter, letter_record
from tests.unit.contract.other_letters import connect_record, share_record, spring_record

ORIGINAL = document_record(41, partition=3, value=b"x" * 1000, key=b"\xff key")
TOPICS = frozenset({DOCUMENTS, REPLAY})
PLACE = OriginalPlace(ORIGINAL.at, ORIGINAL.timestamp_ms)
UNREADABLE = Unreadable(FailureReason.UNDECODABLE, "damaged")


def referring(**changes: object) -> Letter:
    """A by-reference letter of the original, with changed fields in its reference."""
    record = letter_record(ORIGINAL, by_reference=True)
    return letter_of(
        replace(record, value=orjson.dumps(orjson.loads(record.value or b"") | changes))
    )


def test_the_original_is_looked_for_where_the_event_first_lay() -> None:
    """Then where the record lay that became the letter: a replay has the same bytes."""
    again = replace(ORIGINAL, at=Coordinates("docs.replay", 3, 5), timestamp_ms=17)
    origin = Origin(ORIGINAL.at, ORIGINAL.timestamp_ms, replays=1)

    assert places_of(letter(ORIGINAL, by_reference=True), TOPICS) == (PLACE,)
    assert places_of(letter(again, by_reference=True, origin=origin), TOPICS) == (
        PLACE,
        OriginalPlace(again.at, 17),
    )
    assert places_of(letter(ORIGINAL), TOPICS) == (), "it is its own original"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"key_sha256": None},
        {"value_bytes": None, "value_sha256": None, "key_sha256": None},
        {"value_bytes": "many", "value_sha256": 5, "key_sha256": []},
    ],
)
def test_what_is_not_known_can_not_differ(changes: dict[str, object]) -> None:
    """Of a record whose bytes could not be had nothing but place and timestamp is known."""
    assert judged(referring(**changes), PLACE, ORIGINAL) is ORIGINAL
    assert judged(referring(**changes), replace(PLACE, timestamp_ms=None), ORIGINAL) is ORIGINAL


@pytest.mark.parametrize(
    ("changes", "found", "why"),
    [
        ({}, None, NoOriginal.GONE),
        ({}, replace(ORIGINAL, key=None, value=None, unreadable=UNREADABLE), NoOriginal.UNREADABLE),
        ({}, replace(ORIGINAL, timestamp_ms=1), NoOriginal.DIFFERS),
        ({}, replace(ORIGINAL, value=b"y" * 1000), NoOriginal.DIFFERS),
        ({}, replace(ORIGINAL, value=None), NoOriginal.DIFFERS),
        ({}, replace(ORIGINAL, key=b"another"), NoOriginal.DIFFERS),
        ({"value_bytes": 12}, ORIGINAL, NoOriginal.DIFFERS),
        ({"value_bytes": -1}, ORIGINAL, NoOriginal.DIFFERS),
        ({"value_sha256": "0" * 64}, ORIGINAL, NoOriginal.DIFFERS),
        ({"key_sha256": "0" * 64}, ORIGINAL, NoOriginal.DIFFERS),
    ],
)
def test_another_record_at_the_same_place_is_noticed(
    changes: dict[str, object], found: Record | None, why: NoOriginal
) -> None:
    """A topic that was made anew counts its offsets from 0 again."""
    assert judged(referring(**changes), PLACE, found) is why


def test_a_letter_with_a_payload_has_no_other_original() -> None:
    """Nothing may be published in its place."""
    assert judged(letter(ORIGINAL), PLACE, ORIGINAL) is NoOriginal.DIFFERS


# -- letters of others -----------------------------------------------------------------------------


def test_others_are_followed_to_topics_of_events_only() -> None:
    """Whoever forges such a letter can't have a record of another topic published."""
    for record in (share_record(ORIGINAL), spring_record(ORIGINAL), connect_record(ORIGINAL)):
        (place,) = places_of(letter_of(record), TOPICS)

        assert place.at == ORIGINAL.at
        assert places_of(letter_of(record), {"payroll"}) == ()


def test_an_undated_original_is_no_newer_than_its_letter() -> None:
    """A topic that was made anew counts from 0: what lies there now was never given up."""
    theirs = letter_of(share_record(ORIGINAL))
    place = OriginalPlace(ORIGINAL.at, None)
    within = replace(ORIGINAL, timestamp_ms=theirs.timestamp_ms + 60_000)
    anew = replace(ORIGINAL, timestamp_ms=theirs.timestamp_ms + 3_600_000)

    assert judged(theirs, place, ORIGINAL) is ORIGINAL
    assert judged(theirs, place, within) is within, "a publisher's clock may be ahead"
    assert judged(theirs, place, anew) is NoOriginal.DIFFERS
    assert judged(theirs, place, None) is NoOriginal.GONE
    assert judged(theirs, place, replace(ORIGINAL, unreadable=UNREADABLE)) is NoOriginal.UNREADABLE


def test_a_dated_original_has_its_time() -> None:
    """Spring tells when the original was written."""
    theirs = letter_of(spring_record(ORIGINAL))
    (place,) = places_of(theirs, TOPICS)

    assert judged(theirs, place, ORIGINAL) is ORIGINAL
    assert judged(theirs, place, replace(ORIGINAL, timestamp_ms=1)) is NoOriginal.DIFFERS


def test_what_others_wrote_gives_way_to_a_certain_original() -> None:
    """Bytes that a serializer changed are replaced, a record that may be another is not taken."""
    again = spring_record(ORIGINAL, value=b"serialized anew")
    assert chosen(letter_of(again), again, ORIGINAL) is ORIGINAL
    assert chosen(letter_of(again), again, NoOriginal.GONE) is again

    same = connect_record(ORIGINAL)
    assert chosen(letter_of(same), same, ORIGINAL) is ORIGINAL
    other = replace(ORIGINAL, value=b"of another document")
    assert chosen(letter_of(same), same, other) is same
