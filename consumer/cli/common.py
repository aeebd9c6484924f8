"""What all commands share: exit codes, the common options, and how to end with an error.

Command modules import little at their top, because ``--help`` needs no more. What is heavy
(aiokafka, aiohttp, the rooms that use them) is imported inside the command.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from consumer.cli.manner import manner

if TYPE_CHECKING:
    from consumer.anythingllm import AnythingLLMError
    from consumer.model.names import Slug
    from consumer.operations.ports import KafkaAccess
    from consumer.settings import Settings

T = TypeVar("T")

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="TOML file with settings; environment variables win over it.",
        show_default=False,
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Write JSON lines for scripts instead of text for people.")
]


class ExitCode(IntEnum):
    """What the end of a command means to scripts."""

    DONE = 0
    FAILED = 1
    WRONG_USAGE = 2
    FOUND = 3
    INTERRUPTED = 130


class CommandFailed(Exception):
    """The command can't do what was asked, for a reason the user can read in one line.

    Args:
        message: what happened and what can be done.
        code: the exit code.
    """

    def __init__(self, message: str, code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.code = code


def wrong_usage(message: str) -> CommandFailed:
    """The error for a command line that makes no sense: exit code 2."""
    return CommandFailed(message, ExitCode.WRONG_USAGE)


@dataclass(slots=True)
class Invocation:
    """What every command is given; the ``obj`` of typer's context.

    Args:
        debug: said by the options before the command.
        kafka: from the settings to Kafka; None is the real one.
    """

    debug: bool = False
    kafka: Callable[[Settings], KafkaAccess] | None = None


def settings_for(
    config: Path | None,
    *,
    logs: Literal["stdout", "stderr"] = "stderr",
    needs_anythingllm: bool = True,
    quiet_kafka: bool = False,
    only_errors: bool = False,
    json_log: bool = False,
) -> Settings:
    """Read the settings and send the log where the command wants it.

    Args:
        config: the value of ``--config``.
        logs: ``stdout`` is for the service itself; other commands keep it free for their output.
        needs_anythingllm: False for commands that only speak to Kafka: they run without its key.
        quiet_kafka: True for commands that end with Kafka's first failure and report it themselves:
            aiokafka would say the same a second time, or four hundred times.
        only_errors: True for commands that read events as the service does: the service has logged
            what is odd about each.
        json_log: the log is JSON, whatever the settings say.

    Raises:
        SettingsError: shown by `consumer.cli.main`, exit code 2.
    """
    import structlog

    from consumer.settings import from_environment
    from consumer.telemetry.logs import format_for, set_up_logging, standard_stream

    settings = _as_wished(
        from_environment(config, needs_anythingllm=needs_anythingllm), json_log=json_log
    )
    is_terminal = getattr(sys, logs).isatty()
    level = settings.log.level
    set_up_logging(
        level="error" if only_errors and level != "debug" else level,
        format=format_for(settings.log.format, is_terminal=is_terminal),
        secrets=settings.secrets(),
        sink=standard_stream(logs),
        colors=is_terminal,
        quiet_kafka=quiet_kafka and settings.log.level != "debug",
    )
    for warning in settings.warnings:
        structlog.get_logger(__name__).warning("settings.warning", message=warning)
    return settings


def _as_wished(settings: Settings, *, json_log: bool) -> Settings:
    """The settings with what options of this call say about the log."""
    log, given_as = settings.log, dict(settings.given_as)
    how = manner()
    if how.verbose or how.quiet:
        log = replace(log, level="debug" if how.verbose else "error")
        given_as["LOG_LEVEL"] = "--verbose" if how.verbose else "--quiet"
    if json_log:
        log = replace(log, format="json")
        given_as["LOG_FORMAT"] = "--json"
    return replace(settings, log=log, given_as=given_as)


def kafka_for(context: typer.Context, settings: Settings) -> KafkaAccess:
    """Kafka as operations take it."""
    from consumer.wiring.kafka import kafka_clients

    given: Invocation = context.obj
    return (given.kafka or kafka_clients)(settings)


def ask_kafka(work: Coroutine[Any, Any, T]) -> T:
    """Run work that asks Kafka; a failure of Kafka becomes a line.

    Raises:
        CommandFailed: Kafka can't be reached or refuses.
    """
    import asyncio

    from consumer.kafka.connection import KafkaUnavailableError

    try:
        return asyncio.run(work)
    except KafkaUnavailableError as error:
        raise CommandFailed(f"Kafka: {error}") from None


def anythingllm_failed(error: AnythingLLMError, more: str = "") -> CommandFailed:
    """The line for AnythingLLM that can't be asked, or refuses.

    Args:
        error: what its client raised; where nobody answered it does not say what to look at.
        more: a second line.
    """
    told = error.message
    if error.not_there and "ANYTHINGLLM_ENDPOINT" not in told:
        told += "; check that AnythingLLM runs and that ANYTHINGLLM_ENDPOINT leads to it"
    return CommandFailed(f"{told}\n{more}" if more else told)


def check_slug(text: str) -> Slug:
    """A slug that was named; a text that no workspace can have as its slug is refused.

    Raises:
        CommandFailed: it can be none; the message says what a slug is.
    """
    from consumer.model.names import Slug
    from consumer.model.slug import is_slug

    if not is_slug(text):
        raise wrong_usage(
            f"{text!r} is no workspace slug (1 to 255 of a-z, 0-9, _ and -); "
            "`workspaces list` shows slugs and names"
        )
    return Slug(text)


def operator_here() -> str:
    """``name@host``: what others see of whoever calls a command."""
    import getpass
    import re
    import socket

    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "unknown"
    return re.sub(r"[^A-Za-z0-9._@-]", "_", f"{user}@{socket.gethostname()}")[:100]


def end(code: ExitCode) -> None:
    """End the command with an exit code; for 0 this simply returns.

    Raises:
        typer.Exit: for any other code.
    """
    if code is not ExitCode.DONE:
        raise typer.Exit(int(code))
