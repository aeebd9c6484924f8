"""Which lost documents are published again from the documents topic, and which are not. Pure.

- Only what the newest event wants is published again. A document whose newest event is a tombstone
  is no lost one, and where the topic has lost the tombstone its result still says `deleted`.
- A document that is missing while its workspace stands may have been removed by hand, for a
  reason. Publishing it again would bring back what somebody wanted to be gone, so that is asked
  for by name. A workspace stands unless its loss is that of one moment: nothing is left in it, or
  at least as much is missing as is there, and all that is there came after the last that is
  missing. What a run of ours has brought back since counts with what is missing: else a run that
  was stopped beyond its half would find a workspace that stands, and never do the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from consumer.model.names import Identity, Slug
from consumer.model.record import Coordinates
from consumer.operations.audit.findings import AuditFinding, WorkspaceStock
from consumer.operations.audit.newest_results import NewestResult
from consumer.operations.audit.states import DocumentState

LOST = frozenset({DocumentState.MISSING, DocumentState.INCOMPLETE, DocumentState.STALE})
"""The states that publishing a document again puts right."""


class NotPublished(StrEnum):
    """Why a lost document is not published again."""

    DELETED = "its newest result says that it was deleted"
    PERHAPS_REMOVED = (
        "missing while its workspace stands, so perhaps removed by hand: --include-removed"
    )
    GONE = "its event is no longer in the topic: publish it anew"
    UNREADABLE = "its event can't be read any more"
    NEWER = "a newer event of it came meanwhile"
    TOO_LARGE = "the replay topic does not take it: raise its max.message.bytes"


@dataclass(frozen=True, slots=True)
class LostDocument:
    """A document that is not stored as its newest event says.

    Args:
        slug: of the workspace.
        state: one of `LOST`.
        at: the event's original record.
        read_at: where the event was read: another record where it was a replay.
        run: the run that published it again before; empty where none did.
    """

    slug: Slug
    identity: Identity
    document_id: str
    state: DocumentState
    at: Coordinates
    read_at: Coordinates
    run: str = ""


@dataclass(frozen=True, slots=True)
class RepublishPlan:
    """What would be published, in the order of the topic, and what would not."""

    published: tuple[LostDocument, ...] = ()
    left: tuple[tuple[LostDocument, NotPublished], ...] = ()

    @property
    def counts(self) -> Mapping[NotPublished, int]:
        """How many are left for each reason."""
        return Counter(why for _, why in self.left)

    @property
    def highest_partition(self) -> int:
        """The highest partition number that is needed; -1 where nothing is published."""
        return max((each.at.partition for each in self.published), default=-1)


@dataclass(slots=True)
class _Missing:
    documents: int = 0
    newest: float = field(default=float("-inf"))
    is_known: bool = True
    last_run: str = ""


def lost_in(found: AuditFinding) -> LostDocument | None:
    """What an audit found, where it is a lost document."""
    if found.state not in LOST or found.is_note:
        return None
    if found.workspace is None or found.identity is None or found.event is None:
        return None
    return LostDocument(
        found.workspace,
        found.identity,
        found.document_id or found.identity,
        found.state,
        found.event,
        found.read_at or found.event,
        found.run,
    )


def plan_of(
    lost: Iterable[LostDocument],
    result_of: Callable[[LostDocument], NewestResult | None],
    stock: Mapping[Slug, WorkspaceStock],
    is_there: Callable[[Coordinates], bool],
    *,
    include_removed: bool,
) -> RepublishPlan:
    """The plan for these documents.

    Args:
        lost: all of them.
        result_of: the newest result about one.
        stock: what is there of each workspace; one that is not named has nothing.
        is_there: whether a topic still reaches back to a record.
        include_removed: also those that may have been removed by hand.
    """
    lost = sorted(lost, key=lambda each: each.at)
    results = {(each.slug, each.identity): result_of(each) for each in lost}
    standing = _standing(lost, results, stock)
    published: list[LostDocument] = []
    left: list[tuple[LostDocument, NotPublished]] = []
    for each in lost:
        newest = results[each.slug, each.identity]
        missing = each.state is DocumentState.MISSING
        if newest is not None and newest.is_deleted:
            left.append((each, NotPublished.DELETED))
        elif missing and each.slug in standing and not include_removed:
            left.append((each, NotPublished.PERHAPS_REMOVED))
        elif not is_there(each.read_at):
            left.append((each, NotPublished.GONE))
        else:
            published.append(each)
    return RepublishPlan(tuple(published), tuple(left))


def _standing(
    lost: Iterable[LostDocument],
    results: Mapping[tuple[Slug, Identity], NewestResult | None],
    stock: Mapping[Slug, WorkspaceStock],
) -> frozenset[Slug]:
    """The workspaces whose loss is not that of one moment."""
    missing: dict[Slug, _Missing] = {}
    for each in lost:
        if each.state is DocumentState.MISSING:
            of = missing.setdefault(each.slug, _Missing())
            newest = results[each.slug, each.identity]
            of.documents += 1
            of.is_known &= newest is not None
            of.last_run = max(of.last_run, each.run)
            of.newest = max(of.newest, newest.completed if newest is not None else of.newest)
    return frozenset(
        slug for slug, of in missing.items() if _stands(of, stock.get(slug, WorkspaceStock()))
    )


def _stands(missing: _Missing, there: WorkspaceStock) -> bool:
    if not there.documents:
        return False
    # Ids of runs sort by time. What came back before the loss is as good as what never went.
    back = sum(count for run, count in there.brought_back.items() if run > missing.last_run)
    if missing.documents + back < there.documents - back:
        return True
    if not missing.is_known or there.oldest is None:
        return True
    return there.oldest <= missing.newest
