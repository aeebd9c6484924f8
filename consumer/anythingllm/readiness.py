"""Making a fresh workspace safe for concurrent uploads, within and across processes.

AnythingLLM 1.16 creates a workspace's vector table on the first upload, check-then-create without a
lock: of concurrent first uploads some overwrite the others' vectors although all were answered with
success (of 24 chunks by 4 uploaders 5 to 18 survived). Once the table is there nothing is lost. So:

1. A workspace *is in use* when it lists a document that is no sentinel and older than 60 s. By then
   every upload that could still create the table is over.
2. Otherwise, or when the workspace is distrusted, a throw-away sentinel is embedded, found in a
   search, and found again a pause later (`proof`). If another process creates the table in between,
   the sentinel is gone and the next one is tried.
3. A sentinel that lost the race to create the table was not embedded at all. By then the table is
   there, so it is embedded once more. If that fails too, no race was lost: the workspace takes
   nothing now, and further sentinels would only fail in the same way.
4. The sentinels are removed afterwards, embedded or not, and so are others' that are older than 10
   minutes. The table stays. What is left all the same goes with the sweep (`unit_store`): of a
   process that was killed, of a removal that failed, of an upload that was answered by nobody and
   may still come. `when_left` tells of the last two.
5. People may empty a workspace in AnythingLLM's pages, or make it anew. Its table is gone then. So
   before uploads the server is asked for its own counts, of all workspaces at once and at most
   every 5 s, and a workspace that has lost all it held is proven again. A change within those
   seconds can still meet the race; `workspaces verify` finds what was lost in it.
6. A workspace in use has to answer a search, once: with vectors of another length than its own it
   answers an error, and LanceDB 0.15.0 takes longer ones with success, cut to its own length.
7. A failure here is never a document's fault: no document's content is involved.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from consumer.anythingllm.api import Api, checked_slug
from consumer.anythingllm.database_in_use import DatabaseInUse
from consumer.anythingllm.document_removal import DocumentRemoval
from consumer.anythingllm.effects import LATE_SECONDS
from consumer.anythingllm.embedder_in_use import EmbedderInUse
from consumer.anythingllm.errors import (
    AnythingLLMConnectionError,
    AnythingLLMError,
    AnythingLLMServerError,
    StillFoundError,
)
from consumer.anythingllm.models import DocumentRow, SurveyedWorkspace, Workspace
from consumer.anythingllm.proof import StorageProof
from consumer.anythingllm.sentinel import (
    sentinel_body,
    sentinel_source,
    sentinel_text,
)
from consumer.anythingllm.transport import Check, NewErrand, always
from consumer.anythingllm.workspaces import Workspaces
from consumer.model.fault import Fault
from consumer.model.names import Location, Slug, TraceId

log = structlog.get_logger(__name__)

SETTLED_AGE = timedelta(seconds=60)
_JUST_NOW = 1.0  # seconds; the deep probe has looked at the embedder just before
_ANYTHING = "ready"  # is searched for where any answer will do
ABANDONED_AGE = timedelta(minutes=10)  # a sentinel this old belongs to a process that is gone
ROUNDS = 5  # sentinels tried; each loss means that another process was creating the table
CONFIRMED_SECONDS = 5.0  # between two looks at the counts (rule 5); they are cheap, not free
_LOOK_SECONDS = 1.0  # between two looks for a sentinel that is not seen yet
_LONGEST_PAUSE = 10.0  # seconds between two looks for it
_TOP = 1_000  # more than a workspace can hold that is not yet in use (13 uploads/s for 60 s)


@dataclass(slots=True)
class _Litter:
    """Sentinels to remove.

    Args:
        locations: where they are.
        unplaced: ``docSource`` of own ones whose location is not known.
    """

    locations: list[Location]
    unplaced: set[str] = field(default_factory=set)

    def placed(self, source: str, location: Location) -> None:
        """Note the location of one of the unplaced."""
        self.unplaced.discard(source)
        self.locations.append(location)


@dataclass(slots=True)
class _Ready:
    """A workspace that is ready: which one, and whether it has ever held anything."""

    workspace_id: int
    used: bool


class Readiness:
    """Which workspaces are ready, and how they become so (module docstring).

    Args:
        timeout: seconds for an ordinary call.
        upload_timeout: seconds for a sentinel's upload.
        pause: seconds between the two looks.
        late: seconds in which a request without a clear answer may take effect.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        api: Api,
        workspaces: Workspaces,
        proof: StorageProof,
        database: DatabaseInUse,
        removal: DocumentRemoval,
        embedder: EmbedderInUse,
        *,
        errand: NewErrand,
        timeout: float,
        upload_timeout: float,
        pause: float,
        late: float = LATE_SECONDS,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._api = api
        self._workspaces = workspaces
        self._proof = proof
        self._database = database
        self._removal = removal
        self._embedder = embedder
        self._errand = errand
        self._timeout = timeout
        self._upload_timeout = upload_timeout
        self._pause = pause
        self._late = late
        self._clock = clock
        self._sleep = sleep
        self._on_change: Callable[[Slug], None] = lambda slug: None
        self._on_left: Callable[[Slug], None] = lambda slug: None
        self._confirmed_at = clock()
        self._confirming = asyncio.Lock()
        self._ready: dict[Slug, _Ready] = {}
        self._ids: dict[Slug, int] = {}  # of workspaces when they were prepared last
        self._distrusted: set[Slug] = set()
        self._running: dict[Slug, asyncio.Task[_Ready]] = {}
        self._tasks: set[asyncio.Task[_Ready]] = set()  # forgotten ones as well

    async def prepare(self, slug: Slug, trace_id: TraceId | None) -> None:
        """Return when the workspace is ready; callers for the same one share the work.

        Raises:
            AnythingLLMError: theirs or busy; the next call tries again.
        """
        if checked_slug(slug) in self._ready:
            await self._confirm(trace_id)
        if slug in self._ready:
            return
        task = self._running.get(slug)
        if task is None:
            task = asyncio.create_task(self._run(slug, trace_id), name=f"prepare {slug}")
            self._running[slug] = task
            self._tasks.add(task)
            task.add_done_callback(lambda done: self._finished(slug, done))
        try:
            # The cancellation of one caller must not take the work from the others.
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled() and not _cancelling():
                raise AnythingLLMConnectionError("the client was disconnected meanwhile") from None
            raise

    def when_changed(self, listener: Callable[[Slug], None]) -> None:
        """Have the listener called with the slug when a workspace has lost all it held (rule 5)."""
        self._on_change = listener

    def when_left(self, listener: Callable[[Slug], None]) -> None:
        """Have the listener called with the slug when sentinels may be left there (rule 4)."""
        self._on_left = listener

    def id_of(self, slug: Slug) -> int | None:
        """AnythingLLM's id of a workspace when it was prepared last: made anew, it has another."""
        return self._ids.get(slug)

    def left(self, slug: Slug) -> None:
        """Tell the listener of `when_left`."""
        self._on_left(slug)

    def forget(self, slug: Slug) -> None:
        """Look again before the next upload: the workspace turned out to be gone or changed."""
        self._ready.pop(slug, None)
        self._running.pop(slug, None)

    def distrust(self, slug: Slug) -> None:
        """Prove it with a sentinel before the next upload, although it is in use."""
        self._distrusted.add(slug)
        self.forget(slug)

    def distrust_all(self) -> None:
        """Prove every workspace with a sentinel before its next upload, although it is in use."""
        for slug in {*self._ids, *self._ready}:
            self.distrust(slug)

    def used(self, slug: Slug) -> None:
        """Note that something was stored in it: it should not be found empty."""
        if (ready := self._ready.get(slug)) is not None:
            ready.used = True

    def compare(self, workspace: Workspace, *, empty: bool) -> None:
        """Forget a workspace that a listing shows to be another one, or emptied by others.

        A workspace that was deleted and made anew, or reset in AnythingLLM's pages, has lost its
        table: concurrent uploads would overwrite each other again.

        Args:
            workspace: as listed.
            empty: whether the listing had no rows.
        """
        slug = workspace.slug
        ready = self._ready.get(slug)
        if ready is None:
            return
        if ready.workspace_id != workspace.id or (ready.used and empty):
            log.warning("workspace.changed", workspace=slug)
            self.forget(slug)

    async def _confirm(self, trace_id: TraceId | None) -> None:
        async with self._confirming:
            if self._clock() - self._confirmed_at < CONFIRMED_SECONDS:
                return
            known = {slug: ready for slug, ready in self._ready.items() if ready.used}
            try:
                counts = await self._api.row_counts(self._errand(self._timeout, trace_id))
            except AnythingLLMError as error:
                # The next upload meets the same trouble, and says so better.
                log.debug("workspace.not_counted", error=error.message)
                counts = dict.fromkeys(known, 1)
            self._confirmed_at = self._clock()
            for slug, ready in known.items():
                if not counts.get(slug) and self._ready.get(slug) is ready:
                    log.warning("workspace.changed", workspace=slug)
                    self.forget(slug)
                    self._on_change(slug)

    async def store_test(self, slug: Slug, trace_id: TraceId | None, check: Check = always) -> None:
        """Store a sentinel in a workspace that is there, find it, and remove it.

        ``check`` is called before every look, and its exception gets out.

        Raises:
            AnythingLLMError: that was not possible, or it can't be found.
        """
        await self._embedder.enter(trace_id, check, within=_JUST_NOW)
        litter = _Litter([])
        try:
            await self._prove(slug, trace_id, litter, rounds=1, check=check)
        finally:
            await self._remove_sentinels(slug, trace_id, litter)

    async def removal_test(
        self, slug: Slug, trace_id: TraceId | None, check: Check = always
    ) -> None:
        """Store a sentinel in a workspace that is there, remove it, and find it no more.

        ``check`` is called before every look, and its exception gets out.

        Raises:
            AnythingLLMError: that was not possible, or it is still found. Nothing can remove its
                vectors then.
        """
        await self._embedder.enter(trace_id, check, within=_JUST_NOW)
        litter, sentinel = _Litter([]), uuid.uuid4().hex
        try:
            await self._embed(slug, sentinel, trace_id, litter, check)
            if not await self._comes_to(slug, sentinel, trace_id, seen=True, check=check):
                raise AnythingLLMError(
                    "a test document was answered with success and can't be found",
                    fault=Fault.THEIRS,
                )
            doubt = await self._remove_in_doubt(slug, litter, trace_id, check)
        finally:
            await self._remove_sentinels(slug, trace_id, litter)
        late = self._late if doubt is not None and doubt.ambiguous else 0.0
        if not await self._comes_to(slug, sentinel, trace_id, seen=False, check=check, late=late):
            if doubt is not None:
                raise doubt
            raise StillFoundError(
                f"a test document that was removed from workspace {slug!r} is still found: "
                "AnythingLLM's vector database refuses removals, and nothing is removed meanwhile"
            )

    async def _remove_in_doubt(
        self, slug: Slug, litter: _Litter, trace_id: TraceId | None, check: Check
    ) -> AnythingLLMError | None:
        """Remove sentinels; an answer that leaves it in doubt whether they are."""
        try:
            errand = self._errand(self._timeout, trace_id)
            await self._removal.remove(errand, slug, litter.locations, check)
        except AnythingLLMError as error:
            if error.ambiguous or error.unproven:
                return error  # a search shows whether it was done
            raise
        litter.locations.clear()
        return None

    async def close(self) -> None:
        """Stop preparing. Sentinels that are left are removed by the next process that prepares."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._running.clear()
        self._ready.clear()

    def _finished(self, slug: Slug, task: asyncio.Task[_Ready]) -> None:
        self._tasks.discard(task)
        failed = task.cancelled() or task.exception() is not None
        if self._running.get(slug) is not task:
            return  # forgotten meanwhile: what it found out no longer holds
        del self._running[slug]
        if not failed:
            self._ready[slug] = task.result()
            self._distrusted.discard(slug)

    async def _run(self, slug: Slug, trace_id: TraceId | None) -> _Ready:
        try:
            return await self._make_ready(slug, trace_id)
        except AnythingLLMError as error:
            if error.fault.is_counted:
                error.fault = Fault.THEIRS
            error.ambiguous = False  # about a sentinel, which is not sent again
            raise

    async def _make_ready(self, slug: Slug, trace_id: TraceId | None) -> _Ready:
        await self._embedder.enter(trace_id)
        listing, _ = await self._workspaces.ensure(self._errand(self._timeout, trace_id), slug)
        self._compare_with_former(listing.workspace)
        litter = _Litter(
            [row.location for row in listing.sentinels if is_abandoned(row, listing.date)]
        )
        try:
            if slug in self._distrusted or not is_in_use(listing):
                await self._prove(slug, trace_id, litter)
            else:
                await self._answers(slug, trace_id)
        except Exception:
            await self._remove_sentinels(slug, trace_id, litter)
            raise
        await self._remove_sentinels(slug, trace_id, litter)
        log.info("workspace.ready", workspace=slug, documents=listing.rows)
        return _Ready(listing.workspace.id, used=bool(listing.rows))

    def _compare_with_former(self, workspace: Workspace) -> None:
        """Tell of a workspace that was made anew while it was being prepared.

        What was sent before is gone from it, and its files still say that they were embedded.
        """
        former = self._ids.get(workspace.slug)
        self._ids[workspace.slug] = workspace.id
        if former is not None and former != workspace.id:
            log.warning("workspace.changed", workspace=workspace.slug)
            self._on_change(workspace.slug)

    async def _answers(self, slug: Slug, trace_id: TraceId | None) -> None:
        """Raise where a workspace in use can't be searched (rule 6)."""
        errand = self._errand(self._timeout, trace_id)
        if not (await self._database(errand)).cached_proves:
            return  # what is stored there is searched for anyway
        try:
            await self._api.search(errand, slug, _ANYTHING, 1)
        except AnythingLLMServerError as error:
            advice = await self._new_dimension(slug, trace_id)
            error.message += (
                f": nothing can be found in it. If the embedding model was changed, {advice}"
            )
            raise

    async def _prove(
        self,
        slug: Slug,
        trace_id: TraceId | None,
        litter: _Litter,
        *,
        rounds: int = ROUNDS,
        check: Check = always,
    ) -> None:
        for attempt in range(1, rounds + 1):
            sentinel = uuid.uuid4().hex
            await self._embed(slug, sentinel, trace_id, litter, check)
            if await self._comes_to(slug, sentinel, trace_id, seen=True, check=check):
                await self._sleep(self._pause)
                if await self._seen(slug, sentinel, trace_id):
                    return
            log.info("workspace.sentinel_lost", workspace=slug, attempt=attempt)
        raise AnythingLLMError(
            f"workspace {slug!r} is not ready: {rounds} of {rounds} test documents were answered "
            "with success and can't be found; see AnythingLLM's log and its vector database. If "
            f"the embedding model was changed: {await self._new_dimension(slug, trace_id)}",
            fault=Fault.THEIRS,
        )

    async def _embed(
        self,
        slug: Slug,
        sentinel: str,
        trace_id: TraceId | None,
        litter: _Litter,
        check: Check,
    ) -> None:
        """Upload a sentinel; whether it can be found is seen afterwards.

        Raises:
            AnythingLLMError: it is stored and can't be embedded there (rule 3).
        """
        source = sentinel_source(sentinel)
        litter.unplaced.add(source)
        errand = self._errand(self._upload_timeout, trace_id)
        try:
            location = (await self._api.raw_text(errand, sentinel_body(slug, sentinel))).location
        except AnythingLLMError as error:
            if not (error.ambiguous or error.unproven):
                litter.unplaced.discard(source)
                raise
            location = await self._listed_late(slug, source, error, trace_id, check)
        embedded = await self._proof.by_file(location, source, trace_id)
        if embedded is None:
            return
        litter.placed(source, location)
        if embedded:
            return
        errand = self._errand(self._upload_timeout, trace_id)
        try:
            await self._api.embed(errand, slug, [location])
        except AnythingLLMError as error:
            if error.ambiguous:
                self._on_left(slug)  # its row may come after the file was removed
            raise
        if not await self._proof.by_file(location, source, trace_id):
            raise await self._takes_nothing(slug, trace_id)

    async def _listed_late(
        self,
        slug: Slug,
        source: str,
        doubt: AnythingLLMError,
        trace_id: TraceId | None,
        check: Check,
    ) -> Location:
        """Where a sentinel is whose upload got no clear answer; raises that where it is not there.

        Behind a proxy that answers before AnythingLLM does, no other one would get an answer.
        """
        until = self._clock() + (self._late if doubt.ambiguous else 0.0)
        pause = _LOOK_SECONDS
        while not (found := await self._proof.by_listing(slug, {source}, trace_id)):
            if self._clock() >= until:
                raise doubt
            check()
            await self._sleep(pause)
            check()
            pause = min(2 * pause, _LONGEST_PAUSE)
        return found[source]

    async def _takes_nothing(self, slug: Slug, trace_id: TraceId | None) -> AnythingLLMError:
        return AnythingLLMError(
            f"workspace {slug!r} takes no documents: a test document was stored but can't be "
            "embedded there. Documents for it wait and it is tried again. If AnythingLLM's "
            "embedder and vector database work, the embedding model was probably changed and the "
            f"stored vectors have another dimension: {await self._new_dimension(slug, trace_id)}",
            fault=Fault.THEIRS,
        )

    async def _new_dimension(self, slug: Slug, trace_id: TraceId | None) -> str:
        """What people do after a change of the embedding model; it must not empty others."""
        errand = self._errand(self._timeout, trace_id)
        database = await self._database(errand)
        with suppress(AnythingLLMError):
            if others := await self._workspaces.others_sharing(errand, slug):
                return (
                    "go back to the former embedding model. Neither reset nor delete the "
                    f"workspace: that would empty {others[0].slug!r}, which has the same vectors"
                )
        return database.new_dimension

    async def _comes_to(
        self,
        slug: Slug,
        sentinel: str,
        trace_id: TraceId | None,
        *,
        seen: bool,
        check: Check,
        late: float = 0.0,
    ) -> bool:
        """Whether it is seen, or is not, within the time that the vector database takes for it.

        The request itself may take effect so many seconds ``late``.
        """
        database = await self._database(self._errand(self._timeout, trace_id))
        until = self._clock() + database.visible_seconds + late
        while await self._seen(slug, sentinel, trace_id) is not seen:
            if self._clock() >= until:
                return False
            check()
            await self._sleep(_LOOK_SECONDS)
            check()
        return True

    async def _seen(self, slug: Slug, sentinel: str, trace_id: TraceId | None) -> bool:
        source, text = sentinel_source(sentinel), sentinel_text(sentinel)
        try:
            return await self._proof.by_search(
                slug, source, text=text, trace_id=trace_id, nearest=_TOP
            )
        except AnythingLLMServerError as error:
            advice = await self._new_dimension(slug, trace_id)
            error.message += f" for a test document. If the embedding model was changed: {advice}"
            raise

    async def _remove_sentinels(
        self, slug: Slug, trace_id: TraceId | None, litter: _Litter
    ) -> None:
        try:
            if litter.unplaced:
                await self._place(slug, trace_id, litter)
            if litter.locations:
                errand = self._errand(self._timeout, trace_id)
                await self._removal.remove(errand, slug, litter.locations)
        except AnythingLLMError as error:
            # Not worth failing for: a process that prepares this workspace later removes them.
            log.warning("workspace.sentinels_left", workspace=slug, error=error.message)
            self._on_left(slug)
        else:
            if litter.unplaced:
                self._on_left(slug)

    async def _place(self, slug: Slug, trace_id: TraceId | None, litter: _Litter) -> None:
        """Find own sentinels whose answers were lost or named another location."""
        found = await self._proof.by_listing(slug, litter.unplaced, trace_id)
        for source, location in found.items():
            litter.placed(source, location)


def is_in_use(listing: SurveyedWorkspace) -> bool:
    """Rule 1 of the module docstring; ages by the server's own clock on both sides."""
    return listing.oldest is not None and listing.date - listing.oldest > SETTLED_AGE


def is_abandoned(sentinel: DocumentRow, now: datetime) -> bool:
    """Whether a sentinel is that of a process that is gone; `now` by the server's clock."""
    created = sentinel.created_at
    return created is not None and now - created > ABANDONED_AGE


def _cancelling() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
