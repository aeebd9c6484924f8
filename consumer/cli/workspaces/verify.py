"""``workspaces verify``: whether what AnythingLLM holds is right."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumer.cli import output
from consumer.cli.common import ConfigOption, ExitCode, JsonOption, end, settings_for
from consumer.cli.workspaces.looking import (
    ServerOption,
    SlugsArgument,
    ask_anythingllm,
    checked_slugs,
    looked,
    opened,
    servers_meant,
)
from consumer.cli.workspaces.shown import of_server, show, title, totals

if TYPE_CHECKING:
    from consumer.model.names import Slug
    from consumer.operations.workspaces.verify import WorkspacesReport
    from consumer.settings import Settings


def verify(
    slugs: SlugsArgument = None,
    server: ServerOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look for what crashes and races left behind; exit 3 when something is found.

    Changes nothing, and may run beside the service.
    Finds chunks stored twice, listed but not to be found, found but not listed,
    stale, or of documents that moved; files in no workspace; old test documents.
    Documents of others are counted, never judged; so are chunks that are younger
    than ANYTHINGLLM_AMBIGUITY_SECONDS.

    With --json each finding is a line, and the last line has the totals.

    Example: anythingllm-consumer workspaces verify
    """
    names, settings = checked_slugs(slugs), settings_for(config, quiet_kafka=True)
    has_faults = False
    for each in servers_meant(settings, server, names):
        report = ask_anythingllm(_verify(settings, each, names, as_json=as_json))
        has_faults = has_faults or bool(report.faults)
        if not as_json:
            title(each)
        show(report.findings, as_json=as_json, server=each)
        if as_json:
            output.json_line({**of_server(each), **totals(report)})
        else:
            _summary(report, settings.anythingllm.ambiguity_seconds)
    end(ExitCode.FOUND if has_faults else ExitCode.DONE)


async def _verify(
    settings: Settings, server: str | None, slugs: list[Slug], *, as_json: bool
) -> WorkspacesReport:
    async with opened(settings, server) as (_, upkeep):
        return await looked(upkeep, slugs, as_json=as_json)


def _summary(report: WorkspacesReport, settled: float) -> None:
    counts = totals(report)
    output.line(
        f"{counts['workspaces']} workspaces, {counts['documents']} documents, "
        f"{counts['chunks']} chunks, {counts['foreign_documents']} documents of others: "
        f"{counts['found']} found, {counts['notes']} notes"
    )
    if report.too_young:
        output.line(
            f"{report.too_young} chunks were too young to judge: an upload may still be at work "
            f"on what is younger than ANYTHINGLLM_AMBIGUITY_SECONDS ({settled:g})"
        )
