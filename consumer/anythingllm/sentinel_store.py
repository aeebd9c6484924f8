"""Storing and removing sentinels: one rule for all that leaves it open, whoever sends one.

1. After an answer that says that it is over (`effects`) the workspace is listed once; after one
   that leaves it open, for as long as the caller waits. What is listed counts as stored: behind a
   proxy that answers before AnythingLLM does, no other sentinel would get an answer.
2. One that is stored and not embedded is embedded once more.
3. What is of no use is removed. Where that can't be done, or something may still come, the sweep
   does it (`unit_store`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence

from consumer.anythingllm.api import Api
from consumer.anythingllm.document_removal import DocumentRemoval
from consumer.anythingllm.errors import AnythingLLMError
from consumer.anythingllm.proof import StorageProof
from consumer.anythingllm.sentinel import sentinel_body, sentinel_source
from consumer.anythingllm.transport import Check, NewErrand
from consumer.anythingllm.visibility import pauses
from consumer.model.names import Location, Slug, TraceId
from consumer.telemetry.library_log import library_logger

log = library_logger(__name__)

_CHECKED_SECONDS = 1.0  # between two looks whether the right to go on has ended


class NotEmbeddedError(AnythingLLMError):
    """A sentinel was stored, and can't be embedded."""


class SentinelStore:
    """See the module's docstring.

    Args:
        timeout: seconds for a removal.
        upload_timeout: seconds for an upload.
        clock: monotonic seconds.
        left: hears of workspaces where sentinels may be left.
    """

    def __init__(
        self,
        api: Api,
        proof: StorageProof,
        removal: DocumentRemoval,
        *,
        errand: NewErrand,
        timeout: float,
        upload_timeout: float,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        left: Callable[[Slug], None],
    ) -> None:
        self._api = api
        self._proof = proof
        self._removal = removal
        self._errand = errand
        self._timeout = timeout
        self._upload_timeout = upload_timeout
        self._clock = clock
        self._sleep = sleep
        self._left = left

    async def store(
        self,
        slug: Slug,
        id: str,
        trace_id: TraceId | None,
        check: Check,
        *,
        text: str = "",
        in_doubt: float,
    ) -> Location | None:
        """Upload one, and see by its file that it is embedded.

        Args:
            slug: the workspace.
            id: of the sentinel, no other one's.
            trace_id: of the event.
            check: called before every request that changes something; what it raises gets out.
            text: another one than its own.
            in_doubt: seconds for which it is looked for where it may still come; 0: not at all.

        Returns:
            Where it is; None where AnythingLLM named a file that is not its own. Then it is to be
            removed by its source.

        Raises:
            NotEmbeddedError: it can't be embedded; it was removed.
            AnythingLLMError: it is not stored, or nobody knows.
        """
        source = sentinel_source(id)
        check()
        location = await self._uploaded(slug, id, text, trace_id, check, in_doubt)
        own: list[Location] = []
        try:
            embedded = await self._proof.by_file(location, source, trace_id)
            if embedded is None:
                return None
            own = [location]
            if not embedded:
                await self._embed(slug, location, source, trace_id, check)
        except Exception:
            await self.remove(slug, own, trace_id, unplaced=() if own else (source,))
            raise
        return location

    async def remove(
        self,
        slug: Slug,
        locations: Sequence[Location],
        trace_id: TraceId | None,
        *,
        unplaced: Collection[str] = (),
    ) -> bool:
        """Remove sentinels.

        Args:
            slug: the workspace.
            locations: where they are.
            trace_id: of the event.
            unplaced: sources of further ones, which a listing has to show.

        Returns:
            Whether the removal of each was answered with success; also where there is none.
        """
        found: dict[str, Location] = {}
        try:
            if unplaced:
                found = await self._proof.by_listing(slug, unplaced, trace_id)
            if every := [*locations, *found.values()]:
                await self._removal.remove(self._errand(self._timeout, trace_id), slug, every)
        except AnythingLLMError as error:
            # Not worth failing for: a process that prepares this workspace later removes them.
            log.warning("workspace.sentinels_left", workspace=slug, error=error.message)
            self._left(slug)
            return False
        if len(found) < len(unplaced):
            self._left(slug)
        return len(found) >= len(unplaced)

    async def wait(self, seconds: float, check: Check) -> None:
        """Wait, but only as long as the right to go on."""
        until = self._clock() + seconds
        while (left := until - self._clock()) > 0:
            check()
            await self._sleep(min(left, _CHECKED_SECONDS))

    async def _uploaded(
        self,
        slug: Slug,
        id: str,
        text: str,
        trace_id: TraceId | None,
        check: Check,
        in_doubt: float,
    ) -> Location:
        errand = self._errand(self._upload_timeout, trace_id)
        try:
            return (await self._api.raw_text(errand, sentinel_body(slug, id, text))).location
        except AnythingLLMError as error:
            if not (error.ambiguous or error.unproven):
                raise
            doubt = error
        try:
            return await self._listed(slug, sentinel_source(id), doubt, trace_id, check, in_doubt)
        except Exception:
            self._left(slug)
            raise

    async def _listed(
        self,
        slug: Slug,
        source: str,
        doubt: AnythingLLMError,
        trace_id: TraceId | None,
        check: Check,
        in_doubt: float,
    ) -> Location:
        if doubt.ambiguous and not in_doubt:
            raise doubt
        until = self._clock() + (in_doubt if doubt.ambiguous else 0.0)
        growing = pauses()
        while not (found := await self._proof.by_listing(slug, {source}, trace_id)):
            if self._clock() >= until:
                raise doubt
            await self.wait(next(growing), check)
            check()
        return found[source]

    async def _embed(
        self,
        slug: Slug,
        location: Location,
        source: str,
        trace_id: TraceId | None,
        check: Check,
    ) -> None:
        check()
        try:
            await self._api.embed(self._errand(self._upload_timeout, trace_id), slug, [location])
        except AnythingLLMError as error:
            if error.ambiguous:
                self._left(slug)  # its row may come after the file was removed
            raise
        if not await self._proof.by_file(location, source, trace_id):
            raise NotEmbeddedError(
                f"a test document was stored but can't be embedded into workspace {slug!r}"
            )
