"""Which dead letters are still open: pure, from what the topics say, in whatever order it is read.

An event can have several letters: each replay that fails writes a new one. Only the newest stands
for the event. It is

    parked     put aside after it was written, by an operator or by the loop guard
    resolved   a later result of the same event is ``succeeded`` or ``superseded``
    stale      a newer version of its document succeeded, or was deleted: replaying it could only
               bring back old text
    in flight  it was replayed, and that replay has no result yet
    open       none of these: somebody has to look at it

Memory goes by the letters, not by the results: of those only what is about an event or a document
that has a letter is kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from consumer.model.delivery import Coordinates
from consumer.model.letter import Letter
from consumer.model.received import ReceivedResult, ReceivedSource
from consumer.model.version import DocumentVersion

_EVER = datetime.min.replace(tzinfo=UTC)


class Standing(StrEnum):
    """How a letter stands (module docstring); ``replaced``: a newer letter of its event does."""

    OPEN = "open"
    IN_FLIGHT = "in flight"
    RESOLVED = "resolved"
    STALE = "stale"
    PARKED = "parked"
    REPLACED = "replaced"


@dataclass(frozen=True, slots=True)
class Replayed:
    """A record on the replay topic.

    Args:
        event_id: of the original event.
        at: where it lies.
        run: the run that published it, where known.
    """

    event_id: str
    at: Coordinates
    run: str | None


@dataclass(slots=True)
class _Event:
    """What is known of one event that has letters."""

    newest: Letter
    parked: Letter | None = None
    last_status: str | None = None
    last_at: datetime = _EVER
    answered: bool = False  # whether the results topic has its first result
    version: datetime | None = None
    replays: dict[Coordinates, str | None] = field(default_factory=dict)  # place to status


@dataclass(slots=True)
class _Newest:
    """The newest states of one document in one workspace that are known to be settled."""

    stored: DocumentVersion | None = None
    deleted: DocumentVersion | None = None


class Standings:
    """See the module's docstring.

    Args:
        letters: of the dead-letter topic.
        parked: of the parked topic.
    """

    def __init__(self, letters: Iterable[Letter], parked: Iterable[Letter] = ()) -> None:
        self._events: dict[str, _Event] = {}
        self._documents: dict[str, dict[str | None, _Newest]] = {}
        for letter in letters:
            self._add(letter)
        for letter in parked:
            self._park(letter)

    def _add(self, letter: Letter) -> None:
        known = self._events.get(letter.event)
        if known is None:
            self._events[letter.event] = _Event(letter)
        elif _written(letter) > _written(known.newest):
            known.newest = letter
        if letter.identity is not None:
            self._documents.setdefault(letter.identity, {})

    def _park(self, letter: Letter) -> None:
        known = self._events.setdefault(letter.event, _Event(letter))
        if known.parked is None or _written(letter) > _written(known.parked):
            known.parked = letter
        if letter.identity is not None:
            self._documents.setdefault(letter.identity, {})

    def replayed(self, replay: Replayed) -> None:
        """A record of the replay topic."""
        event = self._events.get(replay.event_id)
        if event is not None:
            event.replays.setdefault(replay.at, None)

    def result(self, result: ReceivedResult) -> None:
        """A record of the results topic."""
        original = result.replay_of.event_id if result.replay_of else None
        event = self._events.get(original or result.event_id)
        if event is not None:
            self._answered(event, result)
        documents = self._documents.get(result.identity) if result.identity else None
        if documents is not None:
            self._settled(documents.setdefault(result.workspace_slug, _Newest()), result)

    def _answered(self, event: _Event, result: ReceivedResult) -> None:
        if result.replay_of is None:
            event.answered = True
            event.version = result.document_version
        else:
            event.replays[_place(result.source)] = result.status
        completed = result.completed_at or _EVER
        if completed >= event.last_at:
            event.last_at, event.last_status = completed, result.status

    def _settled(self, newest: _Newest, result: ReceivedResult) -> None:
        version = _version_of(result)
        if result.status == "succeeded":
            newest.stored = _newer(newest.stored, version)
        elif result.status == "deleted":
            newest.deleted = _newer(newest.deleted, version)

    def of(self, letter: Letter) -> Standing:
        """How a letter stands."""
        event = self._events[letter.event]
        if event.newest.at != letter.at and not self._is_parked_one(event, letter):
            return Standing.REPLACED
        if event.last_status in {"succeeded", "superseded"}:
            return Standing.RESOLVED
        if self._is_stale(letter, event):
            return Standing.STALE
        if None in event.replays.values():
            return Standing.IN_FLIGHT
        if event.parked is not None and _written(event.parked) >= _written(event.newest):
            return Standing.PARKED
        return Standing.OPEN

    def is_answered(self, letter: Letter) -> bool:
        """Whether the results topic still has the result that was published with its event."""
        return self._events[letter.event].answered

    def replays_of(self, letter: Letter) -> dict[Coordinates, str | None]:
        """Its replays: where they lie, and their results' status (None: none yet)."""
        return dict(self._events[letter.event].replays)

    def last_status_of(self, letter: Letter) -> str | None:
        """The status of the newest result of its event."""
        return self._events[letter.event].last_status

    @staticmethod
    def _is_parked_one(event: _Event, letter: Letter) -> bool:
        return event.parked is not None and event.parked.at == letter.at

    def _is_stale(self, letter: Letter, event: _Event) -> bool:
        if letter.identity is None or not letter.is_ours:
            return False
        at = letter.origin.at
        own = DocumentVersion(event.version or letter.origin.timestamp, at.partition, at.offset)
        for slug, newest in self._documents[letter.identity].items():
            if letter.workspace is not None and slug not in {letter.workspace, None}:
                continue
            if newest.stored is not None and newest.stored.newer_than(own):
                return True
            if newest.deleted is not None and _ends(newest.deleted, own):
                return True
        return False


def _ends(deleted: DocumentVersion, own: DocumentVersion) -> bool:
    """Whether a tombstone came after the event: by offset in one partition, else by date."""
    if deleted.partition is not None and deleted.partition == own.partition:
        return (deleted.offset or 0) > (own.offset or 0)
    return not own.newer_than(deleted)


def _newer(known: DocumentVersion | None, other: DocumentVersion) -> DocumentVersion:
    return other if known is None or other.newer_than(known) else known


def _version_of(result: ReceivedResult) -> DocumentVersion:
    """The version that a result speaks of; offsets are those of the original record."""
    source = result.replay_of or result.source
    instant = result.document_version or result.source.timestamp or _EVER
    return DocumentVersion(instant, source.partition, source.offset)


def _written(letter: Letter) -> tuple[int, int, int]:
    return letter.timestamp_ms, letter.at.partition, letter.at.offset


def _place(source: ReceivedSource) -> Coordinates:
    return Coordinates(source.topic, source.partition, source.offset)
