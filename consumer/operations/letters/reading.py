"""Reading the dead letters back, and what the other topics say of them. Changes nothing.

- Each topic is read once, up to the end it had at the start. The ends are taken in the order in
  which records lead to others: letters, parked, replays, results. So everything that a letter had
  led to by then is seen as well.
- Payloads are not kept: a letter in memory is its headers. Its bytes are read again where they are
  needed (`consumer.operations.letters.payloads`).
- A result is parsed only where its key is that of a letter. The key of a result is the identity
  (schemas/README.md, "Results").
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from consumer.contract.received_letter import Letter, letter_of
from consumer.contract.received_result import read_result
from consumer.contract.trial import is_trial
from consumer.kafka.connection import KafkaUnavailableError
from consumer.kafka.reader import OffsetRanges
from consumer.kafka.topics import no_such_topic
from consumer.model.origin import instant_of
from consumer.model.record import Record
from consumer.operations.letters.standing import Standing, Standings, replayed_of
from consumer.operations.ports import KafkaAccess, RecordReader
from consumer.operations.progress import Progress, silent
from consumer.settings import Settings

_PROGRESS_EVERY = 500  # records between two reports of progress


@dataclass(frozen=True, slots=True)
class Reach:
    """How far back the results topic reaches.

    Args:
        records: how many results there are.
        cut: whether its beginning is gone, because records were deleted.
        oldest: the timestamp of the oldest record; None where there is none.
        unreadable: how many records are no results.
    """

    records: int = 0
    cut: bool = False
    oldest: datetime | None = None
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class Letters:
    """All dead letters and how they stand; made by `read_letters`.

    Args:
        letters: those of the dead-letter topic, newest first.
        parked: those of the parked topic, newest first.
        standings: how each of both stands.
        reach: how far back the results topic reaches.
        replays: how many records the replay topic has.
        notes: what a person should know about how this was read.
    """

    letters: tuple[Letter, ...]
    parked: tuple[Letter, ...]
    standings: Standings
    reach: Reach
    replays: int = 0
    notes: tuple[str, ...] = ()

    def of(self, letter: Letter) -> Standing:
        """How a letter stands."""
        return self.standings.of(letter)

    def standing(self, *wanted: Standing, parked: bool = False) -> tuple[Letter, ...]:
        """The letters of the dead-letter topic, or of the parked one, that stand like this.

        They come newest first.
        """
        chosen = self.parked if parked else self.letters
        return tuple(each for each in chosen if self.of(each) in wanted)

    @property
    def open(self) -> tuple[Letter, ...]:
        """The open letters, newest first."""
        return self.standing(Standing.OPEN)

    def unanswered(self, letters: Iterable[Letter]) -> tuple[Letter, ...]:
        """Those of the letters whose own result the results topic does not have (any more).

        The topic may lack later results as well then, and so it is not known whether these letters
        are stale. Foreign letters are not among them, nor are events that show neither identity nor
        document id: they get no result.
        """
        return tuple(
            each
            for each in letters
            if each.is_ours
            and (each.identity is not None or each.document_id is not None)
            and not self.standings.is_answered(each)
        )


async def read_letters(
    settings: Settings,
    kafka: KafkaAccess,
    *,
    progress: Progress = silent,
    also: Sequence[tuple[Letter, bytes | None]] = (),
) -> Letters:
    """Read dead letters, parked ones, replays and results (module docstring).

    Args:
        settings: name the topics.
        kafka: opened for reading.
        progress: called now and then.
        also: letters of a file, with their keys, that get a standing as well.

    Raises:
        KafkaUnavailableError: Kafka can't be reached or does not let us, or there is no
            dead-letter or results topic.
    """
    async with kafka.reader() as reader:
        return await _TopicPass(kafka, reader, settings, progress).read(also)


@dataclass(slots=True)
class _Keys:
    """The keys that a result about one of the letters can have."""

    known: set[bytes | None] = field(default_factory=set)
    all: bool = False  # the key of some letter is not known

    def add(self, letter: Letter, key: bytes | None) -> None:
        self.known.add(key)
        if letter.identity is not None:
            self.known.add(letter.identity.encode())
        elif letter.by_reference and key is None:
            self.all = True  # identity and key may both have been too long to be kept

    def __contains__(self, key: bytes | None) -> bool:
        return self.all or key in self.known


class _TopicPass:
    """One pass over the topics."""

    def __init__(
        self, kafka: KafkaAccess, reader: RecordReader, settings: Settings, progress: Progress
    ) -> None:
        self._kafka = kafka
        self._reader = reader
        self._settings = settings
        self._progress = progress
        self._keys = _Keys()
        self._notes: list[str] = []
        self._done = self._total = 0

    async def read(self, also: Sequence[tuple[Letter, bytes | None]]) -> Letters:
        kafka = self._settings.kafka
        letters_in = await self._needed(kafka.dead_letters_topic)
        parked_in = await self._optional(kafka.parked_topic, meaning="nothing is parked")
        replays_in = await self._optional(kafka.replay_topic, meaning="nothing was replayed")
        # Before the results' end: a replay that is committed by now has its result before that end.
        worked = await self._worked(kafka.replay_topic) if _size(replays_in) else {}
        results_in = await self._needed(kafka.results_topic)
        everything = (letters_in, parked_in, replays_in, results_in)
        self._total = sum(map(_size, everything))
        letters = [each async for each in self._letters(kafka.dead_letters_topic, letters_in)]
        parked = [each async for each in self._letters(kafka.parked_topic, parked_in)]
        for letter, key in also:
            self._keys.add(letter, key)
        standings = Standings([*letters, *(letter for letter, _ in also)], parked)
        standings.committed(worked)
        replays = await self._replays(kafka.replay_topic, replays_in, standings)
        reach = await self._results(kafka.results_topic, results_in, standings)
        self._progress(self._total, self._total)
        return Letters(
            _newest_first(letters),
            _newest_first(parked),
            standings,
            reach,
            replays,
            tuple(self._notes),
        )

    async def _needed(self, topic: str) -> OffsetRanges:
        ranges = await self._reader.offset_ranges(topic)
        if ranges is None:
            raise no_such_topic(topic)
        return ranges

    async def _optional(self, topic: str, *, meaning: str) -> OffsetRanges:
        ranges = await self._reader.offset_ranges(topic)
        if ranges is None:
            self._notes.append(f"there is no topic {topic}: taken as {meaning}")
        return ranges or {}

    async def _letters(self, topic: str, ranges: OffsetRanges) -> AsyncIterator[Letter]:
        async for record in self._records(topic, ranges):
            if is_trial(record):
                continue
            letter = letter_of(record)
            self._keys.add(letter, record.key)
            yield letter

    async def _replays(self, topic: str, ranges: OffsetRanges, standings: Standings) -> int:
        count = 0
        async for record in self._records(topic, ranges):
            count += 1
            if (replay := replayed_of(record)) is not None:
                standings.replayed(replay)
                # A foreign letter's replay is answered under any identity that its event shows.
                self._keys.all |= replay.event_id is None
        return count

    async def _worked(self, topic: str) -> Mapping[int, int]:
        """How far the service has come on the replay topic."""
        group = self._settings.kafka.group_id
        try:
            async with self._kafka.admin() as admin:
                places = await admin.places(group)
        except KafkaUnavailableError as error:
            self._notes.append(f"it is not known how far {group} is with replays: {error}")
            return {}
        return {partition: at.offset for (name, partition), at in places.items() if name == topic}

    async def _results(self, topic: str, ranges: OffsetRanges, standings: Standings) -> Reach:
        count = unreadable = 0
        oldest: int | None = None
        async for record in self._records(topic, ranges):
            count += 1
            if record.timestamp_ms > 0:
                oldest = min(oldest or record.timestamp_ms, record.timestamp_ms)
            if record.key not in self._keys:
                continue
            try:
                standings.result(read_result(record.value or b""))
            except ValueError:
                unreadable += 1
        return Reach(
            records=count,
            cut=any(offsets.start > 0 for offsets in ranges.values()),
            oldest=None if oldest is None else instant_of(oldest),
            unreadable=unreadable,
        )

    async def _records(self, topic: str, ranges: OffsetRanges) -> AsyncIterator[Record]:
        before, expected = self._done, _size(ranges)
        async for record in self._reader.records(topic, ranges):
            self._done += 1
            if self._done % _PROGRESS_EVERY == 0:
                self._progress(min(self._done, self._total), self._total)
            yield record
        # Offsets that transactions and compaction left out count as done.
        self._done = before + expected


def _size(ranges: OffsetRanges) -> int:
    return sum(offsets.end - offsets.start for offsets in ranges.values())


def _newest_first(letters: Iterable[Letter]) -> tuple[Letter, ...]:
    return tuple(sorted(letters, key=lambda one: (one.failed_at, one.at), reverse=True))
