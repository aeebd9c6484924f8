"""The record that a dead letter stands for: where it may lie, how it is known. Pure.

This is the one rule for everybody: `dlq show`, the plan of a replay and the replay itself. What the
letter does not say can't differ: of a record whose bytes could never be had only the place and the
timestamp are known.

What a letter of others says of its original is followed to topics of events only, because whoever
writes such a letter could have any record that an operator may read published as a document.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum, auto

from consumer.contract.received_letter import Letter
from consumer.model.record import Coordinates, Record
from consumer.settings import Settings

# Others' letters rarely tell when the original was written. A record that is newer than the letter
# lies on a topic that was made anew; so much may a publisher's clock be ahead.
_CLOCKS_APART_MS = 5 * 60 * 1000


class NoOriginal(Enum):
    """Why the original of a by-reference letter can't be had.

    GONE        nothing lies at any of its places any more.
    DIFFERS     another record lies there: a topic that was made anew counts its offsets from 0.
    UNREADABLE  a record lies there, and Kafka's client can't read it.
    ELSEWHERE   others name a topic that has no events for us.
    """

    GONE = auto()
    DIFFERS = auto()
    UNREADABLE = auto()
    ELSEWHERE = auto()


@dataclass(frozen=True, slots=True)
class OriginalPlace:
    """Where an original may lie; its timestamp there in epoch milliseconds, None where unknown."""

    at: Coordinates
    timestamp_ms: int | None


def event_topics(settings: Settings) -> frozenset[str]:
    """The topics that a letter of others is followed to."""
    return frozenset({settings.kafka.documents_topic, settings.kafka.replay_topic})


def places_of(letter: Letter, topics: Collection[str]) -> tuple[OriginalPlace, ...]:
    """Where the original of a letter may lie, best first; nowhere for our letters with a payload.

    The letter's headers name the first original. The reference names the record that became the
    letter, which may have been a replay of it with the same bytes.

    Args:
        letter: ours, or one that others wrote by a known convention.
        topics: of events; see `event_topics`.
    """
    if (other := letter.other) is not None:
        place = OriginalPlace(other.original, other.timestamp_ms)
        return (place,) if other.original.topic in topics else ()
    referred = letter.referred
    if referred is None:
        return ()
    first = OriginalPlace(letter.origin.at, letter.origin.timestamp_ms)
    if referred.at == first.at:
        return (first,)
    return (first, OriginalPlace(referred.at, referred.timestamp_ms))


def judged(letter: Letter, place: OriginalPlace, found: Record | None) -> Record | NoOriginal:
    """The record found at one of a letter's places, where that is the original; else why not.

    Args:
        letter: by reference, or of others.
        place: one of `places_of` it.
        found: the record there, None where there is none.
    """
    if found is None:
        return NoOriginal.GONE
    if found.unreadable is not None:
        return NoOriginal.UNREADABLE
    return NoOriginal.DIFFERS if _differs(letter, place, found) else found


def chosen(letter: Letter, own: Record, found: Record | NoOriginal) -> Record:
    """What is replayed for a letter of others that has a payload.

    That is the original where it is known to be it: its bytes may have been changed by a
    serializer, and its headers be gone. Else the letter's own bytes have to do.

    Args:
        letter: of others.
        own: the letter's record.
        found: what `judged` says of the original's place.
    """
    if isinstance(found, NoOriginal) or letter.other is None:
        return own
    dated = letter.other.timestamp_ms is not None
    return found if dated or (found.key, found.value) == (own.key, own.value) else own


def _differs(letter: Letter, place: OriginalPlace, found: Record) -> bool:
    if letter.other is not None:
        if place.timestamp_ms is None:
            return found.timestamp_ms > letter.timestamp_ms + _CLOCKS_APART_MS
        return found.timestamp_ms != place.timestamp_ms
    referred = letter.referred
    if referred is None:
        return True
    value = found.value or b""
    known: list[tuple[object, object]] = [
        (place.timestamp_ms, found.timestamp_ms),
        (referred.value_bytes, len(value)),
        (referred.value_sha256, hashlib.sha256(value).hexdigest()),
        (referred.key_sha256, hashlib.sha256(found.key or b"").hexdigest()),
    ]
    return any(expected is not None and expected != seen for expected, seen in known)
