"""What is published again, and what is left."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consumer.model.names import Identity, Slug
from consumer.model.record import Coordinates
from consumer.operations.audit.findings import WorkspaceStock
from consumer.operations.audit.newest_results import NewestResult
from consumer.operations.audit.states import DocumentState
from consumer.operations.republish.plan import LostDocument, NotPublished, RepublishPlan, plan_of

DOCS = Slug("docs")


def lost(name: str, offset: int, state: DocumentState = DocumentState.MISSING) -> LostDocument:
    at = Coordinates("documents", 0, offset)
    return LostDocument(DOCS, Identity(name), name, state, at, at)


def planned(
    *documents: LostDocument,
    stored_at: dict[str, float] | None = None,
    deleted: frozenset[str] = frozenset(),
    stock: WorkspaceStock = WorkspaceStock(),  # noqa: B008 - it is frozen
    first: int = 0,
    include_removed: bool = False,
) -> RepublishPlan:
    times = stored_at or {}

    def result_of(each: LostDocument) -> NewestResult | None:
        if each.identity not in times and each.identity not in deleted:
            return None
        return NewestResult(each.identity in deleted, times.get(each.identity, 0.0))

    return plan_of(
        documents,
        result_of,
        {DOCS: stock},
        lambda at: at.offset >= first,
        include_removed=include_removed,
    )


def test_the_order_is_that_of_the_topic() -> None:
    """So two events of one document keep theirs."""
    plan = planned(lost("b", 7), lost("a", 9), lost("c", 3))

    assert [each.identity for each in plan.published] == ["c", "b", "a"]
    assert plan.highest_partition == 0


@pytest.mark.parametrize(
    ("stock", "stored_at", "stands"),
    [
        (WorkspaceStock(), {}, False),  # nothing is left
        (WorkspaceStock(2, 50.0), {"a": 10.0, "b": 20.0}, False),  # all came after the loss
        (WorkspaceStock(2, 15.0), {"a": 10.0, "b": 20.0}, True),  # one was there before
        (WorkspaceStock(2, 20.0), {"a": 10.0, "b": 20.0}, True),  # nobody can tell
        (WorkspaceStock(3, 50.0), {"a": 10.0, "b": 20.0}, True),  # more is there than missing
        (WorkspaceStock(2, None), {"a": 10.0, "b": 20.0}, True),  # nobody knows since when
        (WorkspaceStock(2, 50.0), {"a": 10.0}, True),  # nobody knows until when
        (WorkspaceStock(9, 50.0, {"1": 9}), {"a": 10.0, "b": 20.0}, False),  # a run was stopped
        (WorkspaceStock(9, 50.0, {"1": 4, "2": 3}), {"a": 10.0, "b": 20.0}, False),  # two were
        (WorkspaceStock(9, 15.0, {"1": 9}), {"a": 10.0, "b": 20.0}, True),  # not all came later
        (WorkspaceStock(9, 50.0, {"1": 3}), {"a": 10.0, "b": 20.0}, True),  # others are more
    ],
)
def test_what_somebody_may_have_removed(
    stock: WorkspaceStock, stored_at: dict[str, float], stands: bool
) -> None:
    """A loss that is not that of one moment is not undone without being asked for."""
    both = (lost("a", 1), lost("b", 2))
    usual = planned(*both, stock=stock, stored_at=stored_at)
    asked_for = planned(*both, stock=stock, stored_at=stored_at, include_removed=True)

    assert bool(usual.published) is not stands
    assert usual.counts == ({NotPublished.PERHAPS_REMOVED: 2} if stands else {})
    assert len(asked_for.published) == 2


def test_what_was_brought_back_before_the_loss_stands_like_the_rest() -> None:
    """The missing one was brought back by the same run, and somebody removed it since."""
    stock = WorkspaceStock(9, 50.0, {"1": 9})
    removed = planned(replace(lost("a", 1), run="1"), stock=stock, stored_at={"a": 10.0})
    again = WorkspaceStock(9, 50.0, {"2": 9})
    stopped = planned(replace(lost("a", 1), run="1"), stock=again, stored_at={"a": 10.0})

    assert removed.counts == {NotPublished.PERHAPS_REMOVED: 1}
    assert len(stopped.published) == 1


def test_what_is_there_in_part_was_not_removed() -> None:
    """An incomplete or stale document is put right, whatever stands beside it."""
    stock = WorkspaceStock(9, 1.0)
    states = (DocumentState.INCOMPLETE, DocumentState.STALE)
    plan = planned(*(lost(state, n, state) for n, state in enumerate(states)), stock=stock)

    assert len(plan.published) == 2


def test_a_deletion_counts_whatever_is_asked_for() -> None:
    """Of a document whose newest result says so, nothing is brought back."""
    plan = planned(lost("a", 1), deleted=frozenset({"a"}), include_removed=True)

    assert plan.counts == {NotPublished.DELETED: 1}


def test_what_the_topic_has_lost_is_left() -> None:
    plan = planned(lost("a", 1), lost("b", 2), first=2)

    assert [each.identity for each in plan.published] == ["b"]
    assert plan.counts == {NotPublished.GONE: 1}
