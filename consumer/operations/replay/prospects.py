"""Whether replaying a letter can help: asked of its bytes and of the settings, not of anybody.

The decision is the service's own reader (`consumer.pipeline.read`), so it is as good as the
settings of whoever asks: they have to be the service's. What lies by reference is not fetched for
it: a plan may hold thousands, of megabytes each.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass

from consumer.contract.dead_letter import restored
from consumer.contract.received_letter import Letter
from consumer.kafka.reader import OffsetRanges
from consumer.model.outcome import Refused
from consumer.model.record import Coordinates, Record
from consumer.model.remedy import Outlook, is_foreseen, outlook
from consumer.operations.letters.original import places_of
from consumer.pipeline.read import Reader

GONE = "by reference, and its original is not there any more: it has to be published again"
TOO_LARGE = (
    "by reference, and too large for the replay topic: raise its max.message.bytes and "
    "DOCUMENT_MAX_BYTES, or have it published smaller"
)
_OF_OTHERS = "nobody knows: others wrote it"


@dataclass(frozen=True, slots=True)
class ReplayLimits:
    """What a record on the replay topic may have, in bytes before compression.

    Args:
        publisher: what is larger is not sent.
        topic: what the topic takes for sure (``max.message.bytes``); 0 where Kafka does not say.
        letters: the same of the dead-letter topic, which has refused what is there by reference.
        event: what the service takes (DOCUMENT_MAX_BYTES).
    """

    publisher: int
    topic: int
    letters: int
    event: int

    def refuses(self, size: int) -> bool:
        """Whether a by-reference original of that size can't be published there for sure.

        A topic counts after compression. What the dead-letter topic refused, another one refuses
        as well that takes no more.
        """
        return size > self.publisher or (self.topic <= self.letters and 0 < self.topic < size)

    def may_refuse(self, size: int) -> bool:
        """Whether only compression can get it through."""
        return 0 < self.topic < size and not self.refuses(size)


def is_refused(reader: Reader, letter: Letter, record: Record) -> bool:
    """Whether the service would refuse the event of a letter without asking anybody.

    Args:
        reader: by the service's settings.
        letter: ours, with a payload.
        record: its own.
    """
    original = Record(
        at=letter.origin.at,
        timestamp_ms=letter.origin.timestamp_ms,
        key=record.key,
        value=record.value,
        headers=restored(record.headers),
    )
    return isinstance(reader.read(original).body, Refused)


async def foreseen(
    reader: Reader, records: AsyncIterator[tuple[Letter, Record | None]]
) -> dict[Coordinates, bool]:
    """By the places of letters whether their events would be refused as before."""
    return {
        letter.at: is_refused(reader, letter, record)
        async for letter, record in records
        if record is not None and record.unreadable is None
    }


def can_be_foreseen(letter: Letter) -> bool:
    """Whether looking at the bytes of a letter tells something."""
    return letter.is_ours and not letter.by_reference and is_foreseen(letter.reason)


@dataclass(frozen=True, slots=True)
class Prospects:
    """What was found out beforehand about some letters.

    Args:
        refused: by their places whether their events would be refused as before; of letters that
            nobody has looked at nothing.
        ranges: what the topics of originals hold.
        limits: of the replay topic.
        followed: topics that letters of others are followed to.
    """

    refused: Mapping[Coordinates, bool]
    ranges: Mapping[str, OffsetRanges]
    limits: ReplayLimits
    followed: frozenset[str]

    def of(self, letter: Letter) -> Outlook:
        """Whether replaying a letter can help."""
        if not letter.is_ours:
            return Outlook(True, _OF_OTHERS)
        if not letter.by_reference:
            return outlook(letter.reason, is_refused=self.refused.get(letter.at))
        if not self.is_there(letter):
            return Outlook(False, GONE)
        size = _size(letter)
        if self.limits.refuses(size):
            return Outlook(False, TOO_LARGE)
        return outlook(letter.reason, is_refused=True if size > self.limits.event else None)

    def is_there(self, letter: Letter) -> bool:
        """Whether something may lie where the original of a by-reference letter did.

        Whether that is the original is found out when it is replayed
        (`consumer.operations.replay.sources.original_for`).
        """
        places = places_of(letter, self.followed) if letter.by_reference else ()
        return any(self._holds(place.at) for place in places)

    def notes(self, replayed: Sequence[Letter]) -> tuple[str, ...]:
        """What a person should know before these letters are replayed."""
        count = sum(each.by_reference and self.limits.may_refuse(_size(each)) for each in replayed)
        if not count:
            return ()
        return (
            f"{count:,} by reference are larger than the replay topic takes without compression "
            f"(max.message.bytes={self.limits.topic}): what it refuses stays open",
        )

    def _holds(self, at: Coordinates) -> bool:
        offsets = self.ranges.get(at.topic, {}).get(at.partition)
        return offsets is not None and offsets.start <= at.offset < offsets.end


def _size(letter: Letter) -> int:
    return (letter.referred.value_bytes if letter.referred else None) or 0


def topics_of(letters: Sequence[Letter], followed: Collection[str]) -> set[str]:
    """The topics that originals of by-reference letters may lie on."""
    return {
        place.at.topic
        for each in letters
        if each.by_reference
        for place in places_of(each, followed)
    }
