"""Several AnythingLLMs behind one journey: an event goes where its workspace lives.

Each server has stations of its own, as if it were alone: what it stores, its breaker and its gates,
its sweep. What stands here makes them one for the journey:

- A document goes to its workspace's home. Where that ends while it is in work, it goes to the next.
- A tombstone goes to every server, those that answer first. It is done when all were asked, and
  when no server can be there that was not: one that is missing from our list may have its document.
  While its workspace is moved, its text may be on its way: all are asked once more after that.
- What may still come of a document is noted for all servers, because its home need not be known
  yet. It is committed when none of them holds it back.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import structlog

from consumer.model.event import DocumentEvent, Event, TombstoneEvent
from consumer.model.names import Identity, ServerName
from consumer.model.outcome import Deleted, FailedChunk, Outcome, Superseded
from consumer.model.record import Record
from consumer.pipeline.apply import Applier
from consumer.pipeline.deathwatch import Deathwatch
from consumer.pipeline.doubts import Doubts
from consumer.pipeline.gates import Gates
from consumer.pipeline.homes import Homes
from consumer.pipeline.ports import Delivery, Receipt, Release, RightToWork
from consumer.pipeline.shares import ServerRight, Share
from consumer.resilience.fence import Fence, FenceClosedError


@dataclass(frozen=True, slots=True)
class ServerStations:
    """What works on one server.

    Args:
        shares: how many documents may be in work there.
    """

    applier: Applier
    doubts: Doubts
    deathwatch: Deathwatch
    gates: Gates
    shares: asyncio.Semaphore


class ServersApplier:
    """Carries out events on the servers that they are for."""

    def __init__(self, servers: Mapping[ServerName, ServerStations], homes: Homes) -> None:
        self._servers = servers
        self._homes = homes

    async def apply(self, event: Event, right: RightToWork) -> Outcome:
        """See `Applier.apply`."""
        match event.body:
            case DocumentEvent() as body:
                return await self._store(event, body, right)
            case TombstoneEvent() as body:
                return await self._delete(event, body, right)
            case refused:
                return refused

    def remember(self, event: Event, *, carried_out: bool = True) -> None:
        """See `Applier.remember`."""
        for each in self._servers.values():
            each.applier.remember(event, carried_out=carried_out)

    async def _store(self, event: Event, body: DocumentEvent, right: RightToWork) -> Outcome:
        while True:
            makes = bool(body.document.chunks)
            home = await self._homes.of(body.slug, right, makes=makes)
            try:
                return await self._apply_on(home.server, home.fence, event, right)
            except FenceClosedError:
                if right.closed or not home.fence.closed:
                    raise

    async def _delete(self, event: Event, body: TombstoneEvent, right: RightToWork) -> Outcome:
        outcomes: list[Outcome] = []
        asked: dict[ServerName, int] = {}
        while left := [
            name for name in self._servers if asked.get(name) != self._homes.stint(name)
        ]:
            self._homes.read_anew(body.slug)
            await self._ask(left, asked, outcomes, event, right)
            structlog.contextvars.unbind_contextvars("server")  # it was for all of them
            if not await self._homes.all_were_asked(body.slug, right):
                asked.clear()
        return _together(body, outcomes)

    async def _ask(
        self,
        left: list[ServerName],
        asked: dict[ServerName, int],
        outcomes: list[Outcome],
        event: Event,
        right: RightToWork,
    ) -> None:
        """Carry a tombstone out on these servers, and note by which stint of each."""
        while left:
            name = min(left, key=self._is_blocked)
            others = [each for each in left if each != name]
            turn = Fence(f"server {name} is down", partial(self._is_overtaken, name, others))
            stint = self._homes.stint(name)
            try:
                outcomes.append(await self._apply_on(name, turn, event, right))
            except FenceClosedError:
                if right.closed or not turn.closed:
                    raise
            else:
                asked[name] = stint
                left.remove(name)

    def _is_blocked(self, name: ServerName) -> bool:
        return self._servers[name].gates.circuit.blocked

    def _is_overtaken(self, name: ServerName, others: Sequence[ServerName]) -> bool:
        """Whether another server should have its turn first: this one may be down for hours."""
        return self._is_blocked(name) and not all(map(self._is_blocked, others))

    async def _apply_on(
        self, name: ServerName, home: Fence, event: Event, right: RightToWork
    ) -> Outcome:
        server = self._servers[name]
        here = ServerRight(right, home, Share(server.shares))
        structlog.contextvars.bind_contextvars(server=name)
        async with here.working():
            return await server.applier.apply(event, here)


def _together(body: TombstoneEvent, outcomes: Sequence[Outcome]) -> Outcome:
    """What became of a tombstone, by what became of it on each server."""
    deleted = [each for each in outcomes if isinstance(each, Deleted)]
    chunks = sum(each.removed_chunks for each in deleted)
    kept: dict[str, FailedChunk] = {one.chunk_id: one for each in deleted for one in each.kept}
    is_superseded = any(isinstance(each, Superseded) for each in outcomes)
    if is_superseded and not chunks and not kept:
        return Superseded(body.slug, body.version)
    return Deleted(body.slug, chunks, tuple(kept.values()))


class ServersDeathwatch:
    """Has every server know which delivery keeps what is proven of a document's units."""

    def __init__(self, watches: Sequence[Deathwatch]) -> None:
        self._watches = watches

    @contextmanager
    def carrying(self, identity: Identity | None, delivery: Delivery) -> Iterator[None]:
        """See `Deathwatch.carrying`."""
        with ExitStack() as stack:
            for each in self._watches:
                stack.enter_context(each.carrying(identity, delivery))
            yield


class ServersDoubts:
    """What may still come on any of the servers; a delivery is held until all of them let it go."""

    def __init__(self, doubts: Sequence[Doubts]) -> None:
        self._doubts = doubts

    def received(self, delivery: Receipt, event: Event) -> None:
        """See `Doubts.received`."""
        for each in self._doubts:
            each.received(delivery, event)

    def dropped(self, delivery: Receipt, event: Event) -> None:
        """See `Doubts.dropped`."""
        joint = _JointReceipt(delivery)
        for each in self._doubts:
            each.dropped(joint, event)
        joint.end(carried_out=None)

    def settled(self, delivery: Receipt, event: Event, *, carried_out: bool) -> None:
        """See `Doubts.settled`."""
        joint = _JointReceipt(delivery)
        for each in self._doubts:
            each.settled(joint, event, carried_out=carried_out)
        joint.end(carried_out=carried_out)

    def settled_before(self, delivery: Receipt, event: Event) -> None:
        """See `Doubts.settled_before`."""
        joint = _JointReceipt(delivery)
        for each in self._doubts:
            each.settled_before(joint, event)
        joint.end(carried_out=delivery.carried_out_before)


class _Releases:
    """Lets go when all that hold it have."""

    def __init__(self) -> None:
        self._left = 0
        self._release: Release | None = None
        self.until = -math.inf

    def one_more(self, until: float) -> Release:
        """One more that holds it, until then."""
        self._left += 1
        self.until = max(self.until, until)
        has_let_go = False

        def release() -> None:
            nonlocal has_let_go
            self._left -= not has_let_go
            has_let_go = True
            self._let_go()

        return release

    def hold(self, release: Release) -> None:
        """What is called at the end."""
        self._release = release
        self._let_go()

    @property
    def is_asked(self) -> bool:
        """Whether anybody holds it."""
        return self.until > -math.inf

    def _let_go(self) -> None:
        if self._left == 0 and (release := self._release) is not None:
            self._release = None
            release()


class _JointReceipt:
    """A receipt as each of several doubts sees it: what they ask of it is asked once, at the end.

    Everything that they do not ask for goes to the delivery itself.
    """

    def __init__(self, delivery: Receipt) -> None:
        self._delivery = delivery
        self._held = _Releases()
        self._doubted: dict[str, _Releases] = {}

    @property
    def record(self) -> Record:
        """See `Receipt.record`."""
        return self._delivery.record

    @property
    def held_before(self) -> bool:
        """See `Receipt.held_before`."""
        return self._delivery.held_before

    @property
    def carried_out_before(self) -> bool:
        """See `Receipt.carried_out_before`."""
        return self._delivery.carried_out_before

    @property
    def held_until(self) -> float:
        """See `Receipt.held_until`."""
        return self._delivery.held_until

    @property
    def taken_over_at(self) -> float | None:
        """See `Receipt.taken_over_at`."""
        return self._delivery.taken_over_at

    def left_in_doubt(self, what: str) -> bool:
        """See `Receipt.left_in_doubt`."""
        return self._delivery.left_in_doubt(what)

    def settled(self, *, carried_out: bool) -> None:
        """See `Receipt.settled`; it is settled at the end, unless one of them holds it."""

    def hold(self, until: float, *, carried_out: bool) -> Release:
        """See `Receipt.hold`."""
        return self._held.one_more(until)

    def leave_in_doubt(self, what: str, until: float) -> Release:
        """See `Receipt.leave_in_doubt`."""
        return self._doubted.setdefault(what, _Releases()).one_more(until)

    def end(self, *, carried_out: bool | None) -> None:
        """Ask it of the delivery; None: it is dropped, neither settled nor held."""
        for what, releases in self._doubted.items():
            releases.hold(self._delivery.leave_in_doubt(what, releases.until))
        if carried_out is None:
            return
        if self._held.is_asked:
            held = self._delivery.hold(self._held.until, carried_out=carried_out)
            self._held.hold(held)
        else:
            self._delivery.settled(carried_out=carried_out)
