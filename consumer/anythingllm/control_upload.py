"""A control upload: what an upload of a chunk would meet, tried with a test document.

A chunk whose uploads fail although the embedder takes its text is at fault only where the same call
with another text of its length passes. So a sentinel with such a text, or with the chunk's own,
goes the way of a chunk: stored, embedded into the workspace, proven by its file, and removed.
Searches may find it for the seconds in between. What can't be removed goes with the sweep, as every
sentinel does.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable

import structlog

from consumer.anythingllm.api import Api
from consumer.anythingllm.database_in_use import DatabaseInUse
from consumer.anythingllm.document_removal import DocumentRemoval
from consumer.anythingllm.errors import AnythingLLMError
from consumer.anythingllm.proof import StorageProof, query_of
from consumer.anythingllm.sentinel import sentinel_body, sentinel_source
from consumer.anythingllm.transport import Check, Errand
from consumer.model.names import Location, Slug, TraceId

log = structlog.get_logger(__name__)


class ControlUpload:
    """See the module's docstring; for one test document.

    Args:
        proof: says whether it is embedded.
        database: says whether that is enough.
        uploading: an errand of an upload's time.
        removing: an errand of an ordinary call's time.
        left: called with the slug where the test document may stay for a while.
    """

    def __init__(
        self,
        api: Api,
        proof: StorageProof,
        database: DatabaseInUse,
        removal: DocumentRemoval,
        *,
        uploading: Callable[[], Errand],
        removing: Callable[[], Errand],
        left: Callable[[Slug], None],
    ) -> None:
        self._api = api
        self._proof = proof
        self._database = database
        self._removal = removal
        self._uploading = uploading
        self._removing = removing
        self._left = left
        self._id = uuid.uuid4().hex

    async def run(self, slug: Slug, text: str, trace_id: TraceId | None, check: Check) -> None:
        """Store it, see that it is embedded, remove it.

        Raises:
            AnythingLLMError: it was not stored, or not embedded. It is never ambiguous, because it
                is not sent again.
        """
        try:
            check()
            location = await self._store(slug, text)
            try:
                await self._embed(slug, location, trace_id, check)
                if not (await self._database(self._removing())).cached_proves:
                    # A chunk would have to be found there; whether this one is found is no matter.
                    await self._api.search(self._removing(), slug, query_of(text), 1)
            finally:
                await self._remove(slug, location)
        except AnythingLLMError as error:
            error.ambiguous = False
            raise

    async def _store(self, slug: Slug, text: str) -> Location:
        body = sentinel_body(slug, self._id, text)
        try:
            file = await self._api.raw_text(self._uploading(), body)
        except AnythingLLMError as error:
            if error.ambiguous or error.unproven:
                self._left(slug)
            raise
        if file.doc_source != sentinel_source(self._id):
            self._left(slug)
            raise AnythingLLMError("AnythingLLM named a file that is not the test document's")
        return file.location

    async def _embed(
        self, slug: Slug, location: Location, trace_id: TraceId | None, check: Check
    ) -> None:
        source = sentinel_source(self._id)
        if await self._proof.by_file(location, source, trace_id):
            return
        check()
        await self._api.embed(self._uploading(), slug, [location])
        if not await self._proof.by_file(location, source, trace_id):
            raise AnythingLLMError(
                f"a test document was stored but can't be embedded into workspace {slug!r}"
            )

    async def _remove(self, slug: Slug, location: Location) -> None:
        try:
            await self._removal.remove(self._removing(), slug, [location])
        except AnythingLLMError as error:
            log.warning("workspace.sentinels_left", workspace=slug, error=error.message)
            self._left(slug)
