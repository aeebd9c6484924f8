"""Replaying a dead letter: whether, and as what. Pure.

- Only open letters are replayed. Parked letters are brought back only where that is asked for.
- A foreign letter says nothing about itself that could be believed. So it is replayed only where an
  operator insists, as an event that begins where the letter lies.
- A letter that came back too often is parked instead: sent round and round, it would only hide the
  others. A letter that is brought back from there has been looked at, so it is let through.
- The replayed record is the original once more, and its headers say where the original lay
  (`consumer.model.origin`, `consumer.contract.dead_letter.published_again`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from consumer.contract.dead_letter import published_again, rfc3339
from consumer.contract.received_letter import Letter
from consumer.model import origin as of
from consumer.model.record import Headers, Record
from consumer.operations.letters.standing import Standing


class ReplayVerdict(StrEnum):
    """What is done with a letter, as it is reported.

    REPLAY      it is published to the replay topic.
    PARK        it came back too often: it is published to the parked topic.

    All others are left as they are:

    STALE       a newer version of its document is stored or deleted.
    RESOLVED    a later result of its event is good.
    IN_FLIGHT   it was replayed, and the replay has no result yet.
    PARKED      it was put aside.
    FOREIGN     its headers are not ours.
    UNREADABLE  Kafka's client can't read the letter itself.
    REPLACED    a newer letter of its event stands for it.
    HOPELESS    replaying it can't help, as things are.
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
    HOPELESS = "can't help"


class Skipped(StrEnum):
    """Why a letter that was to be replayed was left after all."""

    GONE = "its dead letter is not there any more"
    ORIGINAL_GONE = "by reference, and the original is not there any more"
    ORIGINAL_DIFFERS = "by reference, and another record lies where the original did"
    ORIGINAL_UNREADABLE = "by reference, and the original can't be read"
    ORIGINAL_ELSEWHERE = "without payload, and the original is on a topic that has no events"
    TOO_LARGE = "too large for its topic"
    SETTLED = "not open any more when the run came to it"


@dataclass(frozen=True, slots=True)
class ReplayRules:
    """How a run chooses.

    Args:
        max_replays: letters that came back this often are parked (``REPLAY_MAX_REPLAYS``).
        from_parked: parked letters are brought back, and no others are replayed.
        force: foreign letters are replayed as well.
        include_hopeless: those that replaying can't help as well.
    """

    max_replays: int
    from_parked: bool = False
    force: bool = False
    include_hopeless: bool = False


_LEFT: Mapping[Standing, ReplayVerdict] = {
    Standing.STALE: ReplayVerdict.STALE,
    Standing.RESOLVED: ReplayVerdict.RESOLVED,
    Standing.IN_FLIGHT: ReplayVerdict.IN_FLIGHT,
    Standing.PARKED: ReplayVerdict.PARKED,
    Standing.REPLACED: ReplayVerdict.REPLACED,
}


def verdict_of(
    letter: Letter, standing: Standing, rules: ReplayRules, *, can_help: bool = True
) -> ReplayVerdict:
    """What is done with a letter that stands like this.

    Args:
        letter: which one.
        standing: how it stands.
        rules: how a run chooses.
        can_help: whether replaying it can help, where that is known.
    """
    if standing is not Standing.OPEN and not (rules.from_parked and standing is Standing.PARKED):
        return _LEFT[standing]
    if letter.unreadable is not None:
        return ReplayVerdict.UNREADABLE
    if not letter.is_ours:
        return ReplayVerdict.REPLAY if rules.force else ReplayVerdict.FOREIGN
    if letter.origin.replays >= rules.max_replays and not rules.from_parked:
        return ReplayVerdict.PARK
    if not can_help and not rules.include_hopeless:
        return ReplayVerdict.HOPELESS
    return ReplayVerdict.REPLAY


@dataclass(frozen=True, slots=True)
class Replay:
    """A record as it is published to the replay topic.

    Args:
        key: of the original.
        value: of the original; None is a tombstone.
        headers: of the original, then ours.
        partition: the number of the original's partition; None where the key has to decide.
    """

    key: bytes | None
    value: bytes | None
    headers: Headers
    partition: int | None


def replay_of(letter: Letter, original: Record, run: str) -> Replay:
    """The letter as it is replayed.

    Args:
        letter: as it was read back.
        original: has the key, value and headers to publish: the letter's own record, or the one
            that it refers to.
        run: the run's id.
    """
    origin = letter.origin
    added = {
        of.EVENT_ID: letter.event_id,
        of.FIRST_FAILED_AT: rfc3339(letter.first_failed_at) if letter.first_failed_at else None,
        of.REPLAYS: str(origin.replays + 1 if letter.is_ours else 1),
        of.RUN: run,
        of.LETTER: str(letter.at),
    }
    return Replay(
        key=original.key,
        value=original.value,
        headers=published_again(original.headers, origin, added),
        partition=partition_of(letter),
    )


def partition_of(letter: Letter) -> int | None:
    """The number of the partition that its event was on; None for a foreign letter.

    The same number keeps a document's replays and its live events with one instance, in order.
    """
    return letter.origin.at.partition if letter.is_ours else None
