"""Which dead letters are still open: pure, from what the topics say, in whatever order it is read.

An event can have several letters: each replay that fails writes a new one. Only the newest stands
for the event; the others are *replaced*. The newest is

    resolved   a later result of the same event is ``succeeded`` or ``superseded``, or ``deleted``
               where the event is a tombstone
    stale      a newer version of its document succeeded, or was deleted: replaying it could only
               bring back old text
    in flight  it was replayed, and that replay has neither a result nor a newer letter yet
    parked     it was put aside after it was written, by an operator or by the loop guard
    open       none of these: somebody has to look at it

The first of these that holds counts.

- "Later" and "newest" go by the times at which letters and results were made. Where the clocks of
  two instances differ, a letter may look open for as long as they do. To hide an open one, it takes
  a failure within that time after a success.
- A replay that the service has committed is not in flight, whatever became of it: an event whose
  id can't be read gets no result.
- A foreign letter's event is its content. A copy of it on the parked topic parks it. The results
  and letters of its replay belong to it, although they have ids of their own.

Memory goes by the letters and not by the results: a result is kept only where its event or its
document has a letter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from consumer.contract.received_letter import Letter
from consumer.contract.received_result import ReceivedResult, ReceivedSource
from consumer.model.origin import LETTER, RUN, origin_of
from consumer.model.record import Coordinates, Record
from consumer.model.version import DocumentVersion
from consumer.operations.letters.staleness import DocumentStates

_EVER = datetime.min.replace(tzinfo=UTC)
_RESOLVING = frozenset({"succeeded", "superseded"})


class Standing(StrEnum):
    """How a letter stands (module docstring)."""

    OPEN = "open"
    IN_FLIGHT = "in flight"
    RESOLVED = "resolved"
    STALE = "stale"
    PARKED = "parked"
    REPLACED = "replaced"


@dataclass(frozen=True, slots=True)
class ReplayedRecord:
    """A record on the replay topic.

    Args:
        event_id: of the original event; None for the replay of a foreign letter.
        at: where it lies.
        run: the id of the run that published it, where known.
        letter: the letter it was made of, as ``topic-partition@offset``, where known.
        original: place of the original record; for a foreign letter that of the letter.
        number: which replay of its event it is, from 1; 0 where that is not known.
    """

    event_id: str | None
    at: Coordinates
    run: str | None = None
    letter: str | None = None
    original: Coordinates | None = None
    number: int = 0


def replayed_of(record: Record) -> ReplayedRecord | None:
    """What a record of the replay topic says of itself; None where no replay wrote it."""
    origin = origin_of(record, is_replay=True)
    if origin.at == record.at:
        return None
    run, letter = record.header(RUN), record.header(LETTER)
    return ReplayedRecord(
        event_id=origin.event_id,
        at=record.at,
        run=run.decode("utf-8", "replace") if run else None,
        letter=letter.decode("utf-8", "replace") if letter else None,
        original=origin.at,
        number=origin.replays,
    )


@dataclass(frozen=True, slots=True)
class _Result:
    """What is kept of a result."""

    completed_at: datetime
    status: str
    is_replay: bool


@dataclass(slots=True)
class _EventLetters:
    """What is known of one event that has letters."""

    letters: list[Letter] = field(default_factory=list)
    newest: Letter | None = None  # on the dead-letter topic
    parked: Letter | None = None  # the newest on the parked topic
    results: dict[Coordinates, _Result] = field(default_factory=dict)  # the last of each record
    replays: dict[Coordinates, ReplayedRecord] = field(default_factory=dict)
    answered: bool = False
    version: datetime | None = None

    @property
    def stands(self) -> Letter:
        """The letter that stands for the event."""
        return self.newest or self.parked or self.letters[0]

    @property
    def is_parked(self) -> bool:
        """Whether the letter that stands is parked: no failure is newer than its copy."""
        newest, parked = self.newest, self.parked
        if newest is None or parked is None:
            return parked is not None
        # Two foreign letters of one event have equal bytes, so the one is parked by the other.
        return _written(parked) >= _written(newest) or not (newest.is_ours or parked.is_ours)


class Standings:
    """How each letter stands; filled with all letters first, then with replays and results.

    Args:
        letters: of the dead-letter topic.
        parked: of the parked topic.
    """

    def __init__(self, letters: Iterable[Letter], parked: Iterable[Letter] = ()) -> None:
        self._events: dict[str, _EventLetters] = {}
        self._documents = DocumentStates()
        self._committed: Mapping[int, int] = {}
        of_topic, aside = tuple(letters), tuple(parked)
        both = of_topic + aside
        # By place, because the results of a foreign letter's replay name its place as the original.
        self._foreign = {each.at: each.event for each in both if not each.is_ours}
        self._also = {
            each.event: self._foreign[each.origin.at]
            for each in both
            if each.is_ours and each.origin.at in self._foreign
        }
        for letter in of_topic:
            event = self._note(letter)
            if event.newest is None or _order(letter) > _order(event.newest):
                event.newest = letter
        for letter in aside:
            event = self._note(letter)
            if event.parked is None or _order(letter) > _order(event.parked):
                event.parked = letter

    # -- what is known ---------------------------------------------------------------------------

    def _note(self, letter: Letter) -> _EventLetters:
        event = self._events.setdefault(self.name_of(letter), _EventLetters())
        event.letters.append(letter)
        if letter.identity is not None:
            self._documents.watch(letter.identity)
        return event

    def replayed(self, replay: ReplayedRecord) -> None:
        """Take a record of the replay topic."""
        event = self._event(replay.event_id, replay.original)
        if event is not None:
            event.replays[replay.at] = replay

    def committed(self, offsets: Mapping[int, int]) -> None:
        """Take how far the service has come on the replay topic: offsets by partition."""
        self._committed = dict(offsets)

    def result(self, result: ReceivedResult) -> None:
        """Take a record of the results topic."""
        original = result.replay_of
        if original is None:
            event = self._event(result.event_id, None)
        else:
            event = self._event(original.event_id, _place(original))
        if event is not None:
            self._answered(event, result)
        self._documents.add(result, event.stands.origin if event else None)

    def _answered(self, event: _EventLetters, result: ReceivedResult) -> None:
        if result.replay_of is None:
            event.answered = True
        if result.document_version is not None:
            event.version = max(event.version or _EVER, result.document_version)
        place = _place(result.source)
        kept = _Result(result.completed_at or _EVER, result.status, result.replay_of is not None)
        known = event.results.get(place)
        # A crash may have repeated a result: the last one says what became of the record.
        if known is None or (kept.completed_at, kept.status) > (known.completed_at, known.status):
            event.results[place] = kept

    # -- what follows ------------------------------------------------------------------------------

    def of(self, letter: Letter) -> Standing:
        """How a letter stands.

        Raises:
            KeyError: it was not handed in at the beginning.
        """
        event = self._events[self.name_of(letter)]
        if letter.at != event.stands.at and not _is_copy(event, letter):
            return Standing.REPLACED
        if self._is_resolved(event):
            return Standing.RESOLVED
        if self._is_stale(event):
            return Standing.STALE
        if any(self._is_in_flight(event, replay) for replay in event.replays.values()):
            return Standing.IN_FLIGHT
        return Standing.PARKED if event.is_parked else Standing.OPEN

    def name_of(self, letter: Letter) -> str:
        """The name of its event, which all letters of the event share.

        A letter that came of replaying a foreign one belongs to the event of that.
        """
        return self._also.get(letter.event, letter.event)

    def is_answered(self, letter: Letter) -> bool:
        """Whether the results topic has the first result of its event.

        An event without identity and document id gets none (schemas/README.md, "Dead letters").
        """
        return self._events[self.name_of(letter)].answered

    def replays_of(self, letter: Letter) -> dict[Coordinates, str | None]:
        """Its replays: where they lie, and their results' status (None: none yet)."""
        event = self._events[self.name_of(letter)]
        found: dict[Coordinates, str | None] = dict.fromkeys(sorted(event.replays))
        found.update((at, one.status) for at, one in event.results.items() if one.is_replay)
        return found

    def runs_of(self, letter: Letter) -> dict[Coordinates, str | None]:
        """The id of the run that published each of its replays, where known."""
        event = self._events[self.name_of(letter)]
        return {at: replay.run for at, replay in event.replays.items()}

    def last_status_of(self, letter: Letter) -> str | None:
        """The status of the newest result of its event."""
        results = self._events[self.name_of(letter)].results.values()
        last = max(results, key=lambda one: (one.completed_at, one.status), default=None)
        return last.status if last is not None else None

    def letters_of(self, letter: Letter) -> tuple[Letter, ...]:
        """All letters of its event, also those on the parked topic; oldest first."""
        return tuple(sorted(self._events[self.name_of(letter)].letters, key=_order))

    def _is_resolved(self, event: _EventLetters) -> bool:
        letter = event.stands
        good = _RESOLVING | {"deleted"} if letter.tombstone else _RESOLVING
        return any(
            result.status in good
            # The time of a foreign letter says nothing, but every result came of replaying it.
            and (result.completed_at > letter.failed_at or not letter.is_ours)
            for result in event.results.values()
        )

    def _is_in_flight(self, event: _EventLetters, replay: ReplayedRecord) -> bool:
        if replay.at in event.results:
            return False
        if self._committed.get(replay.at.partition, 0) > replay.at.offset:
            return False
        return not self._failed_again(event, replay)

    @staticmethod
    def _failed_again(event: _EventLetters, replay: ReplayedRecord) -> bool:
        made_of = next((each for each in event.letters if str(each.at) == replay.letter), None)
        return made_of is not None and _written(event.stands) > _written(made_of)

    def _is_stale(self, event: _EventLetters) -> bool:
        letter = event.stands
        at = letter.origin.at
        instant = event.version or letter.version or letter.origin.timestamp
        own = DocumentVersion(instant, at.partition, at.offset)
        return letter.is_ours and self._documents.is_stale(letter, own)

    def _event(self, event_id: str | None, original: Coordinates | None) -> _EventLetters | None:
        name = self._foreign.get(original) if original is not None else None
        if name is None and event_id is not None:
            name = self._also.get(event_id, event_id)
        return self._events.get(name) if name is not None else None


def _is_copy(event: _EventLetters, letter: Letter) -> bool:
    """Whether the letter is the copy, on the parked topic, of the one that stands."""
    return event.parked is not None and event.parked.at == letter.at and event.is_parked


def _order(letter: Letter) -> tuple[bool, datetime, Coordinates]:
    """Sorts letters of one event by age; a letter that came of replaying a foreign one is newer."""
    return letter.is_ours, letter.failed_at, letter.at


def _written(letter: Letter) -> tuple[bool, datetime]:
    return letter.is_ours, letter.failed_at


def _place(source: ReceivedSource) -> Coordinates:
    return Coordinates(source.topic, source.partition, source.offset)
