"""``demo``: the whole way on this machine."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from consumer.cli import output
from consumer.cli.common import CommandFailed, ExitCode, JsonOption, wrong_usage
from consumer.operations.progress import silent

if TYPE_CHECKING:
    from consumer.sandbox.demo import DemoReport, Told


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
    from consumer.sandbox.demo import DemoOptions, run_demo
    from consumer.sandbox.errors import SandboxError, SandboxUnavailable
    from consumer.telemetry.logs import set_up_logging, standard_stream

    if anythingllm is not None and not api_key:
        raise wrong_usage("--anythingllm needs --api-key, or ANYTHINGLLM_TEST_API_KEY")
    # The demo's own clients are quiet: what the service logs is shown when it fails.
    set_up_logging(level="error", format="console", secrets=(), sink=standard_stream("stderr"))
    tell = silent if as_json else _show  # scripts read the last line only
    waits = _WaitsForEnter(hide_key=anythingllm is not None) if keep else None

    async def run() -> DemoReport:
        # Treated as Ctrl-C, so that the demo takes down what it has set up.
        task = asyncio.current_task()
        if task is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await run_demo(DemoOptions(kafka, anythingllm, api_key), tell, until_closed=waits)

    try:
        report = asyncio.run(run())
    except asyncio.CancelledError:
        raise CommandFailed("interrupted", ExitCode.INTERRUPTED) from None
    except SandboxUnavailable as error:
        raise wrong_usage(str(error)) from None
    except (SandboxError, KafkaUnavailableError, Failure) as error:
        raise CommandFailed(str(error)) from None
    _tell(report, as_json=as_json)
    if report.wrong:
        raise CommandFailed("; ".join(report.wrong))


class _WaitsForEnter:
    """Says how to use what is up, and waits until it is not needed any more.

    Args:
        hide_key: the API key is somebody's own and stays where it is.
    """

    def __init__(self, *, hide_key: bool) -> None:
        self._hide_key = hide_key

    async def __call__(self, environment: Mapping[str, str]) -> None:
        output.note("Everything is up. In another terminal, for publish, results, check:")
        for name, value in environment.items():
            hidden = self._hide_key and name == "ANYTHINGLLM_API_KEY"
            output.note(f"  export {name}='{'...' if hidden else value}'")
        output.note("Enter or Ctrl-C ends it.")
        await _enter()


async def _enter() -> None:
    """Return when a line or the end of standard input comes; never where nothing can come."""
    import asyncio

    loop, entered = asyncio.get_running_loop(), asyncio.Event()
    try:
        # Not input() in a thread: that would hold up the end after Ctrl-C until Enter.
        loop.add_reader(sys.stdin.fileno(), entered.set)
    except (OSError, ValueError):
        await entered.wait()  # no terminal and no pipe: a signal ends it
        return
    try:
        await entered.wait()
    finally:
        loop.remove_reader(sys.stdin.fileno())


def _tell(report: DemoReport, *, as_json: bool) -> None:
    if as_json:
        output.json_line(report.as_json())
        return
    statuses = ", ".join(f"{count} {status}" for status, count in sorted(report.results.items()))
    output.line("")
    output.line(f"{report.published} documents published, results: {statuses}")
    output.line(
        f"{report.chunks_stored} chunks stored, {report.chunks_searchable} found by a search for "
        "their text"
    )
    if report.dead_letters:
        refused = "the simulated AnythingLLM was told to refuse one chunk"
        output.line(f"{report.dead_letters} dead letter: {refused}; mended and replayed")
    output.line(f"done in {report.seconds:.1f} s; everything the demo made is gone again")


def _show(told: Told) -> None:
    from consumer.sandbox.demo import ResultArrived, SearchFound, Step

    match told:
        case Step():
            output.line(f"* {told.text}")
        case ResultArrived():
            output.line(
                f"  {told.number:3d}/{told.total}  {told.status:<10} "
                f"{told.chunks:4d} chunks  {told.workspace}  {told.document_id}"
            )
        case SearchFound():
            output.line(f'  searched for: "{told.query}"')
            output.line(f'  found:        "{told.text[:60]}" {_near(told.distance)}')
    sys.stdout.flush()  # piped into something it is to be watched as well


def _near(distance: float | None) -> str:
    return "" if distance is None else f"(distance {distance:.3f})"
