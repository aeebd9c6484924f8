"""The command line over the table of `consumer.cli.commands`, and what becomes of errors.

Commands end by returning (0), by `consumer.cli.common.end` (3: a check found something) or by an
exception, which this file alone turns into a line on standard error and an exit code.
"""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from typer.core import TyperCommand, TyperGroup

from consumer import __version__
from consumer.cli import output
from consumer.cli.commands import COMMANDS, GROUPS, Command
from consumer.cli.common import CommandFailed, ExitCode, Invocation
from consumer.cli.manner import Manner, speak
from consumer.cli.manner_options import manner_options
from consumer.cli.streams import flushed, is_gone, open_closed_ones

if TYPE_CHECKING:
    from consumer.operations.ports import KafkaAccess
    from consumer.settings import Settings

PROGRAM = "anythingllm-consumer"

_HELP = """Feeds AnythingLLM from Kafka: every chunk of every document stored, embedded, once.

A first look, all on this machine: `demo`.
For real: `topics create`, `check`, `run`; then `publish` and `results`.

Settings come from environment variables, over the file given with --config, over defaults.

Exit codes: 0 done, 1 failed, 2 wrong settings or usage, 3 a check found something, 130 interrupted.
"""


_FULL = {errno.ENOSPC, errno.EDQUOT}


class LateCommand(TyperCommand):
    """A command whose module is imported when it is called.

    A list of commands needs only its name and its summary. If all modules were imported for that,
    the start of every command would take twice as long.

    Args:
        command: what to import.
    """

    def __init__(self, command: Command) -> None:
        super().__init__(command.name, help=command.summary)
        self._command = command

    def make_context(self, *args: Any, **more: Any) -> Any:
        """Import the command, and let it read its words."""
        return self._imported().make_context(*args, **more)

    def _imported(self) -> Any:
        module, _, function = self._command.target.partition(":")
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command(self._command.name)(getattr(import_module(module), function))
        command = typer.main.get_command(app)
        command.params += manner_options()
        return command


def build(commands: Sequence[Command] = COMMANDS) -> TyperGroup:
    """The command line over these commands; none of them is imported."""
    app = typer.Typer(
        name=PROGRAM,
        help=_HELP,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    program: Any = typer.main.get_command(app)  # with the options of completion
    program.params += manner_options()
    groups = {
        name: TyperGroup(
            name=name, help=GROUPS[name], no_args_is_help=True, params=manner_options()
        )
        for name in dict.fromkeys(command.group for command in commands if command.group)
    }
    for command in commands:
        groups.get(command.group, program).add_command(LateCommand(command))
    for group in groups.values():
        program.add_command(group)
    return cast(TyperGroup, program)


def run_line(
    args: Sequence[str],
    commands: Sequence[Command] = COMMANDS,
    *,
    kafka: Callable[[Settings], KafkaAccess] | None = None,
) -> int:
    """Run one command line and give its exit code; errors are reported on standard error.

    Args:
        args: the words after the program's name.
        commands: what can be called.
        kafka: from the settings to Kafka, for commands that look at it or mend it; None is the
            real one.
    """
    invocation = Invocation(kafka=kafka)
    speak(Manner())
    try:
        build(commands)(list(args), prog_name=PROGRAM, obj=invocation)
    except SystemExit as ended:
        output.say_what_was_cut()
        # typer ends this way always: with 2 for wrong usage, 130 for Ctrl-C.
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except Exception as error:
        output.say_what_was_cut()
        return _reported(error, invocation)
    return ExitCode.DONE


def main() -> None:
    """The program ``anythingllm-consumer``; never returns.

    Raises:
        SystemExit: with the exit code.
    """
    open_closed_ones()
    # Kept: what ends a command for a reader that has gone puts something else in their places.
    out, err = sys.stdout, sys.stderr
    code = run_line(sys.argv[1:])
    if (lost := flushed(out)) is not None:
        code = code or ExitCode.FAILED
        if not is_gone(lost):
            output.error(f"standard output can't be written: {lost.strerror}")
    flushed(err)
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


def _reported(error: Exception, invocation: Invocation) -> ExitCode:
    # Imported only now: most commands end without them, or have imported them themselves.
    from consumer.telemetry.logs import debugging, masked

    if isinstance(error, CommandFailed):
        output.error(masked(str(error)))
        return error.code
    from consumer.settings import SettingsError

    if isinstance(error, SettingsError):
        output.error(str(error))
        return ExitCode.WRONG_USAGE
    if isinstance(error, OSError) and error.errno in _FULL:
        output.error(
            f"{error.strerror}: standard output, or the folder of temporary files (TMPDIR)"
        )
        return ExitCode.FAILED
    if invocation.debug or debugging():
        sys.stderr.write(masked("".join(traceback.format_exception(error))))
    output.error(
        f"unexpected {type(error).__name__}: {masked(str(error))}\n"
        "This is a fault in the program; --debug before the command shows where."
    )
    return ExitCode.FAILED
