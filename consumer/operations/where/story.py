"""The story of one document, put together from what the topics and AnythingLLM say: pure.

A document is asked for by its id or by its identity, and the question need not say which of the two
it is: `Names` learns the identities from the records it is shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from consumer.contract.envelope import fields_in, identity_bytes, wrapping_of
from consumer.contract.received_letter import Letter
from consumer.contract.received_result import ReceivedResult, names_in
from consumer.model.fields import text_of
from consumer.model.identity import IdentityTemplate
from consumer.model.marker import Marker
from consumer.model.names import Identity, Slug
from consumer.model.record import Coordinates, Record
from consumer.model.version import DocumentVersion
from consumer.operations.letters.standing import Standing
from consumer.operations.where.held import Held

DOCUMENT, TOMBSTONE = "document", "tombstone"  # kinds of events; others are reasons of refusal

WHAT_IS_STORED = "what is stored"  # the part of the story that comes from AnythingLLM

_MOST_LINES = 5  # of one kind in a verdict


class Names:
    """What a document is called; grows with the records that name it.

    Args:
        word: a document id or an identity.
        template: how identities are made.
    """

    def __init__(self, word: str, template: IdentityTemplate) -> None:
        self.word = word
        self._template = template
        self._identities = {Identity(word)}  # whether it is one or not

    @property
    def identities(self) -> frozenset[Identity]:
        """All identities known so far; the word is among them, whether it is one or not."""
        return frozenset(self._identities)

    def is_meant(self, document_id: str | None, identity: Identity | None) -> bool:
        """Whether these name the document; its identity is known from then on."""
        if document_id != self.word and identity not in self._identities:
            return False
        if identity is not None:
            self._identities.add(identity)
        return True

    def identity_of(self, marker: Marker) -> Identity:
        """The identity of the document that a marker names."""
        return self._template.of_marker(marker)

    def is_key(self, record: Record) -> bool:
        """Whether a record's key is one of the identities, as it stands or in an envelope."""
        if record.key is None:
            return False
        if record.key.decode(errors="replace") in self._identities:
            return True
        return key_text(record) in self._identities

    def may_be_about(self, record: Record) -> bool:
        """Whether an event is worth being read in full. This is quick, and never wrongly False.

        An event that can't be parsed is about whatever its key says.
        """
        if self.is_key(record):
            return True
        fields = fields_in(record.value, wrapping_of(record.headers)).fields
        id_, url, technology = (text_of(fields.get(k)) for k in ("id", "source_url", "technology"))
        return self.is_meant(
            id_, self._template.of_readable(document_id=id_, source_url=url, technology=technology)
        )

    def may_be_answered_by(self, record: Record) -> bool:
        """The same for a result."""
        return self.is_meant(*names_in(record.value))


def key_text(record: Record) -> str | None:
    """A record's key for a person, out of its envelope."""
    key = identity_bytes(record.key, wrapping_of(record.headers))
    return None if key is None else key.decode(errors="replace")


class EventProgress(StrEnum):
    """How far the consumer group is with an event."""

    DONE = "done"
    ANSWERED = "answered, not committed yet"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoryEvent:
    """An event about the document.

    Args:
        kind: `DOCUMENT`, `TOMBSTONE`, or the reason why it can't be carried out.
        workspace: the slug of where it belongs; None where that is not known, and for a tombstone
            that speaks of every workspace.
        chunks: how many; None for anything but a document.
        key: of the record, as text, out of its envelope.
        original: the record that it is a replay of.
        committed: whether the group is done with it.
        in_front: how many records of its partition, at most, the group has before it.
    """

    at: Coordinates
    timestamp: datetime
    kind: str
    document_id: str | None
    identity: Identity | None
    workspace: Slug | None
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
class StoryLetter:
    """A dead letter of the document.

    Args:
        letter: as it was read back.
        standing: whether somebody has to look at it.
        replays: where they lie, and the status of their results (None: none yet).
    """

    letter: Letter
    standing: Standing
    replays: Mapping[Coordinates, str | None]


@dataclass(frozen=True, slots=True)
class SameSource:
    """Another document of the same source that is stored in a workspace."""

    workspace: Slug
    identity: Identity
    source_url: str


@dataclass(frozen=True, slots=True)
class MissingPart:
    """A part of the story that can't be had."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Story:
    """Everything that is known of a document; sequences are oldest first.

    Args:
        word: what was asked for.
        identities: the identities under which it is known.
        held: what each workspace has of it.
        same_source: other documents of the same source.
        missing: the parts that can't be had.
        left_out: how many older events and results there are.
        narrowed: what was not looked at because it was not asked for.
    """

    word: str
    identities: tuple[Identity, ...]
    events: tuple[StoryEvent, ...]
    results: tuple[ReceivedResult, ...]
    letters: tuple[StoryLetter, ...]
    held: tuple[Held, ...]
    same_source: tuple[SameSource, ...] = ()
    missing: tuple[MissingPart, ...] = ()
    left_out: int = 0
    narrowed: tuple[str, ...] = ()

    @property
    def is_found(self) -> bool:
        """Whether anything is known of it."""
        return bool(self.events or self.results or self.letters or self.held)

    def result_of(self, event: StoryEvent) -> ReceivedResult | None:
        """The first result of an event, where it is among those that are known."""
        return next((each for each in self.results if place_of(each) == event.at), None)

    def progress_of(self, event: StoryEvent) -> EventProgress:
        """How far the group is with an event."""
        if event.committed:
            return EventProgress.DONE
        return EventProgress.ANSWERED if self.result_of(event) else EventProgress.WAITING

    def where_of(self, event: StoryEvent) -> str:
        """How far the group is with an event and what is in front of it, for people."""
        progress = self.progress_of(event)
        if progress is not EventProgress.WAITING:
            return str(progress)
        if event.in_front == 0:
            return "in work, or next in line"
        return f"waiting, at most {event.in_front} records in front of it"


def place_of(result: ReceivedResult) -> Coordinates:
    """The record that a result answers."""
    source = result.source
    return Coordinates(source.topic, source.partition, source.offset)


def verdict(story: Story) -> tuple[str, ...]:
    """The story in a few lines, the most urgent first, for a person in a hurry."""
    if not story.is_found:
        return (f"{story.word} is nowhere",)
    waiting = [
        f"{event.kind} {event.at}: {story.where_of(event)}"
        for event in story.events
        if story.progress_of(event) is EventProgress.WAITING
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
    if story.held or any(each.what == WHAT_IS_STORED for each in story.missing):
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
