"""``workspaces repair``: putting right what `workspaces verify` finds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from consumer.cli import output
from consumer.cli.common import (
    ConfigOption,
    ExitCode,
    JsonOption,
    anythingllm_failed,
    end,
    settings_for,
)
from consumer.cli.progress import bar
from consumer.cli.workspaces.anew import repack_all
from consumer.cli.workspaces.looking import (
    ServerOption,
    SlugsArgument,
    ask_anythingllm,
    checked_slugs,
    looked,
    opened,
    servers_meant,
)
from consumer.cli.workspaces.shown import as_object, of_server, show, title, totals

if TYPE_CHECKING:
    from consumer.model.names import Slug
    from consumer.operations.workspaces.repair import RepairOutcome
    from consumer.settings import Settings


def repair(
    context: typer.Context,
    slugs: SlugsArgument = None,
    server: ServerOption = None,
    config: ConfigOption = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it; without this only say what would be done.")
    ] = False,
    repack: Annotated[
        bool,
        typer.Option(
            "--repack",
            help="Instead: have the service pack anew what is packed otherwise than "
            "UPLOAD_CHUNKS_PER_PACK says. Needs the newest events in Kafka.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Put right what `workspaces verify` finds: says what, and does it with --yes.

    Removes doubles, old test documents and files in no workspace.
    Embeds again, from AnythingLLM's own copy, what searches have lost.
    All else is reported only.

    May run beside the service: nothing is touched that an upload may work on.
    So files in no workspace go after a wait of ANYTHINGLLM_AMBIGUITY_SECONDS.
    May be interrupted and run again.

    With --repack the running service does the work: each document's newest
    event is published to the replay topic once more, a few at a time. What is
    packed otherwise goes only when all that it held is stored anew.

    Exit 0: nothing is wrong (any more). 3: something is left. 1: it failed.
    With --json each finding is a line, and the last line has the totals.

    Example: anythingllm-consumer workspaces repair --yes
    """
    names, settings = checked_slugs(slugs), settings_for(config, quiet_kafka=True)
    if repack:
        is_left = repack_all(context, settings, server, names, do=yes, as_json=as_json)
        end(ExitCode.FOUND if is_left else ExitCode.DONE)
        return
    has_faults = False
    for each in servers_meant(settings, server, names):
        outcome = ask_anythingllm(_repair(settings, each, names, yes=yes, as_json=as_json))
        has_faults = has_faults or bool(outcome.after.faults)
        _tell(outcome, each, yes=yes, as_json=as_json)
    end(ExitCode.FOUND if has_faults else ExitCode.DONE)


def _tell(outcome: RepairOutcome, server: str | None, *, yes: bool, as_json: bool) -> None:
    counts = outcome.counts()
    if as_json:
        for finding, became in outcome.lines():
            output.json_line({**of_server(server), **as_object(finding), "outcome": became})
        output.json_line({**of_server(server), **totals(outcome.after), **counts})
        return
    title(server)
    if yes:
        show(outcome.after.findings, as_json=False)
    output.line(
        f"{counts['planned']} to do, {counts['done']} done, "
        f"{len(outcome.after.faults)} found {'afterwards' if yes else 'in all'}"
    )
    if counts["planned"] and not yes:
        output.planned_only()


async def _repair(
    settings: Settings, server: str | None, slugs: list[Slug], *, yes: bool, as_json: bool
) -> RepairOutcome:
    from consumer.anythingllm import AnythingLLMError
    from consumer.operations.workspaces.repair import Repair, RepairOutcome, planned

    async with opened(settings, server) as (inventory, upkeep):
        before = await looked(upkeep, slugs, as_json=as_json)
        plan = planned(before)
        if not as_json:
            show(before.findings, as_json=False)
        if not plan or not yes:
            return RepairOutcome(before, before)
        with bar("repairing", len(plan), quiet=as_json) as done:
            work = Repair(
                inventory,
                upkeep,
                before,
                settled=settings.anythingllm.ambiguity_seconds,
                tell=output.note,
                done=done,
            )
            try:
                await work.run()
            except AnythingLLMError as error:
                raise anythingllm_failed(
                    error, "not everything was done; running it again goes on"
                ) from None
        after = await looked(upkeep, slugs, work.renewed, as_json=as_json)
    return RepairOutcome(before, after)
