"""Making a fresh workspace safe for concurrent uploads, within and across processes.

AnythingLLM 1.16 creates a workspace's vector table on the first upload, check-then-create without a
lock: of concurrent first uploads some overwrite the others' vectors although all were answered with
success (of 24 chunks by 4 uploaders 5 to 18 survived). Once the table is there nothing is lost. So:

1. A workspace *is in use* when it lists a document that is no sentinel and older than 60 s. By then
   every upload that could still create the table is over.
2. Otherwise, or when the workspace is distrusted, a throw-away sentinel has to prove that it takes
   documents (`sentinel_proof`). That may take minutes on a vector database that shows late what is
   new, so callers are only kept for a moment, and ask again.
3. The sentinels are removed afterwards, embedded or not, but for up to three that may only be late.
   So are all that are older than 10 minutes. The table stays. What is left all the same goes with
   the sweep (`unit_store`): of a process that was killed, of a removal that failed, of an upload
   that was answered by nobody and may still come. `when_left` tells of the last two.
4. People may empty a workspace in AnythingLLM's pages, or make it anew. Its table is gone then. So
   before uploads the server is asked for its own counts, of all workspaces at once and at most
   every 5 s, and a workspace that has lost all it held is proven again. A change within those
   seconds can still meet the race; `workspaces verify` finds what was lost in it.
5. A workspace in use has to answer a search, once: with vectors of another length than its own it
   answers an error, and LanceDB 0.15.0 takes longer ones with success, cut to its own length.
6. A failure here is never a document's fault: no document's content is involved.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from consumer.anythingllm.api import Api, checked_slug
from consumer.anythingllm.database_in_use import DatabaseInUse
from consumer.anythingllm.document_removal import DocumentRemoval
from consumer.anythingllm.effects import LATE_SECONDS
from consumer.anythingllm.embedder_in_use import EmbedderInUse
from consumer.anythingllm.errors import (
    AnythingLLMConnectionError,
    AnythingLLMError,
    AnythingLLMPendingError,
    AnythingLLMServerError,
)
from consumer.anythingllm.models import DocumentRow, SurveyedWorkspace, Workspace
from consumer.anythingllm.proof import StorageProof
from consumer.anythingllm.sentinel import ABANDONED_AGE
from consumer.anythingllm.sentinel_proof import SentinelProof
from consumer.anythingllm.sentinel_store import SentinelStore
from consumer.anythingllm.transport import Check, NewErrand, always
from consumer.anythingllm.visibility import SURE_SECONDS
from consumer.anythingllm.workspaces import Workspaces
from consumer.model.fault import Fault
from consumer.model.names import Slug, TraceId
from consumer.telemetry.library_log import library_logger

log = library_logger(__name__)

SETTLED_AGE = timedelta(seconds=60)
CONFIRMED_SECONDS = 5.0  # between two looks at the counts (rule 4); they are cheap, not free
_RETRY_SECONDS = 2.0  # until a caller asks again whether a workspace is ready that is late
_TOLD_SECONDS = 30.0  # for which a failure holds that nobody waited for
_JUST_NOW = 1.0  # seconds; the deep probe has looked at the embedder just before
_ANYTHING = "ready"  # is searched for where any answer will do


@dataclass(slots=True)
class _Ready:
    """A workspace that is ready: which one, and whether it has ever held anything."""

    workspace_id: int
    used: bool


@dataclass(frozen=True, slots=True)
class _Failed:
    """Why a workspace is not ready, for the next who asks until then."""

    error: AnythingLLMError
    until: float


class Readiness:
    """Which workspaces are ready, and how they become so (module docstring).

    Args:
        timeout: seconds for an ordinary call.
        upload_timeout: seconds for a sentinel's upload.
        pause: seconds between the two looks.
        late: seconds in which a request without a clear answer may take effect.
        clock: monotonic seconds.

    Attributes:
        sentinels: stores and removes test documents.
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
        self._database = database
        self._embedder = embedder
        self._errand = errand
        self._timeout = timeout
        self._clock = clock
        self.sentinels = SentinelStore(
            api,
            proof,
            removal,
            errand=errand,
            timeout=timeout,
            upload_timeout=upload_timeout,
            clock=clock,
            sleep=sleep,
            left=self.left,
        )
        self._sentinel_proof = SentinelProof(
            self.sentinels,
            workspaces,
            proof,
            database,
            removal,
            errand=errand,
            timeout=timeout,
            pause=pause,
            in_doubt=late,
            clock=clock,
            late=self._note_late,
            left=self.left,
        )
        self._on_change: Callable[[Slug], None] = lambda slug: None
        self._on_left: Callable[[Slug], None] = lambda slug: None
        self._confirmed_at = clock()
        self._confirming = asyncio.Lock()
        self._ready: dict[Slug, _Ready] = {}
        self._ids: dict[Slug, int] = {}  # of workspaces when they were prepared last
        self._distrusted: set[Slug] = set()
        self._running: dict[Slug, asyncio.Task[_Ready]] = {}
        self._late: dict[Slug, asyncio.Event] = {}  # of those that run: it takes long
        self._failed: dict[Slug, _Failed] = {}  # while nobody waited for it
        self._tasks: set[asyncio.Task[_Ready]] = set()  # forgotten ones as well

    async def prepare(self, slug: Slug, trace_id: TraceId | None) -> None:
        """Return when the workspace is ready; callers for the same one share the work.

        Raises:
            AnythingLLMPendingError: it takes long, and is gone on with.
            AnythingLLMError: theirs or busy; the next call tries again.
        """
        if checked_slug(slug) in self._ready and not self._is_confirmed:
            await self._confirm(trace_id)
        if slug in self._ready:
            return
        if (failed := self._failed.pop(slug, None)) is not None and self._clock() < failed.until:
            raise failed.error
        task = self._running.get(slug)
        if task is None:
            self._late[slug] = asyncio.Event()
            task = asyncio.create_task(self._run(slug, trace_id), name=f"prepare {slug}")
            self._running[slug] = task
            self._tasks.add(task)
            task.add_done_callback(lambda done: self._finished(slug, done))
        late = asyncio.create_task(self._late[slug].wait())
        try:
            # The cancellation of one caller must not take the work from the others.
            await asyncio.wait({task, late}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            late.cancel()
        if not task.done():
            raise AnythingLLMPendingError(
                f"workspace {slug!r} is not ready yet: no search finds the test document in it so"
                " far, and it is looked for again",
                retry_after=_RETRY_SECONDS,
            )
        if task.cancelled():
            raise AnythingLLMConnectionError("the client was disconnected meanwhile")
        task.result()

    def when_changed(self, listener: Callable[[Slug], None]) -> None:
        """Have the listener called with the slug when a workspace has lost all it held (rule 4)."""
        self._on_change = listener

    def when_left(self, listener: Callable[[Slug], None]) -> None:
        """Have the listener called with the slug when sentinels may be left there (rule 3)."""
        self._on_left = listener

    def is_ready(self, slug: Slug) -> bool:
        """Whether it was prepared, and nothing has been said against it since."""
        return slug in self._ready

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

    @property
    def _is_confirmed(self) -> bool:
        return self._clock() - self._confirmed_at < CONFIRMED_SECONDS

    async def _confirm(self, trace_id: TraceId | None) -> None:
        async with self._confirming:
            if self._is_confirmed:
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
        await self._sentinel_proof.prove(slug, trace_id, check)

    async def clear(self, slug: Slug, trace_id: TraceId | None) -> None:
        """Remove what failed tests have left there to be looked for again."""
        await self._sentinel_proof.clear(slug, trace_id)

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
        await self._sentinel_proof.removal_test(slug, trace_id, check)

    async def close(self) -> None:
        """Stop preparing. Sentinels that are left are removed by the next process that prepares."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._running.clear()
        self._ready.clear()

    def _note_late(self, slug: Slug) -> None:
        event = self._late.get(slug)
        if event is not None and not event.is_set():
            event.set()
            log.warning(
                "workspace.late",
                workspace=slug,
                consequence="its documents wait; a test document is looked for again for"
                f" {SURE_SECONDS:.0f} s",
                what_to_do="nothing yet: the vector database may show late what is new",
            )

    def _finished(self, slug: Slug, task: asyncio.Task[_Ready]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if self._running.get(slug) is not task:
            return  # forgotten meanwhile: what it found out no longer holds
        del self._running[slug]
        is_late = self._late.pop(slug).is_set()
        if is_late and isinstance(error, AnythingLLMError):
            self._failed[slug] = _Failed(error, self._clock() + _TOLD_SECONDS)
        if error is None and not task.cancelled():
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
        abandoned = [row.location for row in listing.sentinels if is_abandoned(row, listing.date)]
        await self.sentinels.remove(slug, abandoned, trace_id)
        is_fresh = not is_in_use(listing)
        if slug in self._distrusted or is_fresh:
            await self._sentinel_proof.prove(slug, trace_id, always, is_fresh=is_fresh)
        else:
            await self._answers(slug, trace_id)
        log.info("workspace.ready", workspace=slug, documents=listing.rows)
        # Sentinels go: a workspace of nothing else would look emptied afterwards.
        return _Ready(listing.workspace.id, used=listing.rows > len(listing.sentinels))

    def _compare_with_former(self, workspace: Workspace) -> None:
        """Tell of a workspace that was made anew while it was being prepared.

        What was sent before is gone from it, and its files still say that they were embedded.
        """
        former = self._ids.get(workspace.slug)
        self._ids[workspace.slug] = workspace.id
        if former is not None and former != workspace.id:
            log.warning("workspace.changed", workspace=workspace.slug)
            self._sentinel_proof.forget(workspace.slug)
            self._on_change(workspace.slug)

    async def _answers(self, slug: Slug, trace_id: TraceId | None) -> None:
        """Raise where a workspace in use can't be searched (rule 5)."""
        errand = self._errand(self._timeout, trace_id)
        if not (await self._database(errand)).cached_proves:
            return  # what is stored there is searched for anyway
        try:
            await self._api.search(errand, slug, _ANYTHING, 1)
        except AnythingLLMServerError as error:
            advice = await self._sentinel_proof.new_dimension(slug, trace_id)
            error.message += (
                f": nothing can be found in it. If the embedding model was changed, {advice}"
            )
            raise


def is_in_use(listing: SurveyedWorkspace) -> bool:
    """Rule 1 of the module docstring; ages by the server's own clock on both sides."""
    return listing.oldest is not None and listing.date - listing.oldest > SETTLED_AGE


def is_abandoned(sentinel: DocumentRow, now: datetime) -> bool:
    """Whether a sentinel is that of a process that is gone; `now` by the server's clock."""
    created = sentinel.created_at
    return created is not None and now - created > ABANDONED_AGE
