"""``workspaces forget``: one of several servers is not used any more."""

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
    end,
    kafka_for,
    settings_for,
)

if TYPE_CHECKING:
    from consumer.operations.ports import KafkaAccess
    from consumer.settings import Settings


def forget(
    context: typer.Context,
    server: Annotated[str, typer.Argument(metavar="SERVER", help="Its former name.")],
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it; without this only say what would be done.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give up the name of one of several servers: says what, and does it with --yes.

    Needed once a server is left out of ANYTHINGLLM_ENDPOINTS for good: until
    then no new workspace is made, and no tombstone is done. What is stored on
    it is not looked for any more, so move its workspaces before. Stop all
    instances of the service. The name is never used again.

    Exit 0: it is given up. 3: it would be. 1: it failed, or the service is at
    work.

    Example: anythingllm-consumer workspaces forget b --yes
    """
    settings = settings_for(config, quiet_kafka=True)
    is_open = _forgotten(settings, kafka_for(context, settings), server, do=yes)
    if as_json:
        output.json_line({"server": server, "given_up": yes or not is_open})
    elif yes or not is_open:
        output.line(f"the name {server} is given up")
    else:
        output.line(f"the name {server} would be given up")
        output.note("nothing was changed; --yes does it")
    end(ExitCode.FOUND if is_open and not yes else ExitCode.DONE)


def _forgotten(settings: Settings, kafka: KafkaAccess, server: str, *, do: bool) -> bool:
    from consumer.anythingllm import AnythingLLMError
    from consumer.model.names import ServerName
    from consumer.operations.forgetting import ForgettingRefused, forget_server

    try:
        return ask_kafka(forget_server(settings, kafka, ServerName(server), do=do))
    except ForgettingRefused as error:
        raise CommandFailed(str(error)) from None
    except AnythingLLMError as error:
        raise anythingllm_failed(error, "running it again goes on") from None
