"""``workspaces repair``: putting right what `workspaces verify` finds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from consumer.cli import output
from consumer.cli.common import CommandFailed, ConfigOption, ExitCode, JsonOption, end, settings_for
from consumer.cli.progress import bar
from consumer.cli.workspaces.looking import (
    SlugsArgument,
    ask_anythingllm,
    checked_slugs,
    looked,
    opened,
)
from consumer.cli.workspaces.shown import as_object, show, totals

if TYPE_CHECKING:
    from consumer.model.names import Slug
    from consumer.operations.workspaces.repair import RepairOutcome
    from consumer.settings import Settings


def repair(
    slugs: SlugsArgument = None,
    config: ConfigOption = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it; without this only say what would be done.")
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

    Exit 0: nothing is wrong (any more). 3: something is left. 1: it failed.
    With --json each finding is a line, and the last line has the totals.

    Example: anythingllm-consumer workspaces repair --yes
    """
    names, settings = checked_slugs(slugs), settings_for(config, quiet_kafka=True)
    outcome = ask_anythingllm(_repair(settings, names, yes=yes, as_json=as_json))
    if as_json:
        for finding, became in outcome.lines():
            output.json_line({**as_object(finding), "outcome": became})
        output.json_line({**totals(outcome.after), **outcome.counts()})
    else:
        counts = outcome.counts()
        if yes:
            show(outcome.after.findings, as_json=False)
        output.line(
            f"{counts['planned']} to do, {counts['done']} done, "
            f"{len(outcome.after.faults)} found {'afterwards' if yes else 'in all'}"
        )
        if counts["planned"] and not yes:
            output.note("nothing was changed; --yes does it")
    end(ExitCode.FOUND if outcome.after.faults else ExitCode.DONE)


async def _repair(
    settings: Settings, slugs: list[Slug], *, yes: bool, as_json: bool
) -> RepairOutcome:
    from consumer.anythingllm import AnythingLLMError
    from consumer.operations.workspaces.repair import Repair, RepairOutcome, planned

    async with opened(settings) as (inventory, upkeep):
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
                raise CommandFailed(
                    f"{error.message}\nnot everything was done; running it again goes on"
                ) from None
        after = await looked(upkeep, slugs, work.renewed, as_json=as_json)
    return RepairOutcome(before, after)
