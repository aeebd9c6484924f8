"""``workspaces verify``: whether what AnythingLLM holds is right."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumer.cli import output
from consumer.cli.common import ConfigOption, ExitCode, JsonOption, end, settings_for
from consumer.cli.workspaces.looking import (
    SlugsArgument,
    ask_anythingllm,
    checked_slugs,
    looked,
    opened,
)
from consumer.cli.workspaces.shown import show, totals

if TYPE_CHECKING:
    from consumer.model.names import Slug
    from consumer.operations.workspaces.verify import WorkspacesReport
    from consumer.settings import Settings


def verify(
    slugs: SlugsArgument = None, config: ConfigOption = None, as_json: JsonOption = False
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
    report = ask_anythingllm(_verify(settings, names, as_json=as_json))
    show(report.findings, as_json=as_json)
    if as_json:
        output.json_line(totals(report))
    else:
        _summary(report, settings.anythingllm.ambiguity_seconds)
    end(ExitCode.FOUND if report.faults else ExitCode.DONE)


async def _verify(settings: Settings, slugs: list[Slug], *, as_json: bool) -> WorkspacesReport:
    async with opened(settings) as (_, upkeep):
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
