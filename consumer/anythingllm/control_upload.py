"""A control upload: what an upload of a chunk would meet, tried with a test document.

A chunk whose uploads fail although the embedder takes its text is at fault only where the same call
with another text of its length passes. So a sentinel with such a text, or with the chunk's own,
goes the way of a chunk: stored, embedded into the workspace, proven by its file, and removed.
Searches may find it for the seconds in between.

What may still come after its answer is not waited for: a control that gets no answer has failed.
"""

from __future__ import annotations

import uuid

from consumer.anythingllm.api import Api
from consumer.anythingllm.database_in_use import DatabaseInUse
from consumer.anythingllm.errors import AnythingLLMError
from consumer.anythingllm.proof import query_of
from consumer.anythingllm.sentinel import sentinel_source
from consumer.anythingllm.sentinel_store import SentinelStore
from consumer.anythingllm.transport import Check, NewErrand
from consumer.model.names import Slug, TraceId


class ControlUpload:
    """See the module's docstring.

    Args:
        sentinels: stores and removes test documents.
        database: says whether its file is proof enough.
        timeout: seconds for an ordinary call.
    """

    def __init__(
        self,
        api: Api,
        sentinels: SentinelStore,
        database: DatabaseInUse,
        *,
        errand: NewErrand,
        timeout: float,
    ) -> None:
        self._api = api
        self._sentinels = sentinels
        self._database = database
        self._errand = errand
        self._timeout = timeout

    async def run(self, slug: Slug, text: str, trace_id: TraceId | None, check: Check) -> None:
        """Store it, see that it is embedded, remove it.

        Raises:
            AnythingLLMError: it was not stored, or not embedded. It is never ambiguous, because it
                is not sent again.
        """
        id, store = uuid.uuid4().hex, self._sentinels
        try:
            location = await store.store(slug, id, trace_id, check, text=text, in_doubt=0.0)
            if location is None:
                await store.remove(slug, [], trace_id, unplaced=(sentinel_source(id),))
                raise AnythingLLMError("AnythingLLM named a file that is not the test document's")
            try:
                await self._search(slug, text, trace_id)
            finally:
                await store.remove(slug, [location], trace_id)
        except AnythingLLMError as error:
            error.ambiguous = False
            raise

    async def _search(self, slug: Slug, text: str, trace_id: TraceId | None) -> None:
        """Where a chunk would have to be found; whether this one is found is no matter."""
        if (await self._database(self._errand(self._timeout, trace_id))).cached_proves:
            return
        await self._api.search(self._errand(self._timeout, trace_id), slug, query_of(text), 1)
