"""``results``: what became of documents."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from consumer.cli import output
from consumer.cli.common import CommandFailed, ConfigOption, JsonOption, settings_for

if TYPE_CHECKING:
    from consumer.model.result import ReceivedResult
    from consumer.settings import Settings

_COLUMNS = ("completed", "status", "workspace", "document", "stored", "failed", "trace", "errors")
_FAILED = {"partial", "failed", "invalid"}


def results(
    config: ConfigOption = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with new results until Ctrl-C.")
    ] = False,
    document: Annotated[str | None, typer.Option(help="Only of this document id.")] = None,
    identity: Annotated[str | None, typer.Option(help="Only of this identity.")] = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="Only partial, failed and invalid ones.")
    ] = False,
    trace: Annotated[str | None, typer.Option(help="Only with this trace id.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show upload results, oldest first within a partition.

    Example: anythingllm-consumer results --failed --json
    """
    import asyncio

    from consumer.kafka.connection import KafkaUnavailableError

    settings = settings_for(config, needs_anythingllm=False)
    wanted = {"document_id": document, "identity": identity, "trace_id": trace}

    def matches(result: ReceivedResult) -> bool:
        same = all(v is None or getattr(result, k) == v for k, v in wanted.items())
        return same and (not failed or result.status in _FAILED)

    show = _Shown(as_json=as_json)
    try:
        asyncio.run(_read(settings, follow, matches, show))
    except KafkaUnavailableError as error:
        raise CommandFailed(f"Kafka: {error}") from None


async def _read(
    settings: Settings,
    follow: bool,
    matches: Callable[[ReceivedResult], bool],
    show: Callable[[ReceivedResult, bytes], None],
) -> None:
    from consumer.kafka.reader import read_topic
    from consumer.model.result import read_result
    from consumer.wiring import kafka_connection

    records = read_topic(kafka_connection(settings), settings.kafka.results_topic, follow=follow)
    async for record in records:
        try:
            result = read_result(record.value or b"")
        except ValueError as error:
            output.note(f"skipped {record.at}: {error}")
            continue
        if matches(result):
            show(result, record.value or b"")


class _Shown:
    """Writes results as they come: a line for people, the original JSON for scripts."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._heading = not as_json

    def __call__(self, result: ReceivedResult, value: bytes) -> None:
        if self._as_json:
            output.line(value.decode("utf-8", "replace"))
            return
        if self._heading:
            output.line("\t".join(_COLUMNS))
            self._heading = False
        output.line("\t".join(_cells(result)))


def _cells(result: ReceivedResult) -> list[str]:
    when = result.completed_at.isoformat(timespec="seconds") if result.completed_at else "-"
    stored = f"{result.successful_uploads}/{result.total_chunks}"
    return [
        when,
        result.status,
        result.workspace_slug or "-",
        result.document_id or result.identity or "-",
        stored,
        str(result.failed_uploads),
        result.trace_id or "-",
        "; ".join(result.errors[:2]) or "-",
    ]
