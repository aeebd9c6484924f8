"""A workspace deleted and made anew in the same slug: for people's upkeep, not for the service.

It is the only call of AnythingLLM 1.16's API that has the vector database forget of which length a
workspace's vectors were; pgvector alone remembers that for all workspaces. What people set in it is
put back. Its chats, threads and members go, and so would documents of others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from consumer.anythingllm.api import Api, no_workspace
from consumer.anythingllm.errors import AnythingLLMError, AnythingLLMRejectedError
from consumer.anythingllm.transport import Errand
from consumer.anythingllm.workspaces import Workspaces
from consumer.model.names import Slug
from consumer.telemetry.library_log import library_logger

log = library_logger(__name__)

# What ``/update`` takes. The address of a picture, and who may see it, are none of it.
_SET = (
    "name",
    "openAiTemp",
    "openAiHistory",
    "openAiPrompt",
    "similarityThreshold",
    "topN",
    "chatMode",
    "chatProvider",
    "chatModel",
    "agentProvider",
    "agentModel",
    "queryRefusalResponse",
    "vectorSearchMode",
)


@dataclass(frozen=True, slots=True)
class WorkspaceSettings:
    """What people set in a workspace.

    Args:
        fields: by AnythingLLM's names, its display name among them; None is left out.
        threads: how many chat threads it has beside the first.
    """

    fields: Mapping[str, Any]
    threads: int


class WorkspaceNotMadeAnewError(AnythingLLMError):
    """The workspace is gone, or may be, and is not as it was.

    Args:
        what: happened to it.
        error: why.
        settings: what was set in it, which nothing else has any more.
    """

    def __init__(self, what: str, error: AnythingLLMError, settings: WorkspaceSettings) -> None:
        super().__init__(f"{what}: {error.message}", http_status=error.http_status)
        self.settings = settings


class WorkspaceAnew:
    """See the module's docstring. Every method raises `AnythingLLMError`.

    Args:
        workspaces: know which ones share a collection.
        errand: makes the deadline of a call.
    """

    def __init__(self, api: Api, workspaces: Workspaces, errand: Callable[[], Errand]) -> None:
        self._api = api
        self._workspaces = workspaces
        self._errand = errand

    async def settings(self, slug: Slug) -> WorkspaceSettings:
        """What people set in it.

        Raises:
            NoWorkspaceError: there is no such workspace.
        """
        for told in await self._api.workspaces_as_told(self._errand()):
            if told.get("slug") == slug:
                fields = {name: told[name] for name in _SET if told.get(name) is not None}
                threads = told.get("threads")
                return WorkspaceSettings(fields, len(threads) if isinstance(threads, list) else 0)
        raise no_workspace(slug)

    async def make(self, slug: Slug) -> None:
        """Delete it and make it anew; it is empty then, with the settings that it had.

        Raises:
            AnythingLLMRejectedError: another workspace has the same collection in the vector
                database, and would be emptied; nothing was deleted.
            WorkspaceNotMadeAnewError: it is gone, or may be.
            AnythingLLMError: anything else; nothing was deleted.
        """
        if others := await self._workspaces.others_sharing(self._errand(), slug):
            raise AnythingLLMRejectedError(
                f"workspace {slug!r} is not deleted: workspace {others[0].slug!r} has the same "
                "collection in AnythingLLM's vector database, and would be empty afterwards"
            )
        settings = await self.settings(slug)
        try:
            await self._api.delete_workspace(self._errand(), slug)
        except AnythingLLMError as error:
            if error.ambiguous or error.unproven:
                what = f"workspace {slug!r} may be deleted all the same"
                raise WorkspaceNotMadeAnewError(what, error, settings) from error
            raise
        try:
            await self._make(slug, settings)
        except AnythingLLMError as error:
            what = f"workspace {slug!r} was deleted, and is not as it was"
            raise WorkspaceNotMadeAnewError(what, error, settings) from error
        log.info("workspace.made_anew", workspace=slug)

    async def _make(self, slug: Slug, settings: WorkspaceSettings) -> None:
        made = await self._api.new_workspace(self._errand(), slug)
        if made.slug != slug:
            raise AnythingLLMError(
                f"AnythingLLM calls the new one {made.slug!r}: somebody made one of that name"
                " meanwhile; delete the one that is not wanted"
            )
        await self._api.update_workspace(self._errand(), slug, settings.fields)
