"""Whether an AnythingLLM is the only one behind its stream, where the settings know no other.

It is one of several where it keeps marks of others (`model.server_marks`). Then nothing that it
lacks may be made on it, and it can't be said that a document is nowhere: another one may have it.

Where there is one, nothing is asked for that. Every answer that names all workspaces is looked at,
and one comes at the start and every few seconds of uploading. Only what this server lacks
altogether is asked for: whoever lists several begins while nobody else is at work, and what was
seen before that is old.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from consumer.anythingllm.api import Api
from consumer.anythingllm.errors import (
    AnythingLLMError,
    AnythingLLMForbiddenError,
    AnythingLLMNotFoundError,
    NoWorkspaceError,
)
from consumer.anythingllm.transport import NewErrand
from consumer.model.fault import Fault
from consumer.model.names import Slug, TraceId
from consumer.model.server_marks import MarkKind, read_mark
from consumer.telemetry.library_log import library_logger

log = library_logger(__name__)

# A proxy may not let it through. Who lists several could not ask there either.
_NOT_TOLD = (AnythingLLMForbiddenError, AnythingLLMNotFoundError)


class SoleServer:
    """See the module's docstring.

    Args:
        api: its answers that name all workspaces are looked at.
        group: the consumer group whose marks count; "": nothing is asked.
        timeout: seconds for a request.
    """

    def __init__(self, api: Api, *, group: str, errand: NewErrand, timeout: float) -> None:
        self._api = api
        self._group = group
        self._errand = errand
        self._timeout = timeout
        self._others: dict[str, Slug] = {}  # servers that it knows, and the marks that say so
        self._begun = self._read = 0  # requests
        self._asking = asyncio.Lock()
        if group:
            api.when_listed(self.saw)

    def saw(self, slugs: Iterable[Slug]) -> None:
        """Look at the slugs of all workspaces that it has."""
        marks = {slug: read_mark(slug, self._group) for slug in slugs}
        given_up = {each.name for each in marks.values() if each and each.kind is MarkKind.WITHOUT}
        others = {
            each.name: slug
            for slug, each in marks.items()
            if each and each.kind is MarkKind.KNOWS and each.name not in given_up
        }
        if others and others != self._others:
            log.error("server.one_of_several", error=self._why(others))
        self._others = others

    async def check(self, trace_id: TraceId | None, *, lacks: bool) -> None:
        """Return where it is the only one.

        Args:
            trace_id: of the event.
            lacks: whether it has nothing of what is looked for. If not, nothing is asked unless
                it was one of several when all its workspaces were seen last.

        Raises:
            NoWorkspaceError: it is one of several (theirs).
            AnythingLLMError: it can't be asked.
        """
        if not self._group or not (lacks or self._others):
            return
        await self._ask(trace_id)
        if self._others:
            raise NoWorkspaceError(self._why(self._others), fault=Fault.THEIRS)

    async def _ask(self, trace_id: TraceId | None) -> None:
        """Ask by a request that begins from now on; all who ask meanwhile share it."""
        asked = self._begun
        async with self._asking:
            if self._read > asked:
                return
            self._begun += 1
            try:
                await self._api.workspaces(self._errand(self._timeout, trace_id))
            except _NOT_TOLD as error:
                log.debug("server.not_listed", error=error.message)
            except AnythingLLMError as error:
                error.message = f"whether it is one of several servers can't be seen: {error}"
                raise
            self._read = self._begun

    def _why(self, others: dict[str, Slug]) -> str:
        return (
            f"this AnythingLLM is one of several for {self._group} (workspace"
            f" {', '.join(sorted(others.values()))} says so): what it lacks may be on another one"
            f" ({', '.join(sorted(others))}), and nothing is done on it alone. Set"
            " ANYTHINGLLM_ENDPOINTS as before; where this is the only one for good, list it there"
            f" alone, and run `workspaces forget {min(others)}`"
        )
