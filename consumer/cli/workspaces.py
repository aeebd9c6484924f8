"""``workspaces list | verify | repair``: what AnythingLLM holds, and whether that is right."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from consumer.cli import output
from consumer.cli.common import CommandFailed, ConfigOption, ExitCode, JsonOption, end, settings_for
from consumer.model.slug import is_slug

if TYPE_CHECKING:
    from consumer.anythingllm.inventory import Inventory
    from consumer.anythingllm.models import Workspace
    from consumer.operations.workspaces.finding import WorkspaceFinding
    from consumer.operations.workspaces.holding import Contents
    from consumer.operations.workspaces.repair import RepairOutcome
    from consumer.operations.workspaces.verify import Upkeep, WorkspacesReport
    from consumer.settings import Settings

_MAX_LISTED = 50  # of one kind in one workspace, towards people
_COLUMNS = ("workspace", "name", "documents", "chunks", "foreign", "test documents")

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


def list_(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show every workspace: documents and chunks of ours, documents of others, test documents.

    Changes nothing. Of the settings only those of AnythingLLM and DOCUMENT_IDENTITY matter.

    Example: anythingllm-consumer workspaces list
    """
    settings = settings_for(config, quiet_kafka=True)
    rows = _asked(_list(settings, as_json=as_json))
    if not as_json:
        output.table(_COLUMNS, rows)


def verify(
    slugs: SlugsArgument = None, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Look for what crashes and races left behind; exit 3 when something is found.

    Changes nothing, and may run beside the service.
    Finds chunks stored twice, listed but not to be found, found but not listed,
    stale, or of documents that moved; files in no workspace; old test documents.
    Documents of others are counted, never judged.

    With --json each finding is a line, and the last line has the totals.

    Example: anythingllm-consumer workspaces verify
    """
    names, settings = _checked(slugs), settings_for(config, quiet_kafka=True)
    report = _asked(_verify(settings, names, as_json=as_json))
    _show(report.findings, as_json=as_json)
    if as_json:
        output.json_line(_totals(report))
    else:
        _summary(report)
    end(ExitCode.FOUND if report.faults else ExitCode.DONE)


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
    names, settings = _checked(slugs), settings_for(config, quiet_kafka=True)
    outcome = _asked(_repair(settings, names, yes=yes, as_json=as_json))
    if as_json:
        for finding, became in outcome.lines():
            output.json_line({**_json(finding), "outcome": became})
        output.json_line({**_totals(outcome.after), **outcome.counts()})
    else:
        counts = outcome.counts()
        if yes:
            _show(outcome.after.findings, as_json=False)
        output.line(
            f"{counts['planned']} to do, {counts['done']} done, "
            f"{len(outcome.after.faults)} found {'afterwards' if yes else 'in all'}"
        )
        if counts["planned"] and not yes:
            output.note("nothing was changed; --yes does it")
    end(ExitCode.FOUND if outcome.after.faults else ExitCode.DONE)


# -- the work --------------------------------------------------------------------------------------


def _asked(work: Coroutine[Any, Any, T]) -> T:
    import asyncio

    from consumer.anythingllm import AnythingLLMError
    from consumer.operations.workspaces.verify import NoSuchWorkspace

    try:
        return asyncio.run(work)
    except AnythingLLMError as error:
        raise CommandFailed(error.message) from None
    except NoSuchWorkspace as error:
        raise CommandFailed(f"{error}; `workspaces list` shows those it has") from None


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[tuple[Inventory, Upkeep]]:
    from consumer.anythingllm.inventory import open_inventory
    from consumer.operations.workspaces.verify import Upkeep, rules_of
    from consumer.wiring.anythingllm import anythingllm_config

    async with open_inventory(anythingllm_config(settings)) as inventory:
        yield inventory, Upkeep(inventory, rules_of(settings))


async def _list(settings: Settings, *, as_json: bool) -> list[tuple[object, ...]]:
    rows = []
    async with _opened(settings) as (_, upkeep):
        chosen = await upkeep.choose(())
        with _progress("looking", len(chosen), as_json=as_json) as done:
            async for workspace, contents in upkeep.contents(chosen):
                done(1)
                if as_json:
                    output.json_line(_counted(workspace, contents))
                else:
                    rows.append(tuple(_counted(workspace, contents).values()))
    return rows


async def _verify(settings: Settings, slugs: list[str], *, as_json: bool) -> WorkspacesReport:
    async with _opened(settings) as (_, upkeep):
        return await _looked(upkeep, slugs, as_json=as_json)


async def _looked(
    upkeep: Upkeep, slugs: list[str], mine: Iterable[str] = (), *, as_json: bool
) -> WorkspacesReport:
    chosen = await upkeep.choose(slugs)
    with _progress("looking", len(chosen), as_json=as_json) as done:
        return await upkeep.verify(chosen, whole=not slugs, mine=frozenset(mine), done=done)


async def _repair(
    settings: Settings, slugs: list[str], *, yes: bool, as_json: bool
) -> RepairOutcome:
    from consumer.anythingllm import AnythingLLMError
    from consumer.operations.workspaces.repair import Repair, RepairOutcome, planned

    async with _opened(settings) as (inventory, upkeep):
        before = await _looked(upkeep, slugs, as_json=as_json)
        plan = planned(before)
        if not as_json:
            _show(before.findings, as_json=False)
        if not plan or not yes:
            return RepairOutcome(before, before)
        with _progress("repairing", len(plan), as_json=as_json) as done:
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
        after = await _looked(upkeep, slugs, work.renewed, as_json=as_json)
    return RepairOutcome(before, after)


def _checked(slugs: list[str] | None) -> list[str]:
    for slug in slugs or ():
        if not is_slug(slug):
            raise CommandFailed(
                f"{slug!r} is no workspace slug (1 to 255 of a-z, 0-9, _ and -); "
                "`workspaces list` shows slugs and names",
                ExitCode.WRONG_USAGE,
            )
    return slugs or []


# -- what people and scripts see -------------------------------------------------------------------


@contextmanager
def _progress(title: str, total: int, *, as_json: bool) -> Iterator[Callable[[int], None]]:
    if as_json:
        yield lambda more: None
        return
    with output.progress(title, total) as done:
        yield done


def _counted(workspace: Workspace, contents: Contents | None) -> dict[str, object]:
    return {
        "workspace": workspace.slug,
        "name": workspace.name,
        "documents": contents.documents if contents else None,
        "chunks": contents.chunks if contents else None,
        "foreign_documents": contents.foreign if contents else None,
        "sentinels": contents.sentinels if contents else None,
    }


def _json(finding: WorkspaceFinding) -> dict[str, object]:
    return {
        "kind": finding.kind,
        "note": finding.is_note,
        "workspace": finding.workspace,
        "document_id": finding.document_id,
        "chunk_ids": finding.chunk_ids,
        "location": finding.location,
        "keeps": finding.keeps,
        "finding": finding.text,
        "remedy": finding.remedy,
        "what_to_do": finding.what_to_do,
    }


def _totals(report: WorkspacesReport) -> dict[str, object]:
    return {
        "workspaces": len(report.contents),
        "documents": sum(each.documents for each in report.contents),
        "chunks": sum(each.chunks for each in report.contents),
        "foreign_documents": sum(each.foreign for each in report.contents),
        "found": len(report.faults),
        "notes": len(report.findings) - len(report.faults),
    }


def _summary(report: WorkspacesReport) -> None:
    totals = _totals(report)
    output.line(
        f"{totals['workspaces']} workspaces, {totals['documents']} documents, "
        f"{totals['chunks']} chunks, {totals['foreign_documents']} documents of others: "
        f"{totals['found']} found, {totals['notes']} notes"
    )


def _show(findings: Iterable[WorkspaceFinding], *, as_json: bool) -> None:
    shown: Counter[tuple[str, str | None]] = Counter()
    rows = []
    for each in findings:
        if as_json:
            output.json_line(_json(each))
            continue
        shown[each.kind, each.workspace] += 1
        if shown[each.kind, each.workspace] <= _MAX_LISTED:
            kind = f"({each.kind})" if each.is_note else str(each.kind)
            rows.append((kind, each.workspace or "-", each.text, each.what_to_do))
    if rows:
        output.table(("what", "workspace", "finding", "what to do"), rows)
    for (kind, workspace), count in shown.items():
        if count > _MAX_LISTED:
            more = f"{count - _MAX_LISTED} more {kind} in {workspace or 'no workspace'}"
            output.note(f"{more}; --json shows all")
