"""Whether an AnythingLLM is the only one behind its stream, where the settings know no other.

It is one of several where it keeps marks of others (`model.server_marks`). Then nothing that it
lacks may be made on it, and it can't be said that a document is nowhere: another one may have it.
"""

from __future__ import annotations

from collections.abc import Iterable

from consumer.anythingllm.api import Api
from consumer.anythingllm.errors import NoWorkspaceError
from consumer.anythingllm.models import Workspace
from consumer.anythingllm.transport import Errand
from consumer.model.fault import Fault
from consumer.model.server_marks import MarkKind, read_mark


class SoleServer:
    """See the module's docstring.

    Args:
        group: the consumer group whose marks count; "": nothing is asked.
    """

    def __init__(self, api: Api, *, group: str) -> None:
        self._api = api
        self._group = group
        self._was_sole = False

    async def check(self, errand: Errand, *, unless_known: bool = False) -> None:
        """Return where it is the only one.

        Args:
            errand: deadline and trace id.
            unless_known: nothing is asked where it was the only one before.

        Raises:
            NoWorkspaceError: it is one of several (theirs).
            AnythingLLMError: it can't be asked.
        """
        if self._group and not (unless_known and self._was_sole):
            self.judge(await self._api.workspaces(errand))

    def judge(self, workspaces: Iterable[Workspace]) -> None:
        """As `check`, by all workspaces that the server has."""
        if not self._group:
            return
        marks = [read_mark(each.slug, self._group) for each in workspaces]
        given_up = {each.name for each in marks if each and each.kind is MarkKind.WITHOUT}
        known = {each.name for each in marks if each and each.kind is MarkKind.KNOWS} - given_up
        self._was_sole = not known
        if known:
            raise NoWorkspaceError(
                f"this AnythingLLM is one of several for {self._group}: what it lacks may be on"
                f" another one ({', '.join(sorted(known))}). Set ANYTHINGLLM_ENDPOINTS as before;"
                " where this is the only one for good, list it there alone, and run `workspaces"
                f" forget {min(known)}`",
                fault=Fault.THEIRS,
            )
