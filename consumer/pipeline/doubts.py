"""Documents of which an overtaken upload may still come, and what is not committed because of it.

An upload without an answer may take effect for the ambiguity time, also when a newer event has
overtaken its document by then. What it leaves is known for a left-over only by who has carried out
the newer event, and that memory ends with the assignment. So the newer event is settled, and its
offset is not committed before the sweep has looked. Whoever owns the partition until then reads the
event again: not to carry it out anew, but to know what is wanted (`consumer.kafka.ledger`).

An event that was carried out and has only uploads of its own in doubt is committed at once: what
comes late has the same marker as what is stored, and anybody can see that it is there twice. It is
a left-over as soon as a newer event is carried out, so whoever owns the partition then is told that
the document is in doubt. What a former owner had in work when it died may come as well.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from consumer.model.event import DocumentEvent, Event, TombstoneEvent
from consumer.model.marker import digests_of
from consumer.model.names import Identity, Location, Slug
from consumer.model.outcome import Refused
from consumer.model.precedence import Occurrence
from consumer.model.version import DocumentVersion
from consumer.pipeline.due_looks import DueLooks
from consumer.pipeline.index_rows import StoredRow
from consumer.pipeline.ports import Receipt, Release

Readable = DocumentEvent | TombstoneEvent

_MOST_KEPT = 1_000  # digests a document: up to 1,000 of a partition are taken over
_GRACE_SECONDS = 900.0  # for a look after the end of a doubt; then it is too late to hold anything


@dataclass(frozen=True, slots=True)
class _Doubt:
    """What may still come.

    Args:
        slug: where; None: in any workspace.
        until: monotonic seconds.
        event: what it is of; None: a former owner knew it.
        keeps: digests that a former owner would not have removed for the event; None: it can't have
            removed anything.
        going: what a removal of ours may still take.
    """

    slug: Slug | None
    until: float
    event: Occurrence | None
    keeps: frozenset[str] | None = None
    going: frozenset[Location] = frozenset()

    def and_(self, other: _Doubt) -> _Doubt:
        """Both, of the same event in the same workspace."""
        keeps = other.keeps if self.keeps is None else self.keeps
        until, going = max(self.until, other.until), self.going | other.going
        return replace(self, until=until, keeps=keeps, going=going)

    def came_before(self, body: Readable) -> bool:
        """Whether it is of an event that was begun before this one."""
        if self.event is None:
            return True
        return self.event.version != body.version and not self.event.version.lies_behind(
            body.version
        )

    def may_take(self, unit: StoredRow, packed_twice: Collection[str]) -> bool:
        """Whether a removal that was sent may still take a unit.

        Args:
            unit: a stored one.
            packed_twice: digests of which one copy may have gone for another one in a pack.
        """
        if unit.location in self.going:
            return True
        if self.event is None or self.keeps is None:
            return False
        if all(each in self.keeps and each not in packed_twice for each in unit.digests):
            return False
        of = Occurrence(unit.version)
        return of != self.event and not of.supersedes(self.event)


@dataclass(frozen=True, slots=True, eq=False)
class _SettledEvent:
    """An event that is held back or named beside the commit, and what its doubts are of.

    Without the latter an event would wait for the doubts of all that follow it.
    """

    releases: Sequence[Release]
    by: frozenset[Occurrence | None]


class Doubts:
    """See the module's docstring.

    Args:
        looks: hear when to look.
        ambiguity: seconds in which a request without an answer may still take effect.
        clock: monotonic seconds.
        now: wall clock, aware; the next owner of a partition goes by it.
    """

    def __init__(
        self,
        looks: DueLooks,
        ambiguity: float,
        clock: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        self._looks = looks
        self._ambiguity = ambiguity
        self._clock = clock
        self._now = now
        self._doubts: dict[Identity, list[_Doubt]] = {}
        self._settled: dict[Identity, list[_SettledEvent]] = {}

    def note(self, slug: Slug, identity: Identity, version: DocumentVersion) -> None:
        """Note that uploads of this version may still take effect, and that nobody waits."""
        self.note_begun(slug, identity, Occurrence(version))

    def note_begun(self, slug: Slug | None, identity: Identity, event: Occurrence) -> None:
        """Note an event that was begun, and is left; it holds itself back from no commit.

        Without a workspace it may have been begun in any.
        """
        until = self._clock() + self._ambiguity
        self._may_come(identity, _Doubt(slug, until, event))

    def note_removal(
        self, slug: Slug | None, identity: Identity, going: Iterable[Location]
    ) -> None:
        """Note units that a removal may still take, for which nobody waits; None: everywhere."""
        until = self._clock() + self._ambiguity
        self._may_come(identity, _Doubt(slug, until, None, going=frozenset(going)))

    def received(self, delivery: Receipt, event: Event) -> None:
        """Note what former owners may have sent of an event that begins now, or of its document.

        The latter holds the event back once it is settled.
        """
        body = event.body
        if isinstance(body, Refused):
            return
        until = -math.inf
        if delivery.left_in_doubt(_name(event)):
            until = self._clock() + self._left(delivery)
        if delivery.taken_over_at is not None:
            until = max(until, delivery.taken_over_at + self._ambiguity)
        if until > self._clock():
            doubt = _Doubt(body.slug, until, _occurrence(body), _kept_by(body))
            self._may_come(body.identity, doubt)
        if delivery.left_in_doubt(body.identity):
            self._known_before(delivery, body, None)

    def certain(self, body: DocumentEvent, stored: Sequence[StoredRow]) -> tuple[StoredRow, ...]:
        """The same rows; those that a removal may still take hold nothing.

        Not those of the event itself or of one behind it: nobody has begun them before it was done.
        What a former owner has uploaded for the event came after those removals. If it were sent
        again, it would be taken for its own copy, and removed as stale.
        """
        doubts = [
            each
            for each in self._doubts.get(body.identity, ())
            if each.slug in (None, body.slug) and each.came_before(body)
        ]
        twice = _packed_twice(stored) if doubts else frozenset[str]()
        return tuple(
            replace(row, digests=())
            if any(
                row.location in each.going
                if row.version == body.version
                else each.may_take(row, twice)
                for each in doubts
            )
            else row
            for row in stored
        )

    def dropped(self, delivery: Receipt, event: Event) -> None:
        """Note an event that is left to the next owner of its partition."""
        if event.identity is not None:
            ends = [each.until for each in self._doubts.get(event.identity, ())]
            if ends:
                delivery.leave_in_doubt(_name(event), self._epoch(max(ends)))

    def settled(self, delivery: Receipt, event: Event, *, carried_out: bool) -> None:
        """Let an event be committed that is settled: now, or when it was looked for what may come.

        Args:
            delivery: of the event.
            event: what was settled.
            carried_out: whether its state was brought into AnythingLLM.
        """
        body = event.body
        if carried_out and not isinstance(body, Refused):
            self._note_carried_out(body)
        doubts = [] if isinstance(body, Refused) else self._doubts.get(body.identity, [])
        if isinstance(body, Refused) or not doubts:
            delivery.settled(carried_out=carried_out)
            return
        holding = [o for o in doubts if not carried_out or o.event != _occurrence(body)]
        until = self._epoch(max(each.until for each in holding or doubts))
        # Also of what is held: its replay comes from another partition, and may come first.
        releases = [delivery.leave_in_doubt(body.identity, until)]
        if holding:
            releases.append(delivery.hold(until, carried_out=carried_out))
        else:
            delivery.settled(carried_out=carried_out)
        settled = _SettledEvent(releases, frozenset(each.event for each in holding or doubts))
        self._settled.setdefault(body.identity, []).append(settled)

    def _note_carried_out(self, body: Readable) -> None:
        """What was to go for it has gone, whoever removed it."""
        doubts = self._doubts.get(body.identity, [])
        doubts[:] = [
            replace(each, keeps=None) if each.event == _occurrence(body) else each
            for each in doubts
        ]

    def settled_before(self, delivery: Receipt, event: Event) -> None:
        """The same for an event that a former owner of the partition has settled."""
        body = event.body
        if not isinstance(body, Refused):
            if delivery.held_before:
                self._known_before(delivery, body, None)
            elif delivery.carried_out_before and delivery.left_in_doubt(body.identity):
                self._known_before(delivery, body, _occurrence(body))
        self.settled(delivery, event, carried_out=delivery.carried_out_before)

    def _known_before(self, delivery: Receipt, body: Readable, doubtful: Occurrence | None) -> None:
        """Where it is over, it may be that nobody has looked since."""
        if (left := self._left(delivery)) > -_GRACE_SECONDS:
            until = self._clock() + max(left, 0.0)
            self._may_come(body.identity, _Doubt(body.slug, until, doubtful))

    def every(self, slugs: Iterable[Slug], asked: float) -> None:
        """Note that a look at every workspace is one at each of these, which are all there are."""
        there = frozenset(slugs)
        for doubts in self._doubts.values():
            over = [each for each in doubts if each.until <= asked]
            gone = [each for each in over if each.slug not in there]
            doubts[:] = [each for each in doubts if each not in gone]
            anywhere = [each for each in gone if each.slug is None]
            doubts += [replace(each, slug=slug) for each in anywhere for slug in there]
        self._release()

    def looked(self, slug: Slug, begun: float, *, but: Collection[Identity] = ()) -> None:
        """Note that everything was removed that a listing of then showed, and that had to go.

        That is not known of a document while a removal of ours may still take something of it: the
        look has left that alone.

        Args:
            slug: the workspace.
            begun: when the listing was asked for, monotonic seconds.
            but: documents that were in work; they are looked at later.
        """
        for identity, doubts in self._doubts.items():
            may_go = any(o.going and o.slug in (None, slug) and o.until > begun for o in doubts)
            if identity not in but and not may_go:
                doubts[:] = [each for each in doubts if each.slug != slug or each.until > begun]
        self._release()

    def begun_before(self, body: Readable) -> bool:
        """Whether somebody may have begun the event, or one that it overtook, before.

        What was removed for that is not known, and who overtakes it is the last one who can look.
        """
        doubts = self._doubts.get(body.identity, ())
        return any(
            each.event == _occurrence(body) or (each.event and each.came_before(body))
            for each in doubts
        )

    def __contains__(self, identity: Identity) -> bool:
        """Whether something may still come of a document, or nobody has looked since."""
        return identity in self._doubts

    def going(self, slug: Slug, identity: Identity) -> frozenset[Location]:
        """What a removal of ours may still take now."""
        return frozenset[Location]().union(
            *(
                each.going
                for each in self._doubts.get(identity, ())
                if each.slug in (None, slug) and each.until > self._clock()
            )
        )

    @property
    def any_going(self) -> bool:
        """Whether a removal of ours may still take anything."""
        now = self._clock()
        every = (each for doubts in self._doubts.values() for each in doubts)
        return any(each.going and each.until > now for each in every)

    def _left(self, delivery: Receipt) -> float:
        """Seconds until what a former owner knew of is over, by its clock, which may be wrong."""
        return min(delivery.held_until - self._now().timestamp(), self._ambiguity)

    def _epoch(self, until: float) -> float:
        return self._now().timestamp() + until - self._clock()

    def _may_come(self, identity: Identity, doubt: _Doubt) -> None:
        self._looks.after(doubt.slug, doubt.until - self._clock())
        doubts = self._doubts.setdefault(identity, [])
        for other in [o for o in doubts if (o.slug, o.event) == (doubt.slug, doubt.event)]:
            doubts.remove(other)
            doubt = doubt.and_(other)
        doubts.append(doubt)

    def _release(self) -> None:
        for identity in list(self._doubts):
            doubted = {each.event for each in self._doubts[identity]}
            if not doubted:
                del self._doubts[identity]
            settled = self._settled.pop(identity, [])
            still = [each for each in settled if each.by & doubted]
            if still:
                self._settled[identity] = still
            for each in settled:
                for release in each.releases if each not in still else ():
                    release()


def _packed_twice(stored: Sequence[StoredRow]) -> frozenset[str]:
    """What is stored more than once, and in a pack: a copy may be about to go, though wanted."""
    every = Counter(digest for row in stored for digest in row.digests)
    packed = (digest for row in stored if len(row.digests) > 1 for digest in row.digests)
    return frozenset(digest for digest in packed if every[digest] > 1)


def _name(event: Event) -> str:
    """Of an event that is left open in doubt; no identity has such a name."""
    return f"{event.identity}\0{event.record.at.offset}"


def _kept_by(body: Readable) -> frozenset[str]:
    """What is not removed for an event; of a huge document nothing is remembered."""
    if isinstance(body, TombstoneEvent) or len(body.document.chunks) > _MOST_KEPT:
        return frozenset()
    return frozenset(digests_of(body.document))


def _occurrence(body: Readable) -> Occurrence:
    return Occurrence(body.version, removes=isinstance(body, TombstoneEvent))
