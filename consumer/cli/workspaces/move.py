"""``workspaces move``: a workspace from one of several servers to another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from consumer.cli import output
from consumer.cli.common import (
    CommandFailed,
    ConfigOption,
    ExitCode,
    JsonOption,
    anythingllm_failed,
    ask_kafka,
    check_slug,
    end,
    kafka_for,
    settings_for,
)
from consumer.cli.progress import stages
from consumer.cli.tables.column import Column, Meaning

if TYPE_CHECKING:
    from consumer.model.names import Slug
    from consumer.operations.moving.report import MoveReport
    from consumer.operations.ports import KafkaAccess
    from consumer.settings import Settings

_MAX_ROWS = 20  # documents that stay, towards people
_STAYING = (Column("document", Meaning.NAME, 9), Column("why it stays", Meaning.TEXT, 8))


def move(
    context: typer.Context,
    slug: Annotated[str, typer.Argument(metavar="SLUG", help="The workspace.")],
    to: Annotated[
        str, typer.Option("--to", metavar="SERVER", help="Its name in ANYTHINGLLM_ENDPOINTS.")
    ],
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it; without this only say what would be done.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Move a workspace to another of several servers: says what, and does it with --yes.

    Stores every document of ours on the new server, from its newest event,
    proves it, and removes it from where it was. Documents of others stay, and
    so do those without an event, and those of which a newer version is stored.
    Stop all instances of the service before: while it has members, this is
    refused. At the end it waits for ANYTHINGLLM_AMBIGUITY_SECONDS, because an
    upload of an instance that died may still land. It may be interrupted and
    run again; until it has ended, the workspace's documents wait.

    Exit 0: all of it is there. 3: something would be moved, or is left.
    1: it failed, or the service is at work.

    Example: anythingllm-consumer workspaces move docs --to b --yes
    """
    name, settings = check_slug(slug), settings_for(config, quiet_kafka=True)
    report = _moved(settings, kafka_for(context, settings), name, to, do=yes, as_json=as_json)
    left = report.left
    if as_json:
        output.json_line(
            {
                "workspace": name,
                "to": to,
                "from": report.sources,
                "documents": report.documents,
                "moved": report.moved,
                "removed": report.removed,
                "left": [{"identity": identity, "why": why} for identity, why in left],
            }
        )
    else:
        _show(report, to, yes=yes)
    is_open = bool(left) if yes else bool(report.documents)
    end(ExitCode.FOUND if is_open else ExitCode.DONE)


def _moved(
    settings: Settings, kafka: KafkaAccess, slug: Slug, to: str, *, do: bool, as_json: bool
) -> MoveReport:
    from consumer.anythingllm import AnythingLLMError
    from consumer.model.names import ServerName
    from consumer.operations.moving.moving import open_move
    from consumer.operations.moving.permission import MoveRefused

    with stages(quiet=as_json) as progress:

        async def work() -> MoveReport:
            opened = open_move(settings, kafka, slug, ServerName(to), progress=progress)
            async with opened as moving:
                return await moving.run(do=do)

        try:
            return ask_kafka(work())
        except MoveRefused as error:
            raise CommandFailed(str(error)) from None
        except AnythingLLMError as error:
            raise anythingllm_failed(error, "running it again goes on") from None


def _show(report: MoveReport, to: str, *, yes: bool) -> None:
    where = ", ".join(report.sources) or "no other server"
    if not report.documents:
        output.line(f"nothing to move: {where} has documents of ours in it")
        return
    done = "" if yes else "would be "
    output.line(
        f"{report.moved} of {report.documents} documents {done}moved from {where} to {to}, "
        f"{report.removed} {done}removed for their tombstones, {len(report.left)} {done}left"
    )
    if report.left:
        output.table(_STAYING, report.left[:_MAX_ROWS])
        output.note("they wait until it is on one server: mend them, or `publish --delete` them")
    if not yes:
        output.planned_only()
