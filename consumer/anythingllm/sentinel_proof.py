"""Does a workspace take documents? A sentinel that is stored, found, and found again tells.

1. A sentinel is looked for with growing pauses, for two minutes: a vector database may show late
   what is new, in each search or in some. It counts when it was found, and is found again a pause
   later; searches in between may have missed it.
2. Where that was not enough, the next try looks for it again, and stores another one. Up to three
   are kept: the first one, and the last ones. All of them are removed once one is found.
3. Where another process may have made the table anew (`readiness`), and others' vectors are found
   and the sentinel is not, it was lost: another one is stored at once, `ROUNDS` at most.
4. A sentinel that lost the race to create the table was not embedded at all. By then the table is
   there, so it is embedded once more. If that fails too, no race was lost: the workspace takes
   nothing now, and further sentinels would only fail in the same way.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum

from consumer.anythingllm.database_in_use import DatabaseInUse
from consumer.anythingllm.document_removal import DocumentRemoval
from consumer.anythingllm.errors import (
    AnythingLLMError,
    AnythingLLMServerError,
    NoWorkspaceError,
    StillFoundError,
    not_searched,
)
from consumer.anythingllm.proof import StorageProof
from consumer.anythingllm.sentinel import ABANDONED_AGE, sentinel_source, sentinel_text
from consumer.anythingllm.sentinel_store import NotEmbeddedError, SentinelStore
from consumer.anythingllm.transport import Check, NewErrand
from consumer.anythingllm.visibility import SURE_SECONDS, pauses
from consumer.anythingllm.workspaces import Workspaces
from consumer.model.fault import Fault
from consumer.model.names import Location, Slug, TraceId
from consumer.telemetry.library_log import library_logger

log = library_logger(__name__)

ROUNDS = 5  # sentinels tried; each loss means that another process was creating the table
PATIENCE = 3.0  # seconds of looking, after which callers have more to do
_AGAIN_SECONDS = 10.0  # for which a further sentinel is looked for, after one was for two minutes
_GONE_SECONDS = 10.0  # for which a sentinel that was removed may still be found
_MOST_KEPT = 3  # sentinels that were not seen: the first one, and the last ones
_TOP = 1_000  # more than a workspace can hold that is not yet in use (13 uploads/s for 60 s)


@dataclass(slots=True)
class _Sentinel:
    """One that was embedded, and is looked for.

    Args:
        id: its own.
        location: where it is; None where it is not known.
        sent_at: monotonic seconds, after it was embedded.
        missed: whether a look has not found it.
        seen_at: when a look has found it first.
    """

    id: str
    location: Location | None
    sent_at: float
    missed: bool = False
    seen_at: float | None = None

    @property
    def source(self) -> str:
        """Its ``docSource``."""
        return sentinel_source(self.id)

    def is_confirmed(self, now: float, pause: float) -> bool:
        """Whether it was seen before, a pause ago, where it is seen now."""
        return self.seen_at is not None and now - self.seen_at >= pause

    def looked_for(self, now: float, *, is_seen: bool) -> float | None:
        """Note a look; how late it was, where it is seen for the first time and was missed."""
        if not is_seen:
            self.missed = self.missed or self.seen_at is None
            return None
        if self.seen_at is not None:
            return None
        self.seen_at = now
        return now - self.sent_at if self.missed else None


class _Watched(Enum):
    """How looking for sentinels ended.

    SEEN  one is there, and stays.
    LATE  none was found in time.
    LOST  others' vectors are there, and none of them: another process made the table anew.
    """

    SEEN = "seen"
    LATE = "late"
    LOST = "lost"


class SentinelProof:
    """See the module's docstring.

    Args:
        store: stores and removes them.
        timeout: seconds for an ordinary call.
        pause: seconds between the two looks that have to find it.
        in_doubt: seconds in which a request without a clear answer may take effect.
        clock: monotonic seconds.
        late: hears of workspaces where it takes longer than `PATIENCE`.
        left: hears of workspaces where sentinels may be left.
    """

    def __init__(
        self,
        store: SentinelStore,
        workspaces: Workspaces,
        proof: StorageProof,
        database: DatabaseInUse,
        removal: DocumentRemoval,
        *,
        errand: NewErrand,
        timeout: float,
        pause: float,
        in_doubt: float,
        clock: Callable[[], float],
        late: Callable[[Slug], None],
        left: Callable[[Slug], None],
    ) -> None:
        self._store = store
        self._workspaces = workspaces
        self._proof = proof
        self._database = database
        self._removal = removal
        self._errand = errand
        self._timeout = timeout
        self._pause = pause
        self._in_doubt = in_doubt
        self._clock = clock
        self._late = late
        self._left = left
        self._kept: dict[Slug, list[_Sentinel]] = {}  # not seen by the end of their try

    def forget(self, slug: Slug) -> None:
        """Note that the workspace was made anew: what was stored in it is gone."""
        self._kept.pop(slug, None)

    async def clear(self, slug: Slug, trace_id: TraceId | None) -> None:
        """Remove all that are kept to be looked for again."""
        kept = self._kept.pop(slug, [])
        await self._drop(slug, kept, kept[:], trace_id)

    async def prove(
        self, slug: Slug, trace_id: TraceId | None, check: Check, *, is_fresh: bool = False
    ) -> None:
        """Return when a sentinel was seen, and seen again a pause later; all are removed then.

        Those of earlier tries are looked for first. What is not seen is kept for the next try.
        """
        # This try's own from here on: one that runs beside it removes what it has seen.
        kept = self._kept.pop(slug, [])
        oldest = self._clock() - ABANDONED_AGE.total_seconds()
        old = [each for each in kept if each.sent_at <= oldest]
        await self._drop(slug, kept, old, trace_id)  # others take them for a dead process's
        try:
            seen = await self._is_proven(slug, kept, trace_id, check, is_fresh=is_fresh)
        except Exception:
            await self._drop(slug, kept, kept[:], trace_id)
            raise
        await self._drop(slug, kept, kept[:] if seen else kept[1 : 1 - _MOST_KEPT], trace_id)
        if not seen:
            self._kept.setdefault(slug, []).extend(kept)
            self._left(slug)
            raise AnythingLLMError(
                f"workspace {slug!r} is not ready: a test document was answered with success, and"
                f" no search has found it for {SURE_SECONDS:.0f} s; it is looked for again, and so"
                " is another one. See AnythingLLM's log and its vector database. If the embedding"
                f" model was changed: {await self.new_dimension(slug, trace_id)}",
                fault=Fault.THEIRS,
            )

    async def removal_test(self, slug: Slug, trace_id: TraceId | None, check: Check) -> None:
        """Store a sentinel in a workspace that is there, remove it, and find it no more.

        ``check`` is called before every look, and its exception gets out.

        Raises:
            AnythingLLMError: that was not possible, or it is still found. Nothing can remove its
                vectors then.
        """
        sentinel = await self._embed(slug, trace_id, check)
        kept = [sentinel]
        try:
            watched = await self._watch(slug, kept, SURE_SECONDS, trace_id, check, once=True)
            if watched is not _Watched.SEEN:
                raise _not_found()
            refusal = await self._remove_in_doubt(slug, sentinel, kept, trace_id, check)
        finally:
            is_removed = await self._drop(slug, kept, kept[:], trace_id)
        # A refusal that a further removal got past proves nothing about the database.
        doubt = None if is_removed else refusal or _not_removed(slug)
        late = self._in_doubt if doubt is not None and doubt.ambiguous else 0.0
        if not await self._goes(slug, sentinel, trace_id, check, late=late):
            if doubt is not None:
                raise doubt
            raise StillFoundError(
                f"a test document that was removed from workspace {slug!r} is still found: "
                "AnythingLLM's vector database refuses removals, and nothing is removed meanwhile"
            )

    async def _remove_in_doubt(
        self,
        slug: Slug,
        sentinel: _Sentinel,
        kept: list[_Sentinel],
        trace_id: TraceId | None,
        check: Check,
    ) -> AnythingLLMError | None:
        """Remove a sentinel; an answer that leaves it in doubt whether it is."""
        if sentinel.location is None:
            return None
        errand = self._errand(self._timeout, trace_id)
        try:
            await self._removal.remove(errand, slug, [sentinel.location], check)
        except AnythingLLMError as error:
            if error.ambiguous or error.unproven:
                return error  # a search shows whether it was done
            raise
        kept.clear()
        return None

    async def _is_proven(
        self,
        slug: Slug,
        kept: list[_Sentinel],
        trace_id: TraceId | None,
        check: Check,
        *,
        is_fresh: bool,
    ) -> bool:
        seconds = SURE_SECONDS
        if kept:  # the first one was looked for that long
            if await self._watch(slug, kept, 0.0, trace_id, check) is _Watched.SEEN:
                return True
            seconds, is_fresh = _AGAIN_SECONDS, False
        for attempt in range(1, ROUNDS + 1):
            kept.append(await self._embed(slug, trace_id, check))
            watched = await self._watch(slug, kept, seconds, trace_id, check, is_fresh=is_fresh)
            if watched is not _Watched.LOST:
                return watched is _Watched.SEEN
            log.info("workspace.sentinel_lost", workspace=slug, attempt=attempt)
        return False

    async def _watch(
        self,
        slug: Slug,
        sentinels: Sequence[_Sentinel],
        seconds: float,
        trace_id: TraceId | None,
        check: Check,
        *,
        is_fresh: bool = False,
        once: bool = False,
    ) -> _Watched:
        """Look for sentinels, with growing pauses.

        Args:
            slug: the workspace.
            sentinels: one of them is enough.
            seconds: after so many it ends.
            trace_id: of the event.
            check: called before every look; what it raises gets out.
            is_fresh: whether the table may have been made anew by another process.
            once: whether one sight is enough.
        """
        began, growing = self._clock(), pauses()
        database = await self._database(self._errand(self._timeout, trace_id))
        visibility = self._database.visibility
        races = is_fresh and database.has_creation_race and not visibility.seconds(database)
        while True:
            check()
            found = await self._found(slug, sentinels, trace_id)
            now = self._clock()
            seen = [each for each in sentinels if each.source in found]
            is_proven = any(once or each.is_confirmed(now, self._pause) for each in seen)
            for each in sentinels:
                if (late := each.looked_for(now, is_seen=each in seen)) is not None:
                    visibility.note(late)
            if is_proven:
                return _Watched.SEEN
            if races and found and not seen:
                return _Watched.LOST
            if not seen and now - began >= seconds:
                return _Watched.LATE
            if now - began >= PATIENCE:
                self._late(slug)
            await self._store.wait(self._pause if seen else next(growing), check)

    async def _found(
        self, slug: Slug, sentinels: Sequence[_Sentinel], trace_id: TraceId | None
    ) -> frozenset[str]:
        """What searches for their texts find."""
        found: frozenset[str] = frozenset()
        try:
            for each in sentinels:
                if each.source in found:
                    continue
                hits = await self._proof.by_search(
                    slug, text=sentinel_text(each.id), trace_id=trace_id, nearest=_TOP
                )
                found |= {hit.doc_source for hit in hits}
                if each.location is not None:
                    self._database.hit_ids.note_only(hits, each.source, each.location)
        except NoWorkspaceError as error:
            if not await self._workspaces.is_there(self._errand(self._timeout, trace_id), slug):
                raise
            refused = not_searched(slug, error)
            refused.of_a_look = True
            raise refused from error
        except AnythingLLMError as error:
            error.of_a_look = True
            if isinstance(error, AnythingLLMServerError):
                advice = await self.new_dimension(slug, trace_id)
                error.message += (
                    f" for a test document. If the embedding model was changed: {advice}"
                )
            raise
        return found

    async def _goes(
        self,
        slug: Slug,
        sentinel: _Sentinel,
        trace_id: TraceId | None,
        check: Check,
        *,
        late: float,
    ) -> bool:
        """Whether one that was removed, perhaps so many seconds late, is found no more."""
        database = await self._database(self._errand(self._timeout, trace_id))
        visible = self._database.visibility.seconds(database)
        until, growing = self._clock() + max(visible, _GONE_SECONDS) + late, pauses()
        while True:
            found = await self._found(slug, [sentinel], trace_id)
            if not found and database.is_empty_when_down:
                found = await self._beside_another(slug, trace_id, check)
            if sentinel.source not in found:
                return True
            if self._clock() >= until:
                return False
            await self._store.wait(next(growing), check)
            check()

    async def _beside_another(
        self, slug: Slug, trace_id: TraceId | None, check: Check
    ) -> frozenset[str]:
        """What is found where nothing was: also while the database is away nothing is found.

        Raises:
            AnythingLLMError: a further sentinel is not found either.
        """
        kept = [await self._embed(slug, trace_id, check)]
        try:
            await self._watch(slug, kept, SURE_SECONDS, trace_id, check, once=True)
            found = await self._found(slug, kept, trace_id)
            if kept[0].source not in found:
                raise _not_found()
            return found
        finally:
            await self._drop(slug, kept, kept[:], trace_id)

    async def _embed(self, slug: Slug, trace_id: TraceId | None, check: Check) -> _Sentinel:
        """Upload a sentinel; whether it can be found is seen afterwards.

        Raises:
            AnythingLLMError: it can't be embedded there (rule 4), or nobody knows; it is removed.
        """
        id = uuid.uuid4().hex
        try:
            location = await self._store.store(slug, id, trace_id, check, in_doubt=self._in_doubt)
        except NotEmbeddedError:
            raise await self._takes_nothing(slug, trace_id) from None
        return _Sentinel(id, location, self._clock())

    async def _drop(
        self,
        slug: Slug,
        kept: list[_Sentinel],
        dropped: Sequence[_Sentinel],
        trace_id: TraceId | None,
    ) -> bool:
        """Keep these no longer; whether their removal was answered with success."""
        kept[:] = [each for each in kept if each not in dropped]
        placed = [each.location for each in dropped if each.location is not None]
        unplaced = {each.source for each in dropped if each.location is None}
        return await self._store.remove(slug, placed, trace_id, unplaced=unplaced)

    async def _takes_nothing(self, slug: Slug, trace_id: TraceId | None) -> AnythingLLMError:
        return AnythingLLMError(
            f"workspace {slug!r} takes no documents: a test document was stored but can't be "
            "embedded there. Documents for it wait and it is tried again. If AnythingLLM's "
            "embedder and vector database work, the embedding model was probably changed and the "
            f"stored vectors have another dimension: {await self.new_dimension(slug, trace_id)}",
            fault=Fault.THEIRS,
        )

    async def new_dimension(self, slug: Slug, trace_id: TraceId | None) -> str:
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


def _not_removed(slug: Slug) -> AnythingLLMError:
    return AnythingLLMError(
        f"a test document could not be removed from workspace {slug!r}", fault=Fault.THEIRS
    )


def _not_found() -> AnythingLLMError:
    return AnythingLLMError(
        "a test document was answered with success and can't be found", fault=Fault.THEIRS
    )
