"""What the commands about workspaces share: which ones are meant, and looking at them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from consumer.cli.common import CommandFailed, anythingllm_failed, check_slug
from consumer.cli.progress import bar

if TYPE_CHECKING:
    from consumer.anythingllm.inventory import Inventory
    from consumer.model.names import Location, Slug
    from consumer.operations.workspaces.verify import Upkeep, WorkspacesReport
    from consumer.settings import Settings

T = TypeVar("T")

SlugsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="SLUG",
        help="Only these workspaces; without any all of them, and what only all of them tell: "
        "files in no workspace, documents in several.",
        show_default=False,
    ),
]


def checked_slugs(slugs: list[str] | None) -> list[Slug]:
    """The slugs that were named; none means all workspaces.

    Raises:
        CommandFailed: one of them can't be a slug.
    """
    return [check_slug(slug) for slug in slugs or ()]


def ask_anythingllm(work: Coroutine[Any, Any, T]) -> T:
    """Run work that asks AnythingLLM; a failure becomes a line.

    Raises:
        CommandFailed: AnythingLLM can't be asked, or has no such workspace.
    """
    import asyncio

    from consumer.anythingllm import AnythingLLMError
    from consumer.operations.workspaces.verify import NoSuchWorkspace

    try:
        return asyncio.run(work)
    except AnythingLLMError as error:
        raise anythingllm_failed(error) from None
    except NoSuchWorkspace as error:
        raise CommandFailed(f"{error}; `workspaces list` shows those it has") from None


ServerOption = Annotated[
    str | None,
    typer.Option(
        "--server",
        metavar="NAME",
        help="Only this one of several servers (ANYTHINGLLM_ENDPOINTS); all, one by one, without.",
    ),
]


def servers_meant(
    settings: Settings, server: str | None, slugs: Iterable[Slug] = ()
) -> list[str | None]:
    """The names of the servers that are meant; None alone where there is one only.

    Raises:
        CommandFailed: there is no such server, or workspaces are named and no server.
    """
    names = [each.name for each in settings.anythingllm.endpoints or ()]
    if server is None and names and slugs:
        raise CommandFailed(f"say with --server where they are: {', '.join(names)}")
    if server is None:
        return [*names] or [None]
    if server not in names:
        raise CommandFailed(f"ANYTHINGLLM_ENDPOINTS lists no server {server}")
    return [server]


@asynccontextmanager
async def opened(
    settings: Settings, server: str | None = None
) -> AsyncIterator[tuple[Inventory, Upkeep]]:
    """A connection to AnythingLLM, or to one of several, and an `Upkeep` on it."""
    from consumer.anythingllm.inventory import open_inventory
    from consumer.model.names import ServerName
    from consumer.operations.workspaces.verify import Upkeep, rules_of
    from consumer.wiring.anythingllm import anythingllm_config, server_configs

    config = (
        anythingllm_config(settings)
        if server is None
        else server_configs(settings)[ServerName(server)]
    )
    async with open_inventory(config) as inventory:
        yield inventory, Upkeep(inventory, rules_of(settings))


async def looked(
    upkeep: Upkeep, slugs: list[Slug], mine: Iterable[Location] = (), *, as_json: bool
) -> WorkspacesReport:
    """Verify these workspaces, or all of them where none is named.

    Args:
        upkeep: from `opened`.
        slugs: from `checked_slugs`.
        mine: locations of rows that this command has made.
        as_json: for scripts, and so without a bar.
    """
    chosen = await upkeep.choose(slugs)
    with bar("looking", len(chosen), quiet=as_json) as done:
        return await upkeep.verify(chosen, whole=not slugs, mine=frozenset(mine), done=done)
