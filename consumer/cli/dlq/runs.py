"""``dlq runs``: replay runs, and how their replays fared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from consumer.cli import output
from consumer.cli.common import ConfigOption, JsonOption, ask_kafka, kafka_for, settings_for
from consumer.cli.tables.column import Column, Meaning

if TYPE_CHECKING:
    from consumer.operations.replay.run_store import RunReport

_COLUMNS = (
    Column("run", Meaning.NAME, 9),
    Column("started", Meaning.TIME, 4),
    Column("by", Meaning.NAME, 2),
    Column("state", Meaning.STATE, 8),
    Column("selected", Meaning.NUMBER, 3),
    Column("published", Meaning.NUMBER, 6),
    Column("parked", Meaning.NUMBER, 5),
    Column("skipped", Meaning.NUMBER, 5),
    Column("results", Meaning.TEXT, 7),
)


def runs(context: typer.Context, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show replay runs, newest first, and how their replays fared. Changes nothing.

    A run is running, interrupted (`dlq replay --resume RUN` goes on with it) or done. Kafka keeps
    runs as long as the offsets of groups without members: 7 days unless the brokers'
    offsets.retention.minutes says otherwise.

    What failed again is a new letter, which is open: `dlq list` has it.

    With --json each run is a line.

    Example: anythingllm-consumer dlq runs
    """
    from consumer.operations.replay.run_store import list_runs

    settings = settings_for(config, needs_anythingllm=False, quiet_kafka=True)
    reports = ask_kafka(list_runs(settings, kafka_for(context, settings)))
    if as_json:
        for report in reports:
            output.json_line(report.as_object())
        return
    rows = [
        (
            report.run.id,
            report.run.started_at,
            report.run.operator,
            report.state,
            report.run.selected,
            report.progress.published,
            report.progress.parked,
            report.progress.all_skipped,
            _fared(report),
        )
        for report in reports
    ]
    if rows:
        output.table(_COLUMNS, rows)
    else:
        output.note("no runs")


def _fared(report: RunReport) -> str:
    text = ", ".join(f"{count} {status}" for status, count in report.fared.items()) or "-"
    return f"{text}; dead letters again: {report.failed_again}" if report.failed_again else text
