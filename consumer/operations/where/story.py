"""The story of one document, put together from what the topics and AnythingLLM say: pure.

A document is asked for by its id or by its identity, and whoever asks need not know which of the
two it is: `Names` learns the identities from what it is shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from consumer.contract.envelope import fields_in
from consumer.contract.received_letter import Letter
from consumer.contract.received_result import ReceivedResult, names_in
from consumer.model.fields import text_of
from consumer.model.identity import IdentityTemplate
from consumer.model.marker import Marker
from consumer.model.record import Coordinates, Record
from consumer.model.version import DocumentVersion
from consumer.operations.letters.standing import Standing
from consumer.operations.where.held import Held

DOCUMENT, TOMBSTONE = "document", "tombstone"  # kinds of events; others are reasons of refusal

WHAT_IS_STORED = "what is stored"  # the part of the story that AnythingLLM tells

_MOST_LINES = 5  # of one kind in a verdict


class Names:
    """What a document is called; grows with what is told of it.

    Args:
        word: a document id or an identity.
        template: how identities are made.
    """

    def __init__(self, word: str, template: IdentityTemplate) -> None:
        self.word = word
        self._template = template
        self._identities = {word}

    @property
    def identities(self) -> frozenset[str]:
        """All identities known so far; the word is among them, whether it is one or not."""
        return frozenset(self._identities)

    def is_meant(self, document_id: str | None, identity: str | None) -> bool:
        """Whether that is this document; its identity is known from then on."""
        if document_id != self.word and identity not in self._identities:
            return False
        if identity is not None:
            self._identities.add(identity)
        return True

    def identity_of(self, marker: Marker) -> str:
        """The identity of what a marker names."""
        return self._template.of_marker(marker)

    def is_key(self, record: Record) -> bool:
        """Whether a record's key is one of the identities."""
        return record.key is not None and record.key.decode(errors="replace") in self._identities

    def may_be_told_by(self, record: Record) -> bool:
        """Whether an event is worth being read in full: quick, and never wrongly false.

        An event that can't be parsed is about whatever its key says.
        """
        if self.is_key(record):
            return True
        fields = fields_in(record.value)
        id_, url, technology = (text_of(fields.get(k)) for k in ("id", "source_url", "technology"))
        return self.is_meant(id_, self._template.of_readable(id_, url, technology))

    def may_be_answered_by(self, record: Record) -> bool:
        """The same for a result."""
        return self.is_meant(*names_in(record.value))


class EventProgress(StrEnum):
    """How far the group is with an event."""

    DONE = "done"
    ANSWERED = "answered, not committed yet"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class EventTold:
    """An event about the document.

    Args:
        at: where it lies.
        timestamp: of the record.
        kind: `DOCUMENT`, `TOMBSTONE`, or the reason why it can't be carried out.
        document_id: where known.
        identity: where known.
        workspace: where it belongs; None where that can't be told, or for a tombstone for all.
        version: where it has one.
        chunks: how many; None for anything but a document.
        key: of the record, as text; None where it has none.
        original: the record that it is a replay of.
        committed: whether the group is done with it.
        in_front: how many records of its partition, at most, the group has before it.
    """

    at: Coordinates
    timestamp: datetime
    kind: str
    document_id: str | None
    identity: str | None
    workspace: str | None
    version: DocumentVersion | None
    chunks: int | None
    key: str | None
    original: Coordinates | None
    committed: bool
    in_front: int

    @property
    def key_differs(self) -> bool:
        """Whether its key is not its identity: then order holds within its partition only."""
        return self.identity is not None and self.key != self.identity


@dataclass(frozen=True, slots=True)
class LetterTold:
    """A dead letter of the document.

    Args:
        letter: the letter.
        standing: how it stands.
        replays: where they lie, and the status of their results (None: none yet).
    """

    letter: Letter
    standing: Standing
    replays: Mapping[Coordinates, str | None]


@dataclass(frozen=True, slots=True)
class SameSource:
    """Another document of the same source that is stored in a workspace."""

    workspace: str
    identity: str
    source_url: str


@dataclass(frozen=True, slots=True)
class Untold:
    """A part of the story that can't be had."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Story:
    """Everything that is known of a document; sequences are oldest first.

    Args:
        word: what was asked for.
        identities: under which it is known.
        events: about it.
        results: of them.
        letters: about it.
        held: by workspace.
        same_source: others of the same source.
        untold: what can't be had.
        left_out: how many older events and results there are.
        narrowed: what was not looked at because it was not asked for.
    """

    word: str
    identities: tuple[str, ...]
    events: tuple[EventTold, ...]
    results: tuple[ReceivedResult, ...]
    letters: tuple[LetterTold, ...]
    held: tuple[Held, ...]
    same_source: tuple[SameSource, ...] = ()
    untold: tuple[Untold, ...] = ()
    left_out: int = 0
    narrowed: tuple[str, ...] = ()

    @property
    def is_found(self) -> bool:
        """Whether anything is known of it."""
        return bool(self.events or self.results or self.letters or self.held)

    def result_of(self, told: EventTold) -> ReceivedResult | None:
        """The first result of an event, where it is among those that are known."""
        return next((each for each in self.results if place_of(each) == told.at), None)

    def progress_of(self, told: EventTold) -> EventProgress:
        """How far the group is with an event."""
        if told.committed:
            return EventProgress.DONE
        return EventProgress.ANSWERED if self.result_of(told) else EventProgress.WAITING

    def where_of(self, told: EventTold) -> str:
        """The same with what is in front of it, for people."""
        progress = self.progress_of(told)
        if progress is not EventProgress.WAITING:
            return str(progress)
        if told.in_front == 0:
            return "in work, or next in line"
        return f"waiting, at most {told.in_front} records in front of it"


def place_of(result: ReceivedResult) -> Coordinates:
    """The record that a result answers."""
    source = result.source
    return Coordinates(source.topic, source.partition, source.offset)


def verdict(story: Story) -> tuple[str, ...]:
    """The story in a few lines: what somebody in a hurry has to know, most urgent first."""
    if not story.is_found:
        return (f"{story.word} is nowhere",)
    waiting = [
        f"{told.kind} {told.at}: {story.where_of(told)}"
        for told in story.events
        if story.progress_of(told) is EventProgress.WAITING
    ]
    standing = [
        f"dead letter {one.letter.at}, {one.standing}: {one.letter.reason}"
        for one in story.letters
        if one.standing in (Standing.OPEN, Standing.IN_FLIGHT, Standing.PARKED)
    ]
    return (*_some(waiting), *_some(standing), *_stored(story))


def _stored(story: Story) -> Iterator[str]:
    for held in story.held:
        yield held.text
    if story.held or any(each.what == WHAT_IS_STORED for each in story.untold):
        return
    last = story.events[-1] if story.events else None
    if last is not None and last.kind == TOMBSTONE and last.committed:
        yield "deleted: nothing of it is stored"
    else:
        yield "nothing of it is stored"


def _some(lines: list[str]) -> Iterator[str]:
    yield from lines[-_MOST_LINES:]
    if len(lines) > _MOST_LINES:
        yield f"and {len(lines) - _MOST_LINES} more like these"
