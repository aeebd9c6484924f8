"""Which vector database AnythingLLM has: asked where it matters, and remembered for a while."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from consumer.anythingllm.api import Api
from consumer.anythingllm.errors import AnythingLLMError, is_sick
from consumer.anythingllm.transport import Errand
from consumer.anythingllm.vector_databases import DATABASES, UNKNOWN, VectorDatabase
from consumer.model.fault import Fault

log = structlog.get_logger(__name__)

REMEMBERED_SECONDS = 300.0  # an operator may change it, and then AnythingLLM starts anew


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
        self._asked_at = float("-inf")
        self._known = UNKNOWN

    async def __call__(self, errand: Errand) -> VectorDatabase:
        """The entry; that of the last answer while the server gives none.

        Raises:
            AnythingLLMError: theirs: an outage, and it never was known.
        """
        if self._configured is not None:
            return self._configured
        if self._clock() - self._asked_at >= REMEMBERED_SECONDS:
            await self._ask(errand)
        return self._known

    async def _ask(self, errand: Errand) -> None:
        try:
            name = await self._api.vector_database(errand)
        except AnythingLLMError as error:
            # Not remembered: the next question may be answered.
            log.debug("vector_database.not_told", error=error.message)
            if is_sick(error) and self._asked_at == float("-inf"):
                error.fault = Fault.BUSY if error.fault is Fault.BUSY else Fault.THEIRS
                raise
            return
        self._asked_at = self._clock()
        known = DATABASES.get(name or "", UNKNOWN)
        if known is UNKNOWN:
            log.warning(
                "vector_database.unknown",
                name=(name or "")[:40],
                consequence="nothing of it is relied upon, which costs a search a chunk",
                what_to_do="set ANYTHINGLLM_VECTOR_DB to its name, where a proxy hides that",
            )
        elif known is not self._known:
            log.debug("vector_database.found", name=known.name, was_run=known.was_run)
        self._known = known
