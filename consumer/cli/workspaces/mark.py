"""``workspaces mark``: one of several servers has lost the mark of what it is, and nothing else."""

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
    end,
    settings_for,
)

if TYPE_CHECKING:
    from consumer.operations.marking import MarkReport
    from consumer.settings import Settings

_MOST_NAMED = 5


def mark(
    server: Annotated[
        str, typer.Argument(metavar="SERVER", help="Its name in ANYTHINGLLM_ENDPOINTS.")
    ],
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it; without this only say what would be done.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make again the removed mark of one of several servers: says what, does it with --yes.

    Each server has an empty workspace that says what it is. Where somebody
    removed it, the server is not believed, because another one may answer
    there, or an empty volume. This says what of ours is on it. Make the mark
    only if that is what it had. If its data are lost for good, leave the server
    out and run `workspaces forget` instead.

    Exit 0: the mark is there. 3: it would be made. 1: it failed, or nothing of
    the kind is lost.

    Example: anythingllm-consumer workspaces mark b --yes
    """
    report = _marked(settings_for(config), server, do=yes)
    if as_json:
        output.json_line(
            {
                "server": server,
                "mark": report.mark,
                "made": yes,
                "workspaces": report.workspaces,
                "ours": list(report.ours),
            }
        )
    else:
        _show(report, server, yes=yes)
    end(ExitCode.DONE if yes else ExitCode.FOUND)


def _marked(settings: Settings, server: str, *, do: bool) -> MarkReport:
    import asyncio

    from consumer.anythingllm import AnythingLLMError
    from consumer.model.names import ServerName
    from consumer.operations.marking import MarkingRefused, mark_server

    try:
        return asyncio.run(mark_server(settings, ServerName(server), do=do))
    except MarkingRefused as error:
        raise CommandFailed(str(error)) from None
    except AnythingLLMError as error:
        raise anythingllm_failed(error) from None


def _show(report: MarkReport, server: str, *, yes: bool) -> None:
    named = ", ".join(report.ours[:_MOST_NAMED])
    more = len(report.ours) - _MOST_NAMED
    ours = f"{named or 'none'}{f' and {more} more' if more > 0 else ''}"
    made = "was made" if yes else "would be made"
    output.line(f"server {server}: the empty workspace {report.mark} {made}")
    output.line(f"it has {report.workspaces} workspaces; with documents of ours: {ours}")
    if not report.ours:
        output.note("it may be another server, or have lost what it had: look before you do it")
    if not yes:
        output.planned_only()
