"""``check``: is everything as the service needs it?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from consumer.cli import output
from consumer.cli.common import ConfigOption, ExitCode, JsonOption, end, kafka_for, settings_for
from consumer.cli.tables.column import Column, Meaning

if TYPE_CHECKING:
    from consumer.kafka.topics import CheckFinding

_COLUMNS = (
    Column("", Meaning.STATE, 9),
    Column("what", Meaning.NAME, 8),
    Column("finding", Meaning.TEXT, 7),
    Column("what to do", Meaning.ADVICE, by="what", after="finding"),
)


def check(
    context: typer.Context,
    config: ConfigOption = None,
    try_writing: Annotated[
        bool,
        typer.Option(
            "--try-writing",
            help="Write a record to each output topic, which readers leave alone; it stays there.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Look at settings, Kafka, the topics and AnythingLLM; exit 3 when something must be mended.

    Changes nothing, but for --try-writing. Wrong settings are listed all at once (exit 2).
    """
    import asyncio

    from consumer.operations.check import look

    settings = settings_for(config, quiet_kafka=True)
    findings = asyncio.run(look(settings, kafka_for(context, settings), writing=try_writing))
    if as_json:
        for finding in findings:
            output.json_line(
                {
                    "ok": finding.ok,
                    "subject": finding.subject,
                    "finding": finding.text,
                    "what_to_do": finding.what_to_do,
                }
            )
    else:
        output.table(_COLUMNS, [_row(one) for one in findings])
    end(ExitCode.DONE if all(finding.ok for finding in findings) else ExitCode.FOUND)


def _row(finding: CheckFinding) -> tuple[str, str, str, str]:
    mark = "ok" if finding.ok else "WRONG"
    return mark, finding.subject, finding.text, finding.what_to_do
