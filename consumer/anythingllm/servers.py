"""Several AnythingLLMs, used as the clients of a stream with several servers would use one.

async with AnythingLLMServers({"a": AnythingLLMConfig(...), "b": ...}) as servers:
    client = await servers.client_of("docs")
    hits = await client.search_workspace("docs", "how do I ...")
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from consumer.anythingllm.api import checked_slug
from consumer.anythingllm.client import AnythingLLMClient
from consumer.anythingllm.config import AnythingLLMConfig
from consumer.anythingllm.errors import AnythingLLMError, NoWorkspaceError
from consumer.anythingllm.server_register import ServerRegister
from consumer.model.fault import Fault
from consumer.model.names import ServerName, Slug
from consumer.model.placement import Home, Homeless, Presence, Undecided, place
from consumer.model.server_marks import ServerSurvey, ServerViews


class AnythingLLMServers:
    """A client for each server, and which of them a workspace lives on. Nothing is changed.

    Args:
        configs: of each server, by its name; the names are those of the stream's settings.
        pins: as ``ANYTHINGLLM_PINS``.
        group: as ``KAFKA_GROUP_ID``.
    """

    def __init__(
        self,
        configs: Mapping[str, AnythingLLMConfig],
        *,
        pins: Mapping[str, str] | None = None,
        group: str = "anythingllm-consumer",
    ) -> None:
        self._clients = {
            ServerName(name): AnythingLLMClient(config) for name, config in configs.items()
        }
        self._pins = {Slug(slug): ServerName(name) for slug, name in (pins or {}).items()}
        self._group = group
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for client in self._clients.values():
            await self._open.enter_async_context(client)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._open.aclose()

    def __getitem__(self, name: str) -> AnythingLLMClient:
        """The client of a server; `KeyError` where there is none of this name."""
        return self._clients[ServerName(name)]

    async def client_of(self, workspace_slug: str) -> AnythingLLMClient:
        """The client of the server that a workspace lives on; raises as `server_of` does."""
        return self[await self.server_of(workspace_slug)]

    async def server_of(self, workspace_slug: str) -> str:
        """The name of the server that a workspace lives on (README, Several servers).

        It is asked anew each time: workspaces move.

        Raises:
            NoWorkspaceError: no server has it.
            AnythingLLMError: nobody can say: two servers have documents of ours in it, one does not
                answer or is another one, or one is missing that may have it. It names them.
        """
        slug = checked_slug(workspace_slug)
        registers = {name: each.register(self._group) for name, each in self._clients.items()}
        answers = await asyncio.gather(*map(_survey, registers.values()))
        views = ServerViews(dict(zip(registers, answers, strict=True)), self._group)
        unproven = {name: why for name, why in views.unproven.items() if not views.is_new(name)}
        seen = {name: _presence(each, slug) for name, each in views.surveys.items()}
        seen.update(dict.fromkeys(unproven, Presence.SILENT))
        while True:
            found = place(
                slug,
                seen,
                pin=self._pins.get(slug),
                missing=views.missing,
                unproven=unproven,
                moving=views.moves(slug),
                split=views.split(slug),
            )
            if not isinstance(found, Undecided):
                return _name(slug, found)
            for name in found.servers:
                ours = await registers[name].holds_ours(slug)
                seen[name] = Presence.OURS if ours else Presence.STRANGE


async def _survey(register: ServerRegister) -> ServerSurvey | None:
    try:
        return await register.survey()
    except AnythingLLMError:
        return None


def _presence(survey: ServerSurvey | None, slug: Slug) -> Presence:
    if survey is None:
        return Presence.SILENT
    return Presence.THERE if slug in survey.slugs else Presence.ABSENT


def _name(slug: Slug, found: Home | Homeless) -> str:
    if isinstance(found, Homeless):
        raise AnythingLLMError(f"workspace {slug!r}: {found.reason}", fault=Fault.THEIRS)
    if found.creates:
        raise NoWorkspaceError(f"no server has a workspace {slug!r}", fault=Fault.THEIRS)
    return found.server
