"""What an audit found, one by one and in numbers: pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from consumer.anythingllm.proof import Sight
from consumer.model.names import Identity, Location, Slug
from consumer.model.record import Coordinates
from consumer.operations.audit.judgement import KeptUnit
from consumer.operations.audit.states import NOTES, UNEXPLAINED, WHAT_TO_DO, DocumentState


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """A document, or an event, that is not as it should be.

    Args:
        state: see `DocumentState`.
        is_note: whether it breaks no promise, as far as that can be known.
        workspace: its slug, where known.
        event: where the event lies that says what should be; None where no event does.
        text: one line for people.
        read_at: where that event was read: another record where it was a replay.
        stored: how many of the wanted chunks are stored.
        total: how many chunks are wanted.
        surplus: how many chunks are stored that are not wanted, or not that often.
        not_found: how many of the stored ones searches did not find.
        run: the run of ``audit --republish`` that published that event again; empty: none did.
    """

    state: DocumentState
    is_note: bool
    workspace: Slug | None
    identity: Identity | None
    document_id: str | None
    event: Coordinates | None
    text: str
    read_at: Coordinates | None = None
    stored: int = 0
    total: int = 0
    surplus: int = 0
    not_found: int = 0
    run: str = ""

    @property
    def name(self) -> str:
        """Equal, within a workspace, for the same thing found twice."""
        return (
            str(self.event) if self.state is DocumentState.NO_DEAD_LETTER else self.identity or ""
        )

    @property
    def what_to_do(self) -> str:
        """What a person can do about it."""
        what_to_do = WHAT_TO_DO[self.state]
        if self.not_found and self.state is not DocumentState.NOT_FOUND:
            what_to_do += f". For what is not found: {WHAT_TO_DO[DocumentState.NOT_FOUND]}"
        return what_to_do


@dataclass(frozen=True, slots=True)
class AuditedDocument:
    """A document of a workspace, also one that is as it should be.

    Args:
        found: what an audit says of it.
        kept: its units there.
        is_newer: whether one of them is of a newer version than any event tells of.
        is_ended: whether it was deleted, and all of them are older than that.
    """

    found: AuditFinding
    kept: tuple[KeptUnit, ...]
    is_newer: bool = False
    is_ended: bool = False


@dataclass(frozen=True, slots=True)
class WorkspaceStock:
    """What is there of the documents that a workspace should have.

    Args:
        documents: how many are stored, if only in part.
        oldest: when the oldest of their chunks was stored, epoch seconds; None where unknown.
        brought_back: how many of them each run of ``audit --republish`` published last.
    """

    documents: int = 0
    oldest: float | None = None
    brought_back: Mapping[str, int] = field(default_factory=dict)

    def with_document(self, units: Iterable[KeptUnit], run: str = "") -> WorkspaceStock:
        """One more document, of which these are stored, and which this run published again."""
        back = self.brought_back
        created = [unit.created for unit in units]
        if self.documents:
            created.append(self.oldest)
        known = [each for each in created if each is not None]
        return WorkspaceStock(
            self.documents + 1,
            min(known) if len(known) == len(created) else None,
            {**back, run: back.get(run, 0) + 1} if run else back,
        )


@dataclass(slots=True)
class SearchCounts:
    """How many of the chunks that are called stored were looked for, and what searches say.

    Args:
        documents: of how many documents some were looked for.
        found: chunks that searches found.
        not_found: chunks that they did not find, twice.
        not_told: chunks of which nobody could say it.
        not_looked_at: all others.
    """

    documents: int = 0
    found: int = 0
    not_found: int = 0
    not_told: int = 0
    not_looked_at: int = 0

    def count(self, units: Iterable[KeptUnit], sights: Mapping[Location, Sight]) -> None:
        """Count the units of one document.

        Args:
            units: that hold its chunks.
            sights: what searches say, by location; nothing of what was not looked for.
        """
        self.documents += bool(sights)
        for unit in units:
            chunks = len(unit.digests)
            match sights.get(unit.location):
                case Sight.FOUND:
                    self.found += chunks
                case Sight.MISSING:
                    self.not_found += chunks
                case Sight.HIDDEN:
                    self.not_told += chunks
                case None:
                    self.not_looked_at += chunks


@dataclass(slots=True)
class AuditSummary:
    """An audit in numbers.

    Args:
        events: how many records were read.
        invalid: how many of them can't be carried out.
        not_committed: how many of them the group has not committed.
        states: how many documents are in each state; for `DocumentState.NO_DEAD_LETTER` how many
            events.
        notes: how many of these break no promise although their state could.
        notices: what a person should know about how this was found.
        search: whether searches find what is stored.
        unsearchable: workspaces where no search could tell anything.
        stock: what is there of the documents of each workspace.
    """

    events: int = 0
    invalid: int = 0
    not_committed: int = 0
    states: Counter[DocumentState] = field(default_factory=Counter)
    notes: int = 0
    notices: tuple[str, ...] = ()
    search: SearchCounts = field(default_factory=SearchCounts)
    unsearchable: tuple[Slug, ...] = ()
    stock: dict[Slug, WorkspaceStock] = field(default_factory=dict)

    def count(self, state: DocumentState, *, is_note: bool) -> None:
        """Count one more in this state."""
        self.states[state] += 1
        self.notes += is_note and state in UNEXPLAINED

    @property
    def documents(self) -> int:
        """How many documents events want to be stored; each counts once a workspace."""
        others = (
            DocumentState.GONE,
            DocumentState.UNEXPECTED,
            DocumentState.NOT_REMOVED,
            DocumentState.NO_DEAD_LETTER,
        )
        return self.states.total() - sum(self.states[each] for each in others)

    @property
    def noted(self) -> int:
        """How many notes there are."""
        return self.notes + sum(self.states[each] for each in NOTES)

    @property
    def unexplained(self) -> int:
        """How many break a promise."""
        return sum(self.states[each] for each in UNEXPLAINED) - self.notes
