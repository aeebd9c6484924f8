"""What may still come of an overtaken document holds back the commit of what overtook it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest

from consumer.model.death_count import DeathCount
from consumer.model.event import DocumentEvent, Event, TombstoneEvent
from consumer.model.names import Identity, Slug, TraceId
from consumer.model.origin import origin_of
from consumer.model.outcome import FailureReason, Refused
from consumer.model.record import Coordinates, Record
from consumer.pipeline.doubts import Doubts
from consumer.pipeline.index_rows import StoredRow
from consumer.pipeline.ports import Release
from consumer.resilience.fence import Fence
from tests.unit.pipeline.doubles import (
    AMBIGUITY,
    DAY,
    Clock,
    document,
    doubts_of,
    looks_of,
    stored,
    version,
)

DOCS, OTHER, A = Slug("docs"), Slug("other"), Identity("a")


@dataclass
class Delivery:
    """Notes what it is told."""

    record: Record = field(
        default_factory=lambda: Record(Coordinates("documents", 0, 1), 1, b"a", b"", ())
    )
    fence: Fence = field(default_factory=lambda: Fence("partition"))
    held_until: float = 0.0
    taken_over_at: float | None = None
    settled_before: bool = False
    carried_out_before: bool = False
    held_before: bool = False
    ended: bool = False
    left_before: Collection[str] = ()
    left: list[str] = field(default_factory=list)
    left_until: float = 0.0
    told: list[str] = field(default_factory=list)

    def carried_by(self, task: object) -> None: ...

    def settled(self, *, carried_out: bool) -> None:
        self.told.append(f"settled {carried_out}")

    def hold(self, until: float, *, carried_out: bool) -> Release:
        self.held_until = until
        self.told.append(f"held {carried_out}")
        return lambda: self.told.append("released")

    def deaths_of(self, what: str) -> DeathCount | None:
        return None

    def note_deaths(self, what: str, count: DeathCount | None) -> None: ...

    def leave_in_doubt(self, what: str, until: float) -> Release:
        self.left.append(what)
        self.left_until = until
        return lambda: self.left.remove(what)

    def left_in_doubt(self, what: str) -> bool:
        return what in self.left_before


class Scene:
    """Doubts beside looks."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.begun = self.clock.now
        self.looks = looks_of(self.clock)
        self.doubts: Doubts = doubts_of(self.looks, self.clock, self.now)

    def now(self) -> datetime:
        return DAY + timedelta(seconds=self.clock.now - self.begun)

    @property
    def epoch(self) -> float:
        return float(self.now().timestamp())

    def settle(self, event: Event, *, carried_out: bool = True) -> Delivery:
        delivery = Delivery()
        self.doubts.settled(delivery, event, carried_out=carried_out)
        return delivery

    def look(self, slug: Slug = DOCS) -> None:
        self.clock.now += AMBIGUITY + 1
        self.doubts.looked(slug, self.clock.now)


def event(day: float, slug: Slug | None = DOCS, *, removes: bool = False) -> Event:
    record = Delivery().record
    body = (
        TombstoneEvent(slug, A, version(day))
        if removes or slug is None
        else DocumentEvent(document("a", "x"), slug, A, version(day))
    )
    return Event(record, TraceId("t"), origin_of(record, is_replay=False), None, A, body, DAY)


def test_without_a_doubt_an_event_is_committed_at_once() -> None:
    """That is the rule."""
    scene = Scene()

    assert scene.settle(event(1)).told == ["settled True"]


def test_what_overtook_an_upload_in_doubt_waits_for_the_look() -> None:
    """If its owner dies, only who reads it again knows that the older text is left over."""
    scene = Scene()
    scene.doubts.note(DOCS, A, version(1))
    newer = scene.settle(event(2))
    assert newer.told == ["held True"]
    assert newer.held_until == scene.epoch + AMBIGUITY
    scene.doubts.looked(DOCS, scene.clock.now)
    assert newer.told == ["held True"], "that look was too early"
    scene.look(OTHER)
    assert newer.told == ["held True"], "that was another workspace"
    scene.look()

    assert newer.told == ["held True", "released"]
    assert scene.settle(event(3)).told == ["settled True"]


def test_an_upload_in_doubt_does_not_hold_its_own_event() -> None:
    """What comes late has the same marker; a proxy that answers 502 must not hold all commits.

    The next owner is told all the same: after a newer event it would be a left-over.
    """
    scene = Scene()
    scene.doubts.note(DOCS, A, version(1))
    own = scene.settle(event(1))
    assert (own.told, own.left) == (["settled True"], [A])
    assert own.left_until == scene.epoch + AMBIGUITY
    scene.look()

    assert (own.told, own.left) == (["settled True"], [])


def test_what_overtakes_a_committed_doubt_of_a_former_owner_waits_for_the_look() -> None:
    """A late copy of the older text is known for a left-over only by who carried out the newer."""
    scene = Scene()
    delivery = Delivery(held_until=scene.epoch + 100, left_before=[A])
    scene.doubts.received(delivery, event(2))
    scene.doubts.settled(delivery, event(2), carried_out=True)
    assert delivery.told == ["held True"]
    assert delivery.held_until == pytest.approx(scene.epoch + 100)
    scene.look()

    assert delivery.told == ["held True", "released"]


def test_what_is_held_is_named_as_well() -> None:
    """A replay of its document comes from another partition, and may be worked first."""
    scene = Scene()
    scene.doubts.note(DOCS, A, version(1))
    newer = scene.settle(event(2))
    assert (newer.told, newer.left) == (["held True"], [A])
    scene.look()

    assert (newer.told, newer.left) == (["held True", "released"], [])


def test_what_another_owner_carried_out_in_doubt_is_in_doubt_for_the_next_one() -> None:
    """Of what is settled behind an open event; it is not held back for that."""
    scene = Scene()
    delivery = Delivery(
        held_until=scene.epoch + 100, left_before=[A], settled_before=True, carried_out_before=True
    )
    scene.doubts.settled_before(delivery, event(2))
    assert (delivery.told, delivery.left) == (["settled True"], [A])

    assert scene.settle(event(3)).told == ["held True"]


def test_what_is_left_open_in_doubt_holds_what_overtakes_it_for_the_next_owner() -> None:
    """It is named beside the commit; other events of the partition are certain."""
    scene = Scene()
    scene.doubts.note(DOCS, A, version(1))
    dropped = Delivery()
    scene.doubts.dropped(dropped, event(1))
    after = Scene()
    again = Delivery(left_before=dropped.left, held_until=after.epoch + 100)
    other = replace(again, record=replace(again.record, at=Coordinates("documents", 0, 2)))
    after.doubts.received(again, event(1))
    after.doubts.received(other, replace(event(1), record=other.record))
    assert len(after.doubts._doubts[A]) == 1

    assert after.settle(event(2)).told == ["held True"]


def test_a_doubt_makes_a_look_due() -> None:
    """When it is over."""
    scene = Scene()
    scene.doubts.note(DOCS, A, version(1))
    scene.clock.now += AMBIGUITY + 30

    assert scene.looks.due() == [DOCS]


def test_what_a_former_owner_held_is_held_until_the_same_time() -> None:
    """And a look is due then, for whoever owns the partition."""
    scene = Scene()
    delivery = Delivery(
        held_until=scene.epoch + 100, held_before=True, settled_before=True, carried_out_before=True
    )
    scene.doubts.settled_before(delivery, event(2))
    assert delivery.told == ["held True"]
    assert delivery.held_until == pytest.approx(scene.epoch + 100)
    scene.clock.now += 131
    assert scene.looks.due() == [DOCS]
    scene.doubts.looked(DOCS, scene.clock.now)

    assert delivery.told == ["held True", "released"]


def test_a_tombstone_for_all_workspaces_waits_for_a_look_at_each() -> None:
    """The former owner knew where something may come; the next one does not."""
    scene = Scene()
    delivery = Delivery(held_until=scene.epoch + 100, held_before=True)
    scene.doubts.settled_before(delivery, event(2, None))
    scene.clock.now += 131
    assert scene.looks.due() == [None]
    scene.doubts.every([DOCS, OTHER], scene.clock.now)
    scene.doubts.looked(DOCS, scene.clock.now)
    assert delivery.told == ["held False"]
    scene.doubts.looked(OTHER, scene.clock.now)

    assert delivery.told == ["held False", "released"]


def test_what_a_former_owner_did_not_look_for_in_time_is_held_until_somebody_looks() -> None:
    """The doubt was over while nobody had the partition."""
    scene = Scene()
    delivery = Delivery(held_until=scene.epoch - 10, held_before=True)
    scene.doubts.settled_before(delivery, event(2))
    scene.clock.now += 31
    assert (delivery.told, scene.looks.due()) == (["held False"], [DOCS])
    scene.doubts.looked(DOCS, scene.clock.now)

    assert delivery.told == ["held False", "released"]


def test_what_was_held_long_ago_is_not_held_any_more() -> None:
    """A member that dies again and again before its first look must not hold commits for ever."""
    scene = Scene()
    delivery = Delivery(held_until=scene.epoch - 1_000, held_before=True)
    scene.doubts.settled_before(delivery, event(2))

    assert delivery.told == ["settled False"]


def test_an_overtaken_event_waits_for_its_own_uploads_as_well() -> None:
    """Committed before the newer one is settled, its doubt would be unknown to the next owner."""
    scene = Scene()
    scene.doubts.note(DOCS, A, version(1))

    assert scene.settle(event(1), carried_out=False).told == ["held False"]


def test_a_workspace_that_is_not_there_holds_nothing() -> None:
    """Somebody deleted it, or nobody ever made it."""
    scene = Scene()
    scene.doubts.note(DOCS, A, version(1))
    newer = scene.settle(event(2))
    scene.clock.now += AMBIGUITY + 1
    scene.doubts.every([OTHER], scene.clock.now)

    assert newer.told == ["held True", "released"]


def test_what_a_dead_owner_may_have_sent_holds_what_overtakes_it() -> None:
    """Nobody knows what it had begun. Later events of the same document wait for the look."""
    scene = Scene()
    taken_over = Delivery(taken_over_at=scene.clock.now - 100)
    scene.doubts.received(taken_over, event(1))
    assert scene.settle(event(1)).told == ["settled True"]
    newer = scene.settle(event(2, removes=True))
    assert newer.told == ["held True"]
    assert newer.held_until == pytest.approx(scene.epoch + AMBIGUITY - 100)
    scene.look()

    assert newer.told == ["held True", "released"]


def test_after_an_owner_that_ended_in_order_nothing_is_held() -> None:
    """Otherwise every rollout would hold the commits of what is published twice around it."""
    scene = Scene()
    scene.doubts.received(Delivery(), event(1))

    assert scene.settle(event(2)).told == ["settled True"]


def test_the_next_owner_hears_of_what_is_dropped_in_doubt() -> None:
    """A rebalance leaves it open, and it is worked again."""
    scene = Scene()
    scene.doubts.note(DOCS, A, version(1))
    in_doubt, other = Delivery(), Delivery()
    scene.doubts.dropped(in_doubt, event(1))
    scene.doubts.dropped(other, replace(event(1), identity=Identity("b")))

    assert (len(in_doubt.left), other.left) == (1, [])
    assert in_doubt.left_until == scene.epoch + AMBIGUITY


def test_what_can_t_be_read_is_committed_at_once() -> None:
    """It is about no document."""
    scene = Scene()
    refused = Refused(FailureReason.INVALID, ("bad",), None)
    unreadable = replace(event(1), identity=None, body=refused)

    assert scene.settle(unreadable, carried_out=False).told == ["settled False"]


def test_memory_goes_by_what_is_in_doubt() -> None:
    """Nothing is kept of what was looked at."""
    scene = Scene()
    for n in range(100):
        scene.doubts.note(DOCS, Identity(f"d{n}"), version(1))
        scene.doubts.note(DOCS, Identity(f"d{n}"), version(1))
    assert sum(len(doubts) for doubts in scene.doubts._doubts.values()) == 100
    scene.look()

    assert not scene.doubts._doubts
    assert not scene.doubts._settled


def test_what_a_former_owner_settled_and_did_not_hold_is_committed() -> None:
    """Something else may still come in its partition."""
    scene = Scene()
    delivery = Delivery(held_until=scene.epoch + 100, settled_before=True)
    scene.doubts.settled_before(delivery, event(2))

    assert delivery.told == ["settled False"]


def row(day: float, *texts: str) -> StoredRow:
    (unit,) = [stored("a", text, day) for text in texts]
    return StoredRow(unit.location, unit.version, unit.digests, A, unit.chunk_ids)


def test_what_a_dead_owner_may_be_removing_holds_nothing_for_the_next_version() -> None:
    """Its removal may be late; what was counted as stored would go after it was acknowledged."""
    scene = Scene()
    dead = Delivery(taken_over_at=scene.clock.now)
    scene.doubts.received(dead, event(2))  # it wants "x" alone
    wanted, unwanted, newer = row(1, "x"), row(1, "y"), row(3, "z")
    found = scene.doubts.certain(body_of(event(3)), [wanted, unwanted, newer])
    assert [each.digests for each in found] == [wanted.digests, (), newer.digests]
    same = scene.doubts.certain(body_of(event(2)), [unwanted])
    assert same == (unwanted,), "carrying it out removes it for certain"
    scene.settle(event(2))

    assert scene.doubts.certain(body_of(event(3)), [unwanted]) == (unwanted,)


@pytest.mark.parametrize(
    ("texts", "certain"),
    [
        (["xx", "x"], []),
        (["x", "x"], ["x", "x"]),
        (["xy"], []),
        (["x"], ["x"]),
        (["xx", "y"], []),
    ],
)
def test_a_copy_that_was_not_kept_for_a_pack_may_be_about_to_go(
    texts: list[str], certain: list[str]
) -> None:
    """Both copies are of texts that the dead owner wanted, and it may have removed either."""
    scene = Scene()
    scene.doubts.received(Delivery(taken_over_at=scene.clock.now), event(2))  # it wants "x" alone
    rows = [
        replace(row(1, "x"), digests=tuple(d for text in pack for d in row(1, text).digests))
        for pack in texts
    ]
    found = scene.doubts.certain(body_of(event(3)), rows)

    assert [each.digests for each in found if each.digests] == [row(1, t).digests for t in certain]


def test_what_lies_behind_an_event_has_removed_nothing_before_it() -> None:
    """The former owner carried out one after the other."""
    scene = Scene()
    behind = replace(event(1), body=replace(body_of(event(1)), version=version(1, 7)))
    scene.doubts.received(Delivery(taken_over_at=scene.clock.now), behind)
    old = row(0, "y")

    assert scene.doubts.certain(body_of(event(2)), [old]) == (old,)


def test_what_a_former_owner_has_uploaded_for_the_event_is_certain() -> None:
    """It came after the removals before it, also where a tombstone's date is later."""
    scene = Scene()
    scene.doubts.received(Delivery(taken_over_at=scene.clock.now), event(9, None))
    own = row(3, "x")

    assert scene.doubts.certain(body_of(event(3)), [own]) == (own,)


def test_after_a_dead_owner_s_tombstone_nothing_is_certain_until_somebody_looks() -> None:
    """Superseded by what follows, it is carried out by nobody."""
    scene = Scene()
    dead = Delivery(taken_over_at=scene.clock.now)
    scene.doubts.received(dead, event(2, None))
    old = row(1, "x")
    assert [each.digests for each in scene.doubts.certain(body_of(event(3)), [old])] == [()]
    scene.clock.now += AMBIGUITY + 1
    scene.doubts.every([DOCS], scene.clock.now)
    scene.look()

    assert scene.doubts.certain(body_of(event(3)), [old]) == (old,)


def test_what_a_removal_of_ours_may_still_take_holds_nothing() -> None:
    """Whatever listing shows it; it holds what follows, and the next owner hears of it."""
    scene = Scene()
    in_doubt, sure = row(1, "x"), row(1, "y")
    scene.doubts.note_removal(DOCS, A, [in_doubt.location])
    found = scene.doubts.certain(body_of(event(2)), [in_doubt, sure])
    assert [each.digests for each in found] == [(), sure.digests]
    assert scene.doubts.certain(body_of(event(2, OTHER)), [in_doubt]) == (in_doubt,)
    assert scene.settle(event(2)).told == ["held True"]
    dropped = Delivery()
    scene.doubts.dropped(dropped, event(3))
    assert len(dropped.left) == 1
    scene.look()

    assert scene.doubts.certain(body_of(event(3)), [in_doubt]) == (in_doubt,)


def test_what_a_removal_may_still_take_is_not_looked_at() -> None:
    """The look has left it alone. If the event were committed, nobody would know that it goes."""
    scene = Scene()
    scene.doubts.note(DOCS, A, version(1))
    newer = scene.settle(event(2))
    scene.clock.now += AMBIGUITY + 1
    scene.doubts.note_removal(DOCS, A, [row(1, "x").location])
    scene.doubts.looked(DOCS, scene.clock.now)
    assert newer.told == ["held True"]
    scene.look()

    assert newer.told == ["held True", "released"]


def test_doubts_about_one_event_are_put_together() -> None:
    """What a dead owner may be removing for it, and what we have sent of it ourselves."""
    scene = Scene()
    scene.doubts.received(Delivery(taken_over_at=scene.clock.now), event(2))
    scene.doubts.note(DOCS, A, version(2))
    (unwanted,) = scene.doubts.certain(body_of(event(3)), [row(1, "y")])

    assert unwanted.digests == ()
    assert len(scene.doubts._doubts[A]) == 1


def body_of(event: Event) -> DocumentEvent:
    assert isinstance(event.body, DocumentEvent)
    return event.body


def test_an_event_waits_for_the_doubts_before_it_and_for_no_later_ones() -> None:
    """A document that is published every few minutes, always in doubt, must not hold for ever."""
    scene = Scene()
    deliveries = []
    for n in range(10):
        scene.doubts.note(DOCS, A, version(n))
        deliveries.append(scene.settle(event(n + 1)))
        scene.clock.now += AMBIGUITY / 2
        scene.doubts.looked(DOCS, scene.clock.now)

    assert [each.told[-1] for each in deliveries] == ["released"] * 9 + ["held True"]
    assert len(scene.doubts._settled[A]) == 1


def test_a_document_in_work_elsewhere_holds_no_other_one() -> None:
    """Its queue does not go by workspace, and it may wait for days."""
    scene = Scene()
    scene.doubts.note(DOCS, A, version(1))
    newer = scene.settle(event(2))
    scene.clock.now += AMBIGUITY + 1
    scene.doubts.looked(DOCS, scene.clock.now, but=[A])
    assert newer.told == ["held True"]
    scene.doubts.looked(DOCS, scene.clock.now, but=[Identity("b")])

    assert newer.told == ["held True", "released"]


def test_a_clock_that_is_wrong_holds_nothing_for_longer_than_a_doubt_lasts() -> None:
    """That of the host that had the partition before."""
    scene = Scene()
    delivery = Delivery(held_until=scene.epoch + 86_400, held_before=True)
    scene.doubts.settled_before(delivery, event(2))
    scene.look()

    assert delivery.told == ["held False", "released"]


def test_what_goes_from_everywhere_is_known_everywhere() -> None:
    """A removal by the list of files, which is no workspace to be looked at."""
    scene = Scene()
    in_doubt = row(1, "x")
    scene.doubts.note_removal(None, A, [in_doubt.location])
    assert scene.doubts.going(DOCS, A) == scene.doubts.going(OTHER, A) == {in_doubt.location}
    assert scene.doubts.any_going
    scene.clock.now += AMBIGUITY + 31
    assert scene.looks.due() == [None]

    assert not scene.doubts.any_going
