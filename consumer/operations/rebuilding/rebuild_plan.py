"""Which documents of a workspace are made anew, and whether each of them can be. Pure.

AnythingLLM gives no texts back. So what is stored goes only where its newest event is proven to be
in the topics, and where one document's is not, none goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from consumer.model.names import Identity
from consumer.model.record import Coordinates
from consumer.operations.audit.findings import AuditedDocument
from consumer.operations.audit.judgement import KeptUnit
from consumer.operations.audit.states import DocumentState


class Unproven(StrEnum):
    """Why a stored document could not be made anew: while there is such a one, nothing is begun."""

    NO_EVENT = "no event of it is left: publish it, or its tombstone with a `workspace` header"
    GONE = "the topic is about to lose its event: publish it again"
    OLDER_EVENTS = "what is stored is newer than all its events that are left: publish it again"


class NotMadeAnew(StrEnum):
    """Why a document is none of those that are made anew."""

    DELETED = "deleted, and still stored: `audit` says whether it is about to go"
    MISSING = "nothing of it is stored: `audit --republish` says what brings it back"
    DEAD_LETTER = "nothing of it is stored, a dead letter says why: `dlq list`"
    WAITING = "nothing of it is stored yet: the service has not come to its event"


@dataclass(frozen=True, slots=True)
class DocumentAnew:
    """A document that is to be made anew.

    Args:
        at: its newest event's original record.
        read_at: where that event was read: another record where it was a replay.
        units: how many AnythingLLM documents of it are there, and go.
        chunks: how many it has.
        has_former: whether some of its chunks are not stored, and texts of a former version are:
            these go, and nothing brings them back.
    """

    identity: Identity
    document_id: str
    at: Coordinates
    read_at: Coordinates
    units: int
    chunks: int
    has_former: bool = False

    @property
    def uploads(self) -> int:
        """How many uploads it takes, about: as many as before."""
        return self.units


@dataclass(frozen=True, slots=True)
class RebuildPlan:
    """What would be made anew, in the order of the topics.

    Args:
        documents: what would be.
        unproven: documents that keep all of it from being begun, with why.
        left: documents of which nothing can be made anew, with why.
        done: how many are made anew already, by a run that was stopped.
    """

    documents: tuple[DocumentAnew, ...] = ()
    unproven: tuple[tuple[Identity, Unproven], ...] = ()
    left: tuple[tuple[Identity, NotMadeAnew], ...] = ()
    done: int = 0

    @property
    def highest_partition(self) -> int:
        """The highest partition number that is needed; -1 where nothing is published."""
        return max((each.at.partition for each in self.documents), default=-1)

    @property
    def units(self) -> int:
        """How many AnythingLLM documents go, and about how many are uploaded."""
        return sum(each.units for each in self.documents)

    @property
    def with_former(self) -> int:
        """How many lose texts of a former version, as `DocumentAnew.has_former` says."""
        return sum(each.has_former for each in self.documents)

    @property
    def chunks(self) -> int:
        """How many chunks they hold."""
        return sum(each.chunks for each in self.documents)


_NOTHING_STORED = MappingProxyType(
    {
        DocumentState.MISSING: NotMadeAnew.MISSING,
        DocumentState.DEAD_LETTER: NotMadeAnew.DEAD_LETTER,
        DocumentState.WAITING: NotMadeAnew.WAITING,
    }
)


def rebuild_plan_of(
    documents: Iterable[AuditedDocument],
    is_there: Callable[[Coordinates], bool],
    since: datetime | None,
) -> RebuildPlan:
    """The plan for a workspace.

    Args:
        documents: all of it.
        is_there: whether a topic still reaches back to a record.
        since: when a run began that was stopped, by the server's clock: what was made since then
            is made anew. None: all of it is old.
    """
    anew: list[DocumentAnew] = []
    unproven: list[tuple[Identity, Unproven]] = []
    left: list[tuple[Identity, NotMadeAnew]] = []
    done = 0
    for each in documents:
        identity = each.found.identity
        if identity is None:
            continue  # an event that can't be carried out belongs to no workspace
        if not each.kept:
            if (why := _NOTHING_STORED.get(each.found.state)) is not None:
                left.append((identity, why))
        elif each.is_ended:
            left.append((identity, NotMadeAnew.DELETED))
        elif not any(_is_old(unit, since) for unit in each.kept):
            done += 1
        elif isinstance(found := _proven(each, identity, is_there), DocumentAnew):
            anew.append(found)
        else:
            unproven.append((identity, found))
    anew.sort(key=lambda document: document.at)
    return RebuildPlan(tuple(anew), tuple(unproven), tuple(left), done)


def _is_old(unit: KeptUnit, since: datetime | None) -> bool:
    return since is None or unit.created is None or unit.created < since.timestamp()


def _proven(
    document: AuditedDocument, identity: Identity, is_there: Callable[[Coordinates], bool]
) -> DocumentAnew | Unproven:
    found = document.found
    read_at = found.read_at or found.event
    if found.event is None or read_at is None:
        return Unproven.NO_EVENT
    if document.is_newer:
        return Unproven.OLDER_EVENTS
    if not is_there(read_at):
        return Unproven.GONE
    name = found.document_id or identity
    has_former = found.stored < found.total and found.surplus > 0
    units = len(document.kept)
    return DocumentAnew(identity, name, found.event, read_at, units, found.total, has_former)
