"""Replaying a dead letter: whether, and as what. Pure.

- Only what is open is replayed. What is parked is brought back only where that is asked for.
- A foreign letter says nothing about itself that could be believed, so it is replayed only where
  an operator insists, as an event that begins where it lies.
- A letter that came back too often is parked instead: sent round and round it would only hide the
  others. One that is brought back from there has been looked at, so it is let through.
- The replayed record is the original one again, and says in headers where that lay
  (`consumer.model.origin`); without them it would be a new event, newer than everything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from consumer.model import origin as of
from consumer.model.dead_letter import restored, rfc3339
from consumer.model.delivery import Coordinates, Headers, Record
from consumer.model.letter import Letter
from consumer.model.standing import Standing


class Verdict(StrEnum):
    """What is done with a letter, as it is reported.

    REPLAY      it is published to the replay topic.
    PARK        it came back too often: it is published to the parked topic.
    STALE       left: a newer version of its document is stored or deleted.
    RESOLVED    left: a later result of its event says so.
    IN_FLIGHT   left: it was replayed, and that has no result yet.
    PARKED      left: it was put aside.
    FOREIGN     left: its headers are not ours.
    UNREADABLE  left: Kafka's client can't read the letter itself.
    REPLACED    left: a newer letter of its event stands for it.
    """

    REPLAY = "to replay"
    PARK = "over the replay limit"
    STALE = "stale"
    RESOLVED = "resolved"
    IN_FLIGHT = "in flight"
    PARKED = "parked"
    FOREIGN = "foreign"
    UNREADABLE = "unreadable"
    REPLACED = "replaced"


class Skipped(StrEnum):
    """Why a letter that was to be replayed was left after all."""

    GONE = "its dead letter is not there any more"
    ORIGINAL_GONE = "by reference, and the original is not there any more"
    ORIGINAL_DIFFERS = "by reference, and another record lies where the original did"
    ORIGINAL_UNREADABLE = "by reference, and the original can't be read"
    TOO_LARGE = "too large for its topic"
    SETTLED = "not open any more when the run came to it"


@dataclass(frozen=True, slots=True)
class Rules:
    """How a run chooses.

    Args:
        max_replays: letters that came back this often are parked (``REPLAY_MAX_REPLAYS``).
        from_parked: parked letters are brought back, and only these.
        force: foreign letters are replayed, too.
    """

    max_replays: int
    from_parked: bool = False
    force: bool = False


_LEFT = {
    Standing.STALE: Verdict.STALE,
    Standing.RESOLVED: Verdict.RESOLVED,
    Standing.IN_FLIGHT: Verdict.IN_FLIGHT,
    Standing.PARKED: Verdict.PARKED,
    Standing.REPLACED: Verdict.REPLACED,
}


def verdict_of(letter: Letter, standing: Standing, rules: Rules) -> Verdict:
    """What is done with a letter that stands like this."""
    if standing is not Standing.OPEN and not (rules.from_parked and standing is Standing.PARKED):
        return _LEFT[standing]
    if letter.unreadable is not None:
        return Verdict.UNREADABLE
    if not letter.is_ours:
        return Verdict.REPLAY if rules.force else Verdict.FOREIGN
    if letter.origin.replays >= rules.max_replays and not rules.from_parked:
        return Verdict.PARK
    return Verdict.REPLAY


@dataclass(frozen=True, slots=True)
class Replay:
    """A record as it is published to the replay topic.

    Args:
        key: of the original.
        value: of the original; None is a tombstone.
        headers: those of the original, then where it came from.
        partition: the original's number, None where the key has to decide.
    """

    key: bytes | None
    value: bytes | None
    headers: Headers
    partition: int | None


def replay_of(letter: Letter, original: Record, run: str) -> Replay:
    """The letter as it is replayed.

    Args:
        letter: what is known of it.
        original: key, value and headers of the original: of the letter, or fetched by reference.
        run: the run's id.
    """
    origin = letter.origin
    added: dict[str, str | None] = {
        of.TOPIC: origin.at.topic,
        of.PARTITION: str(origin.at.partition),
        of.OFFSET: str(origin.at.offset),
        of.TIMESTAMP: str(origin.timestamp_ms),
        of.EVENT_ID: letter.event_id,
        of.FIRST_FAILED_AT: rfc3339(letter.first_failed_at) if letter.first_failed_at else None,
        of.REPLAYS: str(origin.replays + 1 if letter.is_ours else 1),
        of.RUN: run,
        of.LETTER: str(letter.at),
    }
    headers = tuple((name, text.encode()) for name, text in added.items() if text is not None)
    return Replay(
        key=original.key,
        value=original.value,
        headers=restored(original.headers) + headers,
        partition=partition_of(letter),
    )


def partition_of(letter: Letter) -> int | None:
    """The number of the partition that its event was on; unknown of a foreign one.

    The same number keeps a document's replays and its live events with one instance, in order.
    """
    return letter.origin.at.partition if letter.is_ours else None


@dataclass(frozen=True, slots=True)
class Wanted:
    """How the original of a by-reference letter is recognised.

    Args:
        places: where it may lie with the timestamp it must have there (None: unknown), best first.
        value_bytes: its size, where known.
        value_sha256: hex, where known.
        key_sha256: hex; None where it had no key, or that is unknown.
    """

    places: tuple[tuple[Coordinates, int | None], ...]
    value_bytes: int | None
    value_sha256: str | None
    key_sha256: str | None


def wanted_by(letter: Letter, reference: Mapping[str, Any]) -> Wanted:
    """What a by-reference letter refers to.

    Args:
        letter: its headers name the first original.
        reference: its value, decoded; names the record that became a letter, which may have been
            a replay already. Anything in it may be missing or wrong.
    """
    places: list[tuple[Coordinates, int | None]] = []
    if letter.is_ours:
        places.append((letter.origin.at, letter.origin.timestamp_ms))
    topic, partition, offset = (reference.get(n) for n in ("topic", "partition", "offset"))
    if isinstance(topic, str) and isinstance(partition, int) and isinstance(offset, int):
        place = Coordinates(topic, partition, offset)
        if place not in [known for known, _ in places]:
            places.append((place, _number(reference.get("timestamp_ms"))))
    return Wanted(
        places=tuple(places),
        value_bytes=_number(reference.get("value_bytes")),
        value_sha256=_text(reference.get("value_sha256")),
        key_sha256=_text(reference.get("key_sha256")),
    )


def reference_in(value: bytes | None) -> dict[str, Any]:
    """The reference that a letter's value is; empty when it is none."""
    try:
        fields = orjson.loads(value or b"null")
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def differs(found: Record, wanted: Wanted, timestamp_ms: int | None) -> bool:
    """Whether a record that lies at the original's place is another one.

    A topic that was made anew counts its offsets from 0 again.
    """
    value = found.value or b""
    known: list[tuple[object, object]] = [
        (timestamp_ms, found.timestamp_ms),
        (wanted.value_bytes, len(value)),
        (wanted.value_sha256, hashlib.sha256(value).hexdigest()),
        (wanted.key_sha256, hashlib.sha256(found.key or b"").hexdigest()),
    ]
    return any(expected is not None and expected != seen for expected, seen in known)


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
