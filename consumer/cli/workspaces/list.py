"""``workspaces list``: what AnythingLLM holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumer.cli import output
from consumer.cli.common import ConfigOption, JsonOption, settings_for
from consumer.cli.progress import bar
from consumer.cli.tables.column import Column, Meaning
from consumer.cli.workspaces.looking import ServerOption, ask_anythingllm, opened, servers_meant

if TYPE_CHECKING:
    from consumer.anythingllm.models import Workspace
    from consumer.operations.workspaces.holding import Contents
    from consumer.settings import Settings

_COLUMNS = (
    Column("workspace", Meaning.NAME, 9),
    Column("name", Meaning.TEXT, 3),
    Column("documents", Meaning.NUMBER, 8),
    Column("chunks", Meaning.NUMBER, 7),
    Column("foreign", Meaning.NUMBER, 5),
    Column("test documents", Meaning.NUMBER, 4),
)
_SERVER = Column("server", Meaning.NAME, 6)


def list_(
    server: ServerOption = None, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Show every workspace: documents and chunks of ours, documents of others, test documents.

    Changes nothing. Of the settings only those of AnythingLLM and DOCUMENT_IDENTITY matter.

    Example: anythingllm-consumer workspaces list
    """
    settings = settings_for(config, quiet_kafka=True)
    servers = servers_meant(settings, server)
    rows = [
        row for each in servers for row in ask_anythingllm(_list(settings, each, as_json=as_json))
    ]
    if not as_json:
        output.table(_COLUMNS if servers == [None] else (_SERVER, *_COLUMNS), rows)


async def _list(
    settings: Settings, server: str | None, *, as_json: bool
) -> list[tuple[object, ...]]:
    rows = []
    of_server = {} if server is None else {"server": server}
    async with opened(settings, server) as (_, upkeep):
        chosen = await upkeep.choose(())
        with bar("looking", len(chosen), quiet=as_json) as done:
            async for workspace, contents in upkeep.contents(chosen):
                done(1)
                if as_json:
                    output.json_line({**of_server, **_counted(workspace, contents)})
                else:
                    rows.append((*of_server.values(), *_counted(workspace, contents).values()))
    return rows


def _counted(workspace: Workspace, contents: Contents | None) -> dict[str, object]:
    return {
        "workspace": workspace.slug,
        "name": workspace.name,
        "documents": contents.documents if contents else None,
        "chunks": contents.chunks if contents else None,
        "foreign_documents": contents.foreign if contents else None,
        "sentinels": contents.sentinels if contents else None,
    }
