"""The command line: which commands there are, and what becomes of their errors.

Commands end by returning (0), by `consumer.cli.common.end` (3: a check found something) or by an
exception, which this file alone turns into a line on standard error and an exit code.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated

import typer

from consumer import __version__
from consumer.cli import output
from consumer.cli.common import CommandFailed, ExitCode, Invocation

PROGRAM = "anythingllm-consumer"

_HELP = """Feeds AnythingLLM from Kafka: every chunk of every document stored, embedded, once.

A first look, all on this machine: `demo`.
For real: `topics create`, `check`, `run`; then `publish` and `results`.

Settings come from environment variables, over the file given with --config, over defaults.

Exit codes: 0 done, 1 failed, 2 wrong settings or usage, 3 a check found something, 130 interrupted.
"""


@dataclass(frozen=True, slots=True)
class Command:
    """A command: the words that call it, and the function that does it."""

    words: str
    module: str
    function: str


# In the order of the help: what a newcomer needs, day to day, what helps others with their tests.
COMMANDS: tuple[Command, ...] = (
    Command("demo", "consumer.cli.demo", "demo"),
    Command("run", "consumer.cli.run", "run"),
    Command("check", "consumer.cli.check", "check"),
    Command("validate", "consumer.cli.validate", "validate"),
    Command("publish", "consumer.cli.publish", "publish"),
    Command("results", "consumer.cli.results", "results"),
    Command("where", "consumer.cli.where", "where"),
    Command("audit", "consumer.cli.audit", "audit"),
    Command("dlq list", "consumer.cli.dlq.list", "list_"),
    Command("dlq show", "consumer.cli.dlq.show", "show"),
    Command("dlq stats", "consumer.cli.dlq.stats", "stats"),
    Command("dlq replay", "consumer.cli.dlq.replay", "replay"),
    Command("dlq runs", "consumer.cli.dlq.runs", "runs"),
    Command("dlq park", "consumer.cli.dlq.list", "park"),
    Command("dlq export", "consumer.cli.dlq.export", "export"),
    Command("topics create", "consumer.cli.topics", "create"),
    Command("workspaces list", "consumer.cli.workspaces", "list_"),
    Command("workspaces verify", "consumer.cli.workspaces", "verify"),
    Command("workspaces repair", "consumer.cli.workspaces", "repair"),
    Command("schemas export", "consumer.cli.schemas", "export"),
    Command("simulate", "consumer.cli.simulate", "simulate"),
)

GROUPS = {
    "dlq": "Dead letters: what could not be stored, why, and what can be done about it.",
    "topics": "The Kafka topics the service needs.",
    "workspaces": "What AnythingLLM holds: looking, finding faults, mending them.",
    "schemas": "The JSON Schemas of all messages.",
}


def build(commands: Sequence[Command] = COMMANDS) -> typer.Typer:
    """The command line over these commands."""
    app = typer.Typer(
        name=PROGRAM,
        help=_HELP,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    groups: dict[str, typer.Typer] = {}
    for command in commands:
        group, _, name = command.words.rpartition(" ")
        if group and group not in groups:
            groups[group] = typer.Typer(no_args_is_help=True, help=GROUPS[group])
            app.add_typer(groups[group], name=group)
        function = getattr(import_module(command.module), command.function)
        (groups[group] if group else app).command(name)(function)
    return app


def run_line(args: Sequence[str], commands: Sequence[Command] = COMMANDS) -> int:
    """Run one command line and give its exit code; errors are told on standard error.

    Args:
        args: the words after the program's name.
        commands: what can be called.
    """
    invocation = Invocation()
    try:
        typer.main.get_command(build(commands))(list(args), prog_name=PROGRAM, obj=invocation)
    except SystemExit as ended:
        # typer ends this way always: with 2 for wrong usage, 130 for Ctrl-C.
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except Exception as error:
        return _told(error, invocation)
    return ExitCode.DONE


def main() -> None:
    """The program ``anythingllm-consumer``; never returns.

    Raises:
        SystemExit: with the exit code.
    """
    code = run_line(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError:
        # The reader has gone (`… | head`). Python would complain at its end and exit with 120.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = code or ExitCode.FAILED
    sys.exit(code)


def _show_version(asked: bool) -> None:
    if asked:
        output.line(f"{PROGRAM} {__version__}")
        raise typer.Exit


def _options(
    context: typer.Context,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show a traceback when something unexpected happens.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", callback=_show_version, is_eager=True
        ),
    ] = False,
) -> None:
    context.ensure_object(Invocation).debug = debug


def _told(error: Exception, invocation: Invocation) -> ExitCode:
    # Imported only now: help and version come without the settings.
    from consumer.settings import SettingsError
    from consumer.telemetry.logs import debugging

    if isinstance(error, SettingsError):
        output.error(str(error))
        return ExitCode.WRONG_USAGE
    if isinstance(error, CommandFailed):
        output.error(str(error))
        return error.code
    if invocation.debug or debugging():
        traceback.print_exception(error)
    output.error(
        f"unexpected {type(error).__name__}: {error}\n"
        "This is a fault in the program; --debug before the command shows where."
    )
    return ExitCode.FAILED
