"""Which vector database AnythingLLM has: asked where it matters, and remembered for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from consumer.anythingllm.api import Api
from consumer.anythingllm.errors import AnythingLLMError
from consumer.anythingllm.hit_ids import HitIds
from consumer.anythingllm.transport import Errand
from consumer.anythingllm.vector_databases import DATABASES, UNKNOWN, VectorDatabase
from consumer.anythingllm.visibility import Visibility
from consumer.telemetry.library_log import library_logger

log = library_logger(__name__)

REMEMBERED_SECONDS = 300.0  # an operator may change it, and then AnythingLLM starts anew
AGAIN_SECONDS = 30.0  # until it is asked again where it did not answer
_ASKING_SECONDS = 5.0  # the caller has more to do


class DatabaseInUse:
    """See the module's docstring.

    Args:
        api: the endpoints.
        configured: its name, where a proxy hides it; "" asks the server.
        clock: monotonic seconds.
    """

    def __init__(self, api: Api, *, configured: str, clock: Callable[[], float]) -> None:
        self._api = api
        self._configured = DATABASES.get(configured)
        self._clock = clock
        self._turn = asyncio.Lock()
        self._ask_at = float("-inf")
        self._known = UNKNOWN
        self._is_told = False
        self.visibility = Visibility(clock)
        """How late its searches show what is stored, by what was seen."""
        self.hit_ids = HitIds()
        """Which files its hits are of."""

    @property
    def known(self) -> VectorDatabase:
        """The entry as far as it is known by now, without asking."""
        return self._configured or self._known

    async def __call__(self, errand: Errand) -> VectorDatabase:
        """The entry; that of the last answer while the server gives none. Never raises.

        Without any answer it is `UNKNOWN`, which works with all of them and costs the most: a
        server that hides it, or is down, is no reason to store nothing.
        """
        if self._configured is not None:
            return self._configured
        if self._clock() >= self._ask_at:
            async with self._turn:
                if self._clock() >= self._ask_at:
                    await self._ask(errand)
        return self._known

    @property
    def asked(self) -> VectorDatabase | None:
        """The entry by what was asked so far; None where that was nothing."""
        is_asked = self._configured is not None or self._ask_at > float("-inf")
        return self.known if is_asked else None

    async def _ask(self, errand: Errand) -> None:
        soon = min(errand.deadline, errand.clock() + _ASKING_SECONDS)
        try:
            name = await self._api.vector_database(replace(errand, deadline=soon))
        except AnythingLLMError as error:
            self._ask_at = self._clock() + AGAIN_SECONDS
            log.debug("vector_database.not_told", error=error.message)
            if self._known is UNKNOWN:
                self._warn(error.message)
            return
        self._ask_at = self._clock() + REMEMBERED_SECONDS
        known = DATABASES.get(name or "", UNKNOWN)
        if known is UNKNOWN:
            self._warn((name or "")[:40])
        self._known = known

    def _warn(self, why: str) -> None:
        if not self._is_told:
            self._is_told = True
            log.warning(
                "vector_database.unknown",
                because=why,
                consequence="what AnythingLLM says of it is not believed: a search for each chunk",
                what_to_do="set ANYTHINGLLM_VECTOR_DB to its name, where a proxy hides that",
            )
