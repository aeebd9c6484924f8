"""``demo``: the whole way on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from consumer.cli import output
from consumer.cli.common import CommandFailed, ExitCode, JsonOption

if TYPE_CHECKING:
    from consumer.sandbox.demo import Report, Told
    from consumer.settings import Settings


def demo(
    kafka: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Use this Kafka, start none.")
    ] = None,
    anythingllm: Annotated[
        str | None, typer.Option(metavar="URL", help="Use this AnythingLLM, simulate none.")
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar="ANYTHINGLLM_TEST_API_KEY", help="Developer API key for --anythingllm."
        ),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave everything up at the end, until Enter or Ctrl-C.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run everything on this machine: Kafka, AnythingLLM (simulated), documents in, search.

    Needs Java 17 and Maven, or Docker, for a real Kafka of its own. Reads no settings of `run`;
    what it makes is called demo-… and removed.
    """
    import asyncio

    from consumer.kafka.connection import KafkaUnavailableError
    from consumer.model.fault import Failure
    from consumer.sandbox.demo import Options, run_demo
    from consumer.sandbox.errors import SandboxError, SandboxUnavailable
    from consumer.telemetry.logs import set_up_logging, standard_stream

    if anythingllm is not None and not api_key:
        message = "--anythingllm needs --api-key, or ANYTHINGLLM_TEST_API_KEY"
        raise CommandFailed(message, ExitCode.WRONG_USAGE)
    # The demo's own clients are quiet: what the service logs is shown when it fails.
    set_up_logging(level="error", format="console", secrets=(), sink=standard_stream("stderr"))
    tell = _nothing if as_json else _show
    try:
        report = asyncio.run(
            run_demo(
                Options(kafka, anythingllm, api_key), tell, until_closed=_wait if keep else None
            )
        )
    except SandboxUnavailable as error:
        raise CommandFailed(str(error), ExitCode.WRONG_USAGE) from None
    except (SandboxError, KafkaUnavailableError, Failure) as error:
        raise CommandFailed(str(error)) from None
    _tell(report, as_json=as_json)
    if report.wrong:
        raise CommandFailed("; ".join(report.wrong))


def _wait(settings: Settings) -> None:
    output.note(
        f"Kafka is at {settings.kafka.bootstrap_servers}, "
        f"AnythingLLM at {settings.anythingllm.endpoint}. Press Enter to end."
    )
    try:
        input()
    except EOFError:
        return


def _tell(report: Report, *, as_json: bool) -> None:
    if as_json:
        output.json_line(report.as_json())
        return
    statuses = ", ".join(f"{count} {status}" for status, count in sorted(report.results.items()))
    output.line("")
    output.line(f"{report.published} documents published, results: {statuses}")
    output.line(
        f"{report.chunks_stored} chunks stored, {report.chunks_searchable} found by a search for "
        f"their text, {report.dead_letters} dead letter (AnythingLLM was told to refuse one chunk)"
    )
    output.line(f"done in {report.seconds:.1f} s; everything the demo made is gone again")


def _show(told: Told) -> None:
    from consumer.sandbox.demo import Found, Settled, Step

    match told:
        case Step():
            output.line(f"* {told.text}")
        case Settled():
            output.line(
                f"  {told.number:3d}/{told.total}  {told.status:<10} "
                f"{told.chunks:4d} chunks  {told.workspace}  {told.document_id}"
            )
        case Found():
            output.line(f'  searched for: "{told.query}"')
            output.line(f'  found:        "{told.text[:60]}" (distance {told.distance:.3f})')


def _nothing(told: Told) -> None:
    """Scripts read the last line only."""
