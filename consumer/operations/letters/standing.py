"""Which dead letters are still open: pure, from what the topics say, in whatever order it is read.

An event can have several letters: each replay that fails writes a new one. Only the newest stands
for the event; the others are *replaced*. It is

    resolved   a later result of the same event is ``succeeded`` or ``superseded``, or ``deleted``
               where the event is a tombstone
    stale      a newer version of its document succeeded, or was deleted: replaying it could only
               bring back old text
    in flight  it was replayed, and that replay has neither a result nor a newer letter yet
    parked     put aside after it was written, by an operator or by the loop guard
    open       none of these: somebody has to look at it

the first of these that holds.

- "Later" and "newest" go by the times at which letters and results were made. Two instances whose
  clocks differ can make a letter look open that is not, for as long as that; the other way round
  it takes a failure within that time after a success.
- A replay that the service has committed is not in flight, whatever became of it: an event whose
  id can't be read gets no result.
- A foreign letter's event is its content: a copy of it on the parked topic parks it, and what comes
  of its replay, results and letters with ids of their own, belongs to it.

Memory goes by the letters, not by the results: of those only what is about an event or a document
that has a letter is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from consumer.contract.received_letter import Letter
from consumer.contract.received_result import ReceivedResult, ReceivedSource
from consumer.model.origin import LETTER, RUN, Origin, origin_of
from consumer.model.record import Coordinates, Record
from consumer.model.version import DocumentVersion

_EVER = datetime.min.replace(tzinfo=UTC)
_RESOLVING = frozenset({"succeeded", "superseded"})


class Standing(StrEnum):
    """How a letter stands (module docstring); ``replaced``: a newer letter of its event does."""

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
        event_id: of the original event; of a foreign letter None.
        at: where it lies.
        run: the run that published it, where known.
        letter: the letter it was made of, as ``topic-partition@offset``, where known.
        original: place of the original record; of a foreign letter that of the letter.
    """

    event_id: str | None
    at: Coordinates
    run: str | None = None
    letter: str | None = None
    original: Coordinates | None = None


def replayed_of(record: Record) -> ReplayedRecord | None:
    """What a record of the replay topic says of itself; None for one that no replay wrote."""
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
        """Whether what was parked last is what stands, and no newer failure."""
        newest, parked = self.newest, self.parked
        if newest is None or parked is None:
            return parked is not None
        # Both foreign: then their bytes are equal, and so the letter is parked.
        return _written(parked) >= _written(newest) or not (newest.is_ours or parked.is_ours)


@dataclass(slots=True)
class _Known:
    """The newest states of one document in one workspace, from one partition."""

    stored: DocumentVersion | None = None
    stored_offset: int = -1
    deleted: DocumentVersion | None = None
    deleted_offset: int = -1


_Partition = tuple[str | None, int]  # workspace, partition


class Standings:
    """See the module's docstring.

    Args:
        letters: of the dead-letter topic.
        parked: of the parked topic.
    """

    def __init__(self, letters: Iterable[Letter], parked: Iterable[Letter] = ()) -> None:
        self._events: dict[str, _EventLetters] = {}
        self._documents: dict[str, dict[_Partition, _Known]] = {}
        self._committed: Mapping[int, int] = {}
        of_topic, aside = tuple(letters), tuple(parked)
        both = of_topic + aside
        # Where foreign letters lie: what comes of replaying one names that place as its original.
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
            self._documents.setdefault(letter.identity, {})
        return event

    def replayed(self, replay: ReplayedRecord) -> None:
        """A record of the replay topic."""
        event = self._event(replay.event_id, replay.original)
        if event is not None:
            event.replays[replay.at] = replay

    def committed(self, offsets: Mapping[int, int]) -> None:
        """How far the service has come on the replay topic, by partition; unless told, nowhere."""
        self._committed = dict(offsets)

    def result(self, result: ReceivedResult) -> None:
        """A record of the results topic."""
        original = result.replay_of
        if original is None:
            event = self._event(result.event_id, None)
        else:
            event = self._event(original.event_id, _place(original))
        if event is not None:
            self._answered(event, result)
        documents = self._documents.get(result.identity) if result.identity else None
        if documents is not None:
            self._settled(documents, result, event)

    def _answered(self, event: _EventLetters, result: ReceivedResult) -> None:
        if result.replay_of is None:
            event.answered = True
        if result.document_version is not None:
            event.version = max(event.version or _EVER, result.document_version)
        place = _place(result.source)
        kept = _Result(result.completed_at or _EVER, result.status, result.replay_of is not None)
        known = event.results.get(place)
        # A result that was repeated after a crash: the last one is what became of the record.
        if known is None or (kept.completed_at, kept.status) > (known.completed_at, known.status):
            event.results[place] = kept

    def _settled(
        self,
        documents: dict[_Partition, _Known],
        result: ReceivedResult,
        event: _EventLetters | None,
    ) -> None:
        if result.status not in {"succeeded", "deleted"}:
            return
        version = _version_of(result, event.stands.origin if event else None)
        if version is None:
            return
        partition, offset = version.partition or 0, version.offset or 0
        known = documents.setdefault((result.workspace_slug, partition), _Known())
        if result.status == "succeeded":
            known.stored = _newer(known.stored, version)
            known.stored_offset = max(known.stored_offset, offset)
        else:
            known.deleted = _newer(known.deleted, version)
            known.deleted_offset = max(known.deleted_offset, offset)

    # -- what follows ------------------------------------------------------------------------------

    def of(self, letter: Letter) -> Standing:
        """How a letter stands; it must be one of those that were handed in.

        Raises:
            KeyError: it is none of them.
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
        """What its letters have in common: its event, or that of the foreign letter it came of."""
        return self._also.get(letter.event, letter.event)

    def is_answered(self, letter: Letter) -> bool:
        """Whether the results topic has the result that was published with its event.

        One without identity and document id gets none (schemas/README.md, "Dead letters").
        """
        return self._events[self.name_of(letter)].answered

    def replays_of(self, letter: Letter) -> dict[Coordinates, str | None]:
        """Its replays: where they lie, and their results' status (None: none yet)."""
        event = self._events[self.name_of(letter)]
        found: dict[Coordinates, str | None] = dict.fromkeys(sorted(event.replays))
        found.update((at, one.status) for at, one in event.results.items() if one.is_replay)
        return found

    def runs_of(self, letter: Letter) -> dict[Coordinates, str | None]:
        """Which run published each of its replays, where known."""
        event = self._events[self.name_of(letter)]
        return {at: replay.run for at, replay in event.replays.items()}

    def last_status_of(self, letter: Letter) -> str | None:
        """The status of the newest result of its event."""
        results = self._events[self.name_of(letter)].results.values()
        last = max(results, key=lambda one: (one.completed_at, one.status), default=None)
        return last.status if last is not None else None

    def letters_of(self, letter: Letter) -> tuple[Letter, ...]:
        """All letters of its event, oldest first, those on the parked topic among them."""
        return tuple(sorted(self._events[self.name_of(letter)].letters, key=_order))

    def _is_resolved(self, event: _EventLetters) -> bool:
        letter = event.stands
        good = _RESOLVING | {"deleted"} if letter.tombstone else _RESOLVING
        return any(
            result.status in good
            # A foreign letter's time is anybody's; whatever there is came of replaying it.
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
        if letter.identity is None or not letter.is_ours:
            return False
        at = letter.origin.at
        instant = event.version or letter.version or letter.origin.timestamp
        own = DocumentVersion(instant, at.partition, at.offset)
        return any(
            _outdates(known, partition, own, tombstone=letter.tombstone)
            for (slug, partition), known in self._documents[letter.identity].items()
            if letter.workspace is None or slug is None or slug == letter.workspace
        )

    def _event(self, event_id: str | None, original: Coordinates | None) -> _EventLetters | None:
        name = self._foreign.get(original) if original is not None else None
        if name is None and event_id is not None:
            name = self._also.get(event_id, event_id)
        return self._events.get(name) if name is not None else None


def _outdates(known: _Known, partition: int, own: DocumentVersion, *, tombstone: bool) -> bool:
    """Whether a state of the document came after this event."""
    if tombstone and partition == own.partition:
        # Of a tombstone only its place in the partition is certain: it has no date of its own.
        return max(known.stored_offset, known.deleted_offset) > (own.offset or 0)
    if known.stored is not None and known.stored.newer_than(own):
        return True
    if known.deleted is None:
        return False
    if partition == own.partition:
        return known.deleted_offset > (own.offset or 0)
    return known.deleted.newer_than(own) if tombstone else known.deleted.ends(own)


def _newer(known: DocumentVersion | None, other: DocumentVersion) -> DocumentVersion:
    return other if known is None or other.newer_than(known) else known


def _version_of(result: ReceivedResult, origin: Origin | None) -> DocumentVersion | None:
    """The version that a result speaks of; offsets are those of the original record.

    A replay's record is younger than its event: where the result gives no version, which a removal
    never does, only the letter tells how old it is.
    """
    original = result.replay_of
    instant = result.document_version
    if instant is None and original is None:
        instant = result.source.timestamp
    elif instant is None and origin is not None:
        instant = origin.timestamp
    if instant is None:
        return None
    source = original or result.source
    return DocumentVersion(instant, source.partition, source.offset)


def _is_copy(event: _EventLetters, letter: Letter) -> bool:
    """Whether it is the copy on the parked topic of the letter that stands."""
    return event.parked is not None and event.parked.at == letter.at and event.is_parked


def _order(letter: Letter) -> tuple[bool, datetime, Coordinates]:
    """Letters of one event by age; what came of replaying a foreign one is newer than that."""
    return letter.is_ours, letter.failed_at, letter.at


def _written(letter: Letter) -> tuple[bool, datetime]:
    return letter.is_ours, letter.failed_at


def _place(source: ReceivedSource) -> Coordinates:
    return Coordinates(source.topic, source.partition, source.offset)
