"""Which dead letters an operator means: every condition that is given has to hold. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from consumer.contract.received_letter import Letter
from consumer.model.names import Identity, Slug


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """See the module's docstring; a condition that is left out always holds.

    Args:
        reasons: one of these, ``foreign`` among them.
        cause: text in the message, in whatever case.
        identity: exactly this one.
        document: exactly this document id.
        workspace: exactly this slug.
        technology: exactly this one.
        since: aware; failed then or later.
        until: aware; failed before that.
        partition: partition of the dead-letter topic (or of the parked one).
        first_offset: this offset or a later one.
        last_offset: this offset or an earlier one.
        text: in message, identity, document id, workspace, technology or a failed chunk's id, in
            whatever case.
        events: one of these: an event id, ``partition@offset`` or ``topic-partition@offset``.
    """

    reasons: frozenset[str] = frozenset()
    cause: str | None = None
    identity: Identity | None = None
    document: str | None = None
    workspace: Slug | None = None
    technology: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    partition: int | None = None
    first_offset: int | None = None
    last_offset: int | None = None
    text: str | None = None
    events: frozenset[str] = frozenset()

    @property
    def is_all(self) -> bool:
        """Whether it selects every letter."""
        return self == Selection()

    def matches(self, letter: Letter) -> bool:
        """Whether every condition holds for the letter."""
        at = letter.at
        return (
            (not self.reasons or letter.reason in self.reasons)
            and _in(self.cause, text=letter.message)
            and self.identity in (None, letter.identity)
            and self.document in (None, letter.document_id)
            and self.workspace in (None, letter.workspace)
            and self.technology in (None, letter.technology)
            and (self.since is None or letter.failed_at >= self.since)
            and (self.until is None or letter.failed_at < self.until)
            and self.partition in (None, at.partition)
            and (self.first_offset is None or at.offset >= self.first_offset)
            and (self.last_offset is None or at.offset <= self.last_offset)
            and (self.text is None or any(_in(self.text, text=each) for each in _texts(letter)))
            and (not self.events or any(is_named(letter, each) for each in self.events))
        )


def is_named(letter: Letter, name: str) -> bool:
    """Whether a name is that of the letter: its event's, or its place."""
    place = f"{letter.at.partition}@{letter.at.offset}"
    return name in (letter.event, str(letter.at), place)


def _in(wanted: str | None, *, text: str) -> bool:
    return wanted is None or wanted.casefold() in text.casefold()


def _texts(letter: Letter) -> tuple[str, ...]:
    known = (letter.identity, letter.document_id, letter.workspace, letter.technology)
    return (letter.message, *(each for each in known if each), *letter.failed_chunk_ids)
