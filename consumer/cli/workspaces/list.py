"""``workspaces list``: what AnythingLLM holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumer.cli import output
from consumer.cli.common import ConfigOption, JsonOption, settings_for
from consumer.cli.progress import bar
from consumer.cli.workspaces.looking import ask_anythingllm, opened

if TYPE_CHECKING:
    from consumer.anythingllm.models import Workspace
    from consumer.operations.workspaces.holding import Contents
    from consumer.settings import Settings

_COLUMNS = ("workspace", "name", "documents", "chunks", "foreign", "test documents")


def list_(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show every workspace: documents and chunks of ours, documents of others, test documents.

    Changes nothing. Of the settings only those of AnythingLLM and DOCUMENT_IDENTITY matter.

    Example: anythingllm-consumer workspaces list
    """
    settings = settings_for(config, quiet_kafka=True)
    rows = ask_anythingllm(_list(settings, as_json=as_json))
    if not as_json:
        output.table(_COLUMNS, rows)


async def _list(settings: Settings, *, as_json: bool) -> list[tuple[object, ...]]:
    rows = []
    async with opened(settings) as (_, upkeep):
        chosen = await upkeep.choose(())
        with bar("looking", len(chosen), quiet=as_json) as done:
            async for workspace, contents in upkeep.contents(chosen):
                done(1)
                if as_json:
                    output.json_line(_counted(workspace, contents))
                else:
                    rows.append(tuple(_counted(workspace, contents).values()))
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
