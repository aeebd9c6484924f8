"""A workspace deleted and made anew in the same slug: for people's upkeep, not for the service.

It is the only call of AnythingLLM 1.16's API that has the vector database forget of which length a
workspace's vectors were; pgvector alone remembers that for all workspaces. What people set in it is
put back. Its chats, threads and members go, and so would documents of others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

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
            AnythingLLMError: anything else. Where it is gone, or may be, the message has what was
                set in it, for nothing else has that any more.
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
                raise _with_settings(settings, "it may be deleted all the same", error) from error
            raise
        try:
            await self._make(slug, settings)
        except AnythingLLMError as error:
            what = f"workspace {slug!r} was deleted, and is not as it was"
            raise _with_settings(settings, what, error) from error
        log.info("workspace.made_anew", workspace=slug)

    async def _make(self, slug: Slug, settings: WorkspaceSettings) -> None:
        made = await self._api.new_workspace(self._errand(), slug)
        if made.slug != slug:
            raise AnythingLLMError(
                f"AnythingLLM calls the new one {made.slug!r}: somebody made one of that name"
                " meanwhile; delete the one that is not wanted"
            )
        await self._api.update_workspace(self._errand(), slug, settings.fields)


def _with_settings(
    settings: WorkspaceSettings, what: str, error: AnythingLLMError
) -> AnythingLLMError:
    fields = orjson.dumps(dict(settings.fields)).decode()
    return AnythingLLMError(
        f"{what}: {error.message}; what was set in it, to be put back by hand: {fields}",
        http_status=error.http_status,
    )
