"""``run``: the service."""

from __future__ import annotations

from typing import Annotated

import typer

from consumer.cli.common import CommandFailed, ConfigOption, settings_for


def run(
    config: ConfigOption = None,
    fail_fast: Annotated[
        bool,
        typer.Option(
            "--fail-fast", help="End with 1 instead of waiting when Kafka or AnythingLLM is away."
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Log JSON lines, as LOG_FORMAT=json does.")
    ] = False,
) -> None:
    """Consume documents and store them until SIGTERM or Ctrl-C.

    Needs ANYTHINGLLM_API_KEY, and where these are not on this machine
    KAFKA_BOOTSTRAP_SERVERS and ANYTHINGLLM_ENDPOINT. Before the first start:
    `topics create`, then `check`.

    The first signal finishes what is in flight (SHUTDOWN_DRAIN_SECONDS),
    the second stops at once. While Kafka or AnythingLLM is away the service
    waits and goes on by itself; nothing is lost. Its state is at
    ADMIN_HOST:ADMIN_PORT under /livez, /readyz and /metrics.
    """
    import asyncio

    from consumer.admin.server import AdminError
    from consumer.app import ServiceDiedError, StartFailedError, serve

    settings = settings_for(config, logs="stdout", json_log=as_json)
    try:
        asyncio.run(serve(settings, fail_fast=fail_fast))
    except (AdminError, StartFailedError) as error:
        raise CommandFailed(str(error)) from None
    except ServiceDiedError as error:
        raise CommandFailed(f"the service died: {error}") from None
