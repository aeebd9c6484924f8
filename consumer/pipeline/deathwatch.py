"""Deathwatch: sees AnythingLLM die, and finds out whether a chunk's upload is what it dies of.

A death looks like this: an upload is cut off, and a look right after it finds nobody there. Whose
it is says `consumer.resilience.deaths`, from what is noted here:

- A chunk that may be the cause is uploaded alone, at the latest after a second death: `Gates` hold
  everything else back meanwhile, and it begins when no other request is under way.
- Before that a test document as long as its text has to get through, one for all of them.
- An upload without an answer may still be what it dies of, minutes later. A suspect stays alone for
  that time, and has got through when AnythingLLM has outlived it.
- While it waits, a look every few seconds sees whether AnythingLLM dies without it.
- What other instances have under way is not known here. So a death counts only while all partitions
  of the input topics are ours and what former owners had begun is over.
- What is proven is kept beside the committed offset of the event's partition, for who owns it next.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime

import structlog

from consumer.model.death_count import DeathCount
from consumer.model.fault import Failure
from consumer.model.names import Identity, TraceId
from consumer.pipeline.control_text import PLAIN, control_text, kind_of
from consumer.pipeline.evidence import deaths_evidence_of
from consumer.pipeline.gates import Gates
from consumer.pipeline.others import Others
from consumer.pipeline.ports import Delivery, RightToWork, Storage
from consumer.pipeline.request_slots import RequestSlots
from consumer.pipeline.watched_unit import NoControl, NotAlone, NotDue, NotNow, WatchedUnit
from consumer.resilience.deaths import Deaths
from consumer.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

_LOOK_SECONDS = 3.0  # between two looks while a suspect waits; restarts take longer than that
_SILENCE_SECONDS = 180.0  # for what is under way to end; meanwhile nothing else begins
_BREAK_SECONDS = 5.0  # until all connections to a dead server are broken
_CONTROL_SECONDS = 60.0  # after a control that did not get through, or without silence
_OTHERS_SECONDS = 600.0  # between two looks whether other instances are still there
_MOST_NAMED = 20  # chunks in one line of the log
_VARIANTS = 2**32

_CONSEQUENCE = (
    "these chunks are tried again, alone where they were few or it is their second death; after"
    " three deaths of one it waits ten minutes, after five over half an hour it is dead-lettered"
)
_NEVER_COUNTED = (
    "other instances have partitions, so nobody knows whose it was, and it counts for nothing:"
    " these chunks are tried again, alone, with pauses that grow to ten minutes and after five"
    " deaths to an hour; none is ever dead-lettered, and all others are stored"
)
_WHAT_TO_DO = "see why AnythingLLM's process ended: out of memory?"
_RUN_ONE = (
    " To find the chunk run a single instance, until the dead letter is there (about 40 minutes);"
    " or publish its document without it"
)


class Deathwatch:
    """See the module's docstring.

    Args:
        storage: looks, and takes controls.
        slots: shared with uploads.
        gates: hold back what is not to be under way.
        deaths: the table.
        others: what is known of other instances.
        rng: varies controls.
        clock: monotonic seconds.
        now: wall clock, aware.
    """

    def __init__(
        self,
        storage: Storage,
        slots: RequestSlots,
        gates: Gates,
        deaths: Deaths,
        others: Others,
        *,
        rng: random.Random,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        metrics: Metrics,
    ) -> None:
        self._storage = storage
        self._slots = slots
        self._gates = gates
        self._deaths = deaths
        self._others = others
        self._rng = rng
        self._clock = clock
        self._now = now
        self._metrics = metrics
        self._deliveries: dict[Identity, Delivery] = {}
        self._units: dict[str, WatchedUnit] = {}
        self._told: dict[str, DeathCount] = {}
        self._to_be_watched = asyncio.Event()
        self._news = asyncio.Event()
        self._control_turn = asyncio.Lock()
        self._begun: int | None = None  # requests, when a look last went well
        self._gone_at = -math.inf  # when a look last found nobody, monotonic seconds

    @contextmanager
    def carrying(self, identity: Identity | None, delivery: Delivery) -> Iterator[None]:
        """While the event of this delivery is carried out: it keeps what is proven of its units."""
        if identity is None:
            yield
            return
        self._deliveries[identity] = delivery
        try:
            yield
        finally:
            self._deliveries.pop(identity, None)

    @contextmanager
    def watching(self, units: Sequence[WatchedUnit]) -> Iterator[None]:
        """While units are uploaded that nobody else uploads.

        Args:
            units: these; whoever brings more with `add` lets this sequence grow by them.
        """
        for unit in units:
            self.add(unit)
        try:
            yield
        finally:
            for unit in units:
                self._forget(unit)
            self._tell()

    def add(self, unit: WatchedUnit) -> None:
        """Watch one more."""
        self._units[unit.name] = unit
        self._resume(unit)

    def replaced(self, unit: WatchedUnit) -> None:
        """Watch a pack no more that was split; what is kept of it stays until its event is settled.

        Whoever has the event next splits it at once, or AnythingLLM would die of it once more.
        """
        self._forget(unit)

    def is_known(self, unit: WatchedUnit) -> bool:
        """Whether something is kept of deaths by this unit, also by former owners."""
        delivery = self._deliveries.get(unit.identity)
        return delivery is not None and delivery.deaths_of(unit.name) is not None

    def _forget(self, unit: WatchedUnit) -> None:
        self._deaths.forget(unit.name)
        self._units.pop(unit.name, None)
        self._told.pop(unit.name, None)

    def _resume(self, unit: WatchedUnit) -> None:
        delivery = self._deliveries.get(unit.identity)
        before = delivery.deaths_of(unit.name) if delivery is not None else None
        if before is not None:
            self._deaths.resumed(unit.name, unit.size, before)
            self._told[unit.name] = before
            self._tell()

    def suspects(self, unit: WatchedUnit) -> bool:
        """Whether AnythingLLM may have died of this unit."""
        return self._deaths.suspects(unit.name)

    def breaks_up(self, unit: WatchedUnit) -> bool:
        """Whether AnythingLLM may have died of a pack often enough to split it."""
        return self._deaths.breaks_up(unit.name)

    def deaths_seen(self, unit: WatchedUnit) -> int:
        """In how many deaths of AnythingLLM this unit was under way."""
        return self._deaths.seen(unit.name)

    def why_it_falls(self, unit: WatchedUnit) -> str | None:
        """The evidence, where it is proven that AnythingLLM dies of this unit."""
        if not self._deaths.falls(unit.name) or (count := self._deaths.count(unit.name)) is None:
            return None
        return deaths_evidence_of(count, unit.size)

    def check(self, unit: WatchedUnit) -> None:
        """To be asked before every request that changes something.

        Raises:
            NotNow: it may kill the server, and it is not its time, or others are under way.
        """
        if self._deaths.suspects(unit.name):
            if (wait := self.due_in(unit)) > 0:
                raise self._not_now(unit, wait, NotDue)
            if not unit.is_alone and self._deaths.goes_alone(unit.name):
                raise NotAlone(f"not sent: AnythingLLM may die of it, so {unit.shown} goes alone")
            if self._deaths.needs_control(unit.name):
                raise NoControl(f"not sent: AnythingLLM may die of it, so {unit.shown} goes later")
        unit.is_sent = True

    def due_in(self, unit: WatchedUnit) -> float:
        """Seconds until a suspect is to be asked about again; 0: it may be sent now."""
        epoch = self._epoch()
        silent_in = self._others.silent_in(self._clock(), epoch)
        can_count = silent_in is not None
        due = self._deaths.due(unit.name, can_count=can_count)
        wait = max(due - epoch, silent_in or 0.0, 0.0)
        # What keeps its deaths from counting may end: then it is due earlier.
        return wait if can_count else min(wait, _OTHERS_SECONDS)

    async def attempt(
        self,
        unit: WatchedUnit,
        send: Callable[[], Awaitable[None]],
        right: RightToWork,
        trace_id: TraceId,
    ) -> None:
        """Carry out an attempt, alone where the unit is suspected, and see what becomes of it.

        Raises:
            FenceClosedError: the right to go on ended.
            Failure: what the attempt met, or `NotNow`.
        """
        try:
            await self._watched(unit, send)
        except NoControl:
            await self._control(unit, right, trace_id)
            await self._watched(unit, send)
        except NotAlone:
            await self._attempt_alone(unit, send, right, trace_id)

    async def _attempt_alone(
        self,
        unit: WatchedUnit,
        send: Callable[[], Awaitable[None]],
        right: RightToWork,
        trace_id: TraceId,
    ) -> None:
        async with self._gates.alone.turn(right):
            await self._silence(unit, right)
            unit.is_alone = True
            try:
                await self._control(unit, right, trace_id)
                await self._watched(unit, send)
            except Failure as failure:
                if not failure.cut_off and not failure.by_intermediary:
                    await self._outlive(unit, right)
                raise
            finally:
                unit.is_alone = False

    async def _outlive(self, unit: WatchedUnit, right: RightToWork) -> None:
        """Return when AnythingLLM can't die of an upload without an answer any more."""
        if not self._deaths.is_to_be_outlived(unit.name, self._epoch()):
            return
        while self._deaths.is_to_be_outlived(unit.name, self._epoch()):
            async with right.short():
                await asyncio.sleep(_LOOK_SECONDS)
            await self._look()
        self._deaths.outlived(unit.name)
        self._tell()

    async def _silence(self, unit: WatchedUnit, right: RightToWork) -> None:
        try:
            async with right.short(), asyncio.timeout(_SILENCE_SECONDS):
                await self._storage.silent()
        except TimeoutError:
            raise self._not_now(unit, _CONTROL_SECONDS) from None

    async def watch(self) -> None:
        """While a suspect waits, see whether AnythingLLM dies without it. For ever."""
        while True:
            await self._to_be_watched.wait()
            await asyncio.sleep(_LOOK_SECONDS)
            if self._deaths.is_idle and not self._gates.alone.is_held:
                await self._look()
            self._tell()

    async def _watched(self, unit: WatchedUnit, send: Callable[[], Awaitable[None]]) -> None:
        unit.is_sent = False
        self._deaths.begun(unit.name, unit.size)
        try:
            await send()
        except Failure as failure:
            await self._note_failed(unit, failure)
            raise
        else:
            self._deaths.got_through(unit.name)
            self._deaths.passed(unit.size)
            self._tell()
        finally:
            self._deaths.ended(unit.name)
            self._news.set()

    async def _note_failed(self, unit: WatchedUnit, failure: Failure) -> None:
        # What an intermediary answered for is no suspect of later deaths: it may never have got
        # through, and a unit that a firewall blocks would share each death of the one that kills.
        if failure.ambiguous and not failure.pending and not failure.by_intermediary:
            now = self._epoch()
            until = now + self._others.ambiguity
            self._deaths.left_in_doubt(unit.name, unit.size, now, until)
        is_there = True
        if failure.not_there:
            beside = failure.beside if failure.cut_off else None
            self._deaths.cut_off(unit.name, self._epoch(), beside)
            self._news.set()
            is_there = await self._look()
        if is_there and unit.is_sent and not failure.pending:
            self._note_answered(unit, failure)
        self._tell()

    def _note_answered(self, unit: WatchedUnit, failure: Failure) -> None:
        """Note what a failure says of a suspect while AnythingLLM lives.

        401 or 429 say nothing: they would clear a killer that meets them between two kills.
        """
        if failure.by_intermediary or failure.ambiguous:
            self._deaths.kept_away(unit.name)
        elif failure.fault.is_counted:
            self._deaths.got_through(unit.name)  # refused or not stored

    async def _control(self, unit: WatchedUnit, right: RightToWork, trace_id: TraceId) -> None:
        async with right.short():
            await self._control_turn.acquire()
        try:
            if self._deaths.needs_control(unit.name):
                await self._send_control(unit, right, trace_id)
        finally:
            self._control_turn.release()

    async def _send_control(self, unit: WatchedUnit, right: RightToWork, trace_id: TraceId) -> None:
        size = self._deaths.control_size(unit.name)
        # An embedder that takes no text of its kind would let it kill for ever.
        kind = PLAIN if self._deaths.has_failed_control(unit.name) else kind_of(unit.text)
        text = control_text(size, kind, self._rng.randrange(_VARIANTS))

        async def control() -> None:
            await self._storage.store_control(unit.slug, text, trace_id=trace_id, check=right.check)

        try:
            await self._slots.send(unit.slug, control, right)
        except Failure as failure:
            if failure.not_there:
                self._deaths.control_died(size, self._epoch())
                await self._look()
            elif not failure.pending:
                self._deaths.control_failed(unit.name)
            log.info("chunk.control_failed", chunk_ids=unit.chunk_ids, error=failure.message)
            raise self._not_now(unit, _CONTROL_SECONDS) from failure
        self._deaths.passed(size)

    async def _look(self) -> bool:
        """Whether anybody is there; if not, AnythingLLM died since it last answered."""
        is_there = True
        try:
            await self._storage.answers()
        except Failure as failure:
            is_there = not failure.not_there
            if not is_there:
                await self._all_told()
                gone_at, self._gone_at = self._gone_at, self._clock()
                if self._storage.answered_at() > gone_at:
                    # Nothing was cut off: what is in doubt may be the cause, or nothing of ours.
                    self._deaths.cut_off(None, self._epoch(), 0 if self._was_silent() else None)
                    self._note_death()
                    return False
        self._deaths.dismiss()
        self._begun = self._storage.begun_requests()
        return is_there

    def _was_silent(self) -> bool:
        """Whether nothing but the last look was under way since one before it went well."""
        begun = self._storage.begun_requests()
        return self._begun is not None and begun == self._begun + 1

    async def _all_told(self) -> None:
        """Return when all that broke with the server is known to have, as a rule at once."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_BREAK_SECONDS):
                while not self._deaths.all_told:
                    self._news.clear()
                    await self._news.wait()

    def _note_death(self) -> None:
        silent_in = self._others.silent_in(self._clock(), self._epoch())
        names = self._deaths.died(self._epoch(), is_known=silent_in == 0)
        units = [self._units[name] for name in names if name in self._units]
        self._metrics.server_deaths.inc()
        log.warning(
            "anythingllm.died",
            chunk_ids=[id for unit in units for id in unit.chunk_ids][:_MOST_NAMED],
            identities=sorted({unit.identity for unit in units})[:_MOST_NAMED],
            times={unit.shown: self._deaths.seen(unit.name) for unit in units[:_MOST_NAMED]},
            counted={u.shown: c.count for u in units if (c := self._deaths.count(u.name))},
            others_silent=silent_in == 0,
            consequence=_CONSEQUENCE if silent_in is not None else _NEVER_COUNTED,
            what_to_do=_WHAT_TO_DO if silent_in is not None else _WHAT_TO_DO + _RUN_ONE,
        )
        self._tell()

    def _tell(self) -> None:
        """Have the deliveries keep what is proven now."""
        if self._deaths.is_quiet and not self._told:
            self._to_be_watched.clear()
            return
        counts = self._deaths.counts()
        for name in self._told.keys() | counts.keys():
            count = counts.get(name)
            unit = self._units.get(name)
            delivery = self._deliveries.get(unit.identity) if unit else None
            if delivery is None or self._told.get(name) == count:
                continue
            delivery.note_deaths(name, count)
            if count is None:
                self._told.pop(name, None)
            else:
                self._told[name] = count
        if self._deaths.is_to_be_watched(self._epoch()):
            self._to_be_watched.set()
        else:
            self._to_be_watched.clear()

    def _not_now(self, unit: WatchedUnit, seconds: float, kind: type[NotNow] = NotNow) -> NotNow:
        times = self._deaths.seen(unit.name)
        return kind(
            f"not sent: AnythingLLM died {times} times while {unit.shown} was under way; it is"
            " tried later, alone",
            ambiguous=True,  # its own: the siblings go on
            retry_after=seconds,
        )

    def _epoch(self) -> float:
        return self._now().timestamp()
