"""Options that every command takes, before its name or behind it: how it is to speak."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from consumer.cli.manner import manner

_PANEL = "Common options"


def manner_options() -> list[Any]:
    """``--verbose``, ``--quiet``, ``--wide``, as typer adds them to a command or a group."""
    app = typer.Typer(add_completion=False)
    app.command()(_taken)
    return list(typer.main.get_command(app).params)


def _more(context: typer.Context, asked: bool) -> None:
    if asked and not context.resilient_parsing:
        manner().verbose = True
        _refuse_both()


def _less(context: typer.Context, asked: bool) -> None:
    if asked and not context.resilient_parsing:
        manner().quiet = True
        _refuse_both()


def _wider(context: typer.Context, asked: bool) -> None:
    if asked and not context.resilient_parsing:
        manner().wide = True


def _refuse_both() -> None:
    if manner().verbose and manner().quiet:
        raise typer.BadParameter("--verbose and --quiet: say one of them")


def _taken(
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose",
            "-v",
            help="Log everything, as LOG_LEVEL=debug does.",
            callback=_more,
            expose_value=False,
            rich_help_panel=_PANEL,
        ),
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet",
            "-q",
            help="Log only errors; neither notes nor progress bars.",
            callback=_less,
            expose_value=False,
            rich_help_panel=_PANEL,
        ),
    ] = False,
    wide: Annotated[
        bool,
        typer.Option(
            "--wide",
            help="Tables with all columns and whole texts, however long the lines are.",
            callback=_wider,
            expose_value=False,
            rich_help_panel=_PANEL,
        ),
    ] = False,
) -> None:
    """What typer reads the options from; nobody calls it."""
