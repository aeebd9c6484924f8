"""Is it the text or the vector database? A control decides: a test document that is looked for.

Some vector databases refuse vectors, and AnythingLLM answers success all the same
(`vector_databases`). A chunk that can't be found then has two explanations: this text can't be
stored, or nothing can. While nothing can, that is an outage of the whole server: no text is judged,
and nothing more is uploaded, because each upload would leave a row without vectors.

What was stored later than the chunk and was found is as good as a control, and costs nothing.

Some databases refuse removals in the same way: row and file go, the vectors stay, are found for
ever, and no call reaches them any more. So before anything is removed there, at most once a minute,
a test document has to be gone once it was removed. While it is not, nothing else is removed. Each
such test leaves vectors of its own, so they become rare. What happens in the minute after a test,
or while one takes long, is not seen.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from consumer.anythingllm.errors import (
    AnythingLLMAuthenticationError,
    AnythingLLMError,
    AnythingLLMForbiddenError,
    AnythingLLMServerError,
    NoWorkspaceError,
    StillFoundError,
)
from consumer.anythingllm.transport import Check, always
from consumer.anythingllm.vector_databases import VectorDatabase
from consumer.model.fault import Fault
from consumer.model.names import Slug, TraceId
from consumer.telemetry.library_log import library_logger

log = library_logger(__name__)

AGAIN_SECONDS = 10.0  # between two controls that fail
REMOVES_SECONDS = 60.0  # for which a test of removals counts; doubled by each that fails
_CHECKED_SECONDS = 1.0  # between two looks whether the right to go on has ended
_DOUBTED_SECONDS = 3.0  # of a control; one that is found at once takes less
_MOST_ASKING = 2  # workspaces between which the probe goes to and fro
_RAREST_SECONDS = 1800.0  # between two tests of removals that fail
_REFUSED = (AnythingLLMAuthenticationError, AnythingLLMForbiddenError)


class DatabaseControl:
    """See the module's docstring; one for a server.

    Args:
        store_test: stores a test document in a workspace, finds it and removes it, or raises.
        removal_test: the same, and then looks whether it is gone.
        another_answers: whether something is found in another workspace.
        new_dimension: what people do after a change of the embedding model.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        store_test: Callable[[Slug, TraceId | None, Check], Awaitable[None]],
        removal_test: Callable[[Slug, TraceId | None, Check], Awaitable[None]],
        *,
        new_dimension: Callable[[], str],
        another_answers: Callable[[Slug, TraceId | None], Awaitable[bool]],
        clock: Callable[[], float],
    ) -> None:
        self._store_test = store_test
        self._removal_test = removal_test
        self._new_dimension = new_dimension
        self._another_answers = another_answers
        self._asking: OrderedDict[Slug, None] = OrderedDict()  # the longest ago first
        self._clock = clock
        self._turn = asyncio.Lock()
        self._found_at = self._tested_at = float("-inf")  # when that was sent
        self._testing_since = float("inf")
        self._failed_at = float("-inf")
        self._failure: AnythingLLMError | None = None
        self._slug: Slug | None = None
        self._removal_turn = asyncio.Lock()
        self._removal_due = float("-inf")
        self._removal_pause = REMOVES_SECONDS
        self._removal_failure: AnythingLLMError | None = None

    def found(self, sent_at: float) -> None:
        """Note that something was found that was sent then."""
        self._found_at = max(self._found_at, sent_at)
        if sent_at > self._failed_at:
            self._failure = None

    async def passes(
        self, slug: Slug, since: float, trace_id: TraceId | None, check: Check = always
    ) -> None:
        """Return when the database is known to have kept something that was sent after that time.

        Args:
            slug: where to store a test document, if one is needed.
            since: monotonic seconds.
            trace_id: of the event.
            check: asked while it waits and before every request.

        Raises:
            AnythingLLMError: theirs: it does not keep it, or nobody could find out.
        """
        self._note_asking(slug)
        async with turn_of(self._turn, check):
            # What was sent at that very moment by the clock may have been found before it.
            if self._found_at > since or self._tested_at >= since:
                return
            if self._failure is not None and self._clock() < self._failed_at + AGAIN_SECONDS:
                raise self._failure.without_past()
            await self._control(slug, trace_id, check)

    async def enter(self, slug: Slug, trace_id: TraceId | None, check: Check) -> None:
        """Return when something may be uploaded: at once, unless the last control has failed.

        A control that is not found is looked for for minutes; then it is waited for as well.

        Args:
            slug: as `passes` takes it.
            trace_id: of the event.
            check: as `passes` takes it.

        Raises:
            AnythingLLMError: as `passes` does.
        """
        self._note_asking(slug)
        if self._clock() - self._testing_since > _DOUBTED_SECONDS:
            async with turn_of(self._turn, check):
                pass
        if self._failure is not None:
            await self.passes(slug, self._clock(), trace_id, check)

    async def removes(self, slug: Slug, trace_id: TraceId | None, check: Check = always) -> None:
        """Return when the database is known to remove what it is told to remove.

        Args:
            slug: a workspace where a test document may be stored.
            trace_id: of the event.
            check: as `passes` takes it.

        Raises:
            AnythingLLMError: theirs: it does not, or nobody could find out.
        """
        async with turn_of(self._removal_turn, check):
            if self._clock() >= self._removal_due:
                await self._test_removal(slug, trace_id, check)
            elif self._removal_failure is not None:
                raise self._removal_failure.without_past()

    async def removals_work(
        self, slug: Slug, database: VectorDatabase, trace_id: TraceId | None, check: Check = always
    ) -> None:
        """Return when a removal would be answered truly, or `removes` has shown that removals work.

        Of a workspace that is gone nothing is found, whatever becomes of what it listed. And where
        removing is forbidden (403) the removal itself says so; the test can't tell that from a
        refused key, and would be tried for ever.
        """
        if not database.tells_removals:
            with suppress(NoWorkspaceError, *_REFUSED):
                await self.removes(slug, trace_id, check)

    async def _test_removal(self, slug: Slug, trace_id: TraceId | None, check: Check) -> None:
        try:
            await self._removal_test(slug, trace_id, check)
        except NoWorkspaceError:
            raise  # of a workspace that is gone nothing can be said
        except AnythingLLMError as error:
            _blame_nobody(error)
            self._removal_failure = error
            if await self._is_alone(slug, error, trace_id):
                self._removal_failure = None
                raise
            if not isinstance(error, StillFoundError):
                # One that is refused leaves its document, and holds no removal back: they tell it.
                again = REMOVES_SECONDS if isinstance(error, _REFUSED) else AGAIN_SECONDS
                self._removal_due = self._clock() + again
                raise
            if self._removal_pause == REMOVES_SECONDS:
                log.error(
                    "vector_database.removes_nothing",
                    workspace=slug,
                    error=error.message,
                    consequence="nothing is removed, and documents with stale chunks wait",
                    what_to_do="see the vector database: may AnythingLLM delete from its table?",
                )
            self._removal_due = self._clock() + self._removal_pause
            self._removal_pause = min(2 * self._removal_pause, _RAREST_SECONDS)
            raise
        if self._removal_pause > REMOVES_SECONDS:
            log.info("vector_database.removes_again", workspace=slug)
        self._removal_failure, self._removal_pause = None, REMOVES_SECONDS
        self._removal_due = self._clock() + REMOVES_SECONDS

    async def probe(self, trace_id: TraceId | None) -> None:
        """Part of the deep probe: try again what has failed; nothing where nothing has."""
        async with self._turn:
            if self._failure is not None and self._slug is not None:
                # That one may be sick by itself, and others would wait for nothing.
                slug = next(iter(self._asking), self._slug)
                self._note_asking(slug)
                with suppress(NoWorkspaceError):
                    await self._control(slug, trace_id, always)

    def _note_asking(self, slug: Slug) -> None:
        self._asking[slug] = None
        self._asking.move_to_end(slug)
        if len(self._asking) > _MOST_ASKING:
            self._asking.popitem(last=False)

    async def _control(self, slug: Slug, trace_id: TraceId | None, check: Check) -> None:
        sent_at = self._testing_since = self._clock()
        try:
            await self._store_test(slug, trace_id, check)
        except NoWorkspaceError:
            self._failure = self._slug = None  # of a workspace that is gone nothing can be said
            raise
        except AnythingLLMError as error:
            if await self._is_alone(slug, error, trace_id):
                error.ambiguous = False  # a test document is not sent again
                raise
            _blame_nobody(error)
            if self._failure is None:
                log.error(
                    "vector_database.keeps_nothing",
                    workspace=slug,
                    error=error.message,
                    consequence="nothing is uploaded; a test document is tried again and again",
                    what_to_do="see AnythingLLM's log and the vector database: its permissions and"
                    f" free space. If the embedding model was changed: {self._new_dimension()}",
                )
            self._failure, self._failed_at, self._slug = error, self._clock(), slug
            raise
        finally:
            self._testing_since = float("inf")
        if self._failure is not None:
            log.info("vector_database.keeps_again", workspace=slug)
        self._tested_at, self._failure = sent_at, None

    async def _is_alone(
        self, slug: Slug, error: AnythingLLMError, trace_id: TraceId | None
    ) -> bool:
        """Whether this workspace is sick by itself: it answers errors, and another one is found.

        Or searches in it are answered by something between, or by nobody: no document's fault.
        """
        is_look = error.of_a_look and error.fault is not Fault.BUSY
        if is_look and not isinstance(error, AnythingLLMServerError):
            error.fault = Fault.THEIRS
        if is_look or isinstance(error, AnythingLLMServerError):
            with suppress(AnythingLLMError):
                return await self._another_answers(slug, trace_id)
        return False


@asynccontextmanager
async def turn_of(lock: asyncio.Lock, check: Check) -> AsyncIterator[None]:
    """Wait for a test of others, which may take minutes, only as long as the right to go on."""
    while True:
        check()
        try:
            async with asyncio.timeout(_CHECKED_SECONDS):
                await lock.acquire()
        except TimeoutError:
            continue
        break
    try:
        check()
        yield
    finally:
        lock.release()


def _blame_nobody(error: AnythingLLMError) -> None:
    """Of a test document, which is not sent again: never a document's fault, nor in doubt."""
    error.fault = Fault.BUSY if error.fault is Fault.BUSY else Fault.THEIRS
    error.ambiguous = False
