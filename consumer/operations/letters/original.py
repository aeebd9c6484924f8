"""The record that a by-reference dead letter stands for: where it may lie, how it is known. Pure.

This is the one rule for everybody: `dlq show`, the plan of a replay and the replay itself. What the
letter does not say can't differ: of a record whose bytes could never be had only the place and the
timestamp are known.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import Enum, auto

from consumer.contract.received_letter import Letter
from consumer.model.record import Coordinates, Record


class NoOriginal(Enum):
    """Why the original of a by-reference letter can't be had.

    GONE        nothing lies at any of its places any more.
    DIFFERS     another record lies there: a topic that was made anew counts its offsets from 0.
    UNREADABLE  a record lies there, and Kafka's client can't read it.
    """

    GONE = auto()
    DIFFERS = auto()
    UNREADABLE = auto()


@dataclass(frozen=True, slots=True)
class OriginalPlace:
    """Where an original may lie; its timestamp there in epoch milliseconds, None where unknown."""

    at: Coordinates
    timestamp_ms: int | None


def places_of(letter: Letter) -> tuple[OriginalPlace, ...]:
    """Where the original of a letter may lie, best first; nowhere for a letter with a payload.

    The letter's headers name the first original. The reference names the record that became the
    letter, which may have been a replay of it with the same bytes.
    """
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
        letter: by reference.
        place: one of `places_of` it.
        found: the record there, None where there is none.
    """
    if found is None:
        return NoOriginal.GONE
    if found.unreadable is not None:
        return NoOriginal.UNREADABLE
    return NoOriginal.DIFFERS if _differs(letter, place, found) else found


def _differs(letter: Letter, place: OriginalPlace, found: Record) -> bool:
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
