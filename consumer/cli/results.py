"""``results``: what became of documents."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from consumer.cli import output
from consumer.cli.common import ConfigOption, JsonOption, ask_kafka, kafka_for, settings_for
from consumer.cli.times import moment

if TYPE_CHECKING:
    from consumer.contract.received_result import ReceivedResult
    from consumer.operations.ports import KafkaAccess
    from consumer.settings import Settings

_COLUMNS = ("completed", "status", "workspace", "document", "stored", "failed", "trace", "errors")
_NOT_DRAWN = {"failed", "trace"}
_FAILED = {"partial", "failed", "invalid"}


def results(
    context: typer.Context,
    config: ConfigOption = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with new results until Ctrl-C.")
    ] = False,
    document: Annotated[str | None, typer.Option(help="Only of this document id.")] = None,
    identity: Annotated[str | None, typer.Option(help="Only of this identity.")] = None,
    workspace: Annotated[str | None, typer.Option(help="Only of this workspace (slug).")] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Only completed since: 45m, 2h, 3d ago, or 2026-11-22[T10:00]."
        ),
    ] = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="Only partial, failed and invalid ones.")
    ] = False,
    trace: Annotated[str | None, typer.Option(help="Only with this trace id.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show upload results, oldest first within a partition.

    Example: anythingllm-consumer results --failed --json
    """
    settings = settings_for(config, needs_anythingllm=False, quiet_kafka=not follow)
    wanted = {
        "document_id": document,
        "identity": identity,
        "trace_id": trace,
        "workspace_slug": workspace,
    }
    oldest = moment("--since", text=since, now=datetime.now(UTC))

    def matches(result: ReceivedResult) -> bool:
        same = all(v is None or getattr(result, k) == v for k, v in wanted.items())
        completed = result.completed_at
        if oldest is not None and (completed is None or completed < oldest):
            return False
        return same and (not failed or result.status in _FAILED)

    show = _ShownResults(as_json=as_json, drawn=sys.stdout.isatty() and not follow)
    ask_kafka(_read(settings, kafka_for(context, settings), follow, matches, show))
    show.end()


async def _read(
    settings: Settings,
    kafka: KafkaAccess,
    follow: bool,
    matches: Callable[[ReceivedResult], bool],
    show: Callable[[ReceivedResult, bytes], None],
) -> None:
    from consumer.contract.received_result import read_result
    from consumer.contract.trial import is_trial

    topic = settings.kafka.results_topic
    # Closed where it is left early, as when nobody reads any more: left to the end of the loop it
    # would be closed in the middle of a request, which asyncio complains about.
    async with aclosing(kafka.read_topic(topic, follow=follow)) as records:
        async for record in records:
            if is_trial(record):
                continue
            try:
                result = read_result(record.value or b"")
            except ValueError as error:
                output.note(f"skipped {record.at}: {error}")
                continue
            if matches(result):
                show(result, record.value or b"")


class _ShownResults:
    """Shows results: the JSON of each for scripts, lines as they come, or a table at the end.

    Args:
        as_json: for scripts.
        drawn: as one table at the end, for a person who waits for it.
    """

    def __init__(self, *, as_json: bool, drawn: bool) -> None:
        self._as_json = as_json
        self._drawn = drawn
        self._rows: list[list[str]] = []
        self.count = 0

    def __call__(self, result: ReceivedResult, value: bytes) -> None:
        self.count += 1
        if self._as_json:
            # Read and written again, so that it is one line whoever wrote it.
            output.json_line(orjson.loads(value))
        elif self._drawn:
            self._rows.append(_cells(result))
        else:
            if self.count == 1:
                output.columns(_COLUMNS)
            output.columns(_cells(result))

    def end(self) -> None:
        """Show the table; nothing more will come."""
        if self._rows:
            # Without failed and trace, which the other forms have: eight columns fit nowhere.
            drawn = [index for index, name in enumerate(_COLUMNS) if name not in _NOT_DRAWN]
            output.table(
                [_COLUMNS[index] for index in drawn],
                [[row[index] for index in drawn] for row in self._rows],
            )
        elif not self.count and not self._as_json:
            output.note("no such results")


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
