"""``validate``: whether files hold events that the service would take. Needs no server."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from consumer.cli import output
from consumer.cli.common import ConfigOption, ExitCode, JsonOption, end
from consumer.cli.examined import SAID, FileFindings
from consumer.cli.files import UnreadableError, read_events

FilesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE",
        help="JSON or NDJSON files, also gzipped; - is standard input.",
        show_default=False,
    ),
]


def validate(
    files: FilesArgument,
    limit: Annotated[
        int, typer.Option(help="Say each kind of message so often; 0: always.", min=0)
    ] = SAID,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check files of events against the contract (schemas/README.md).

    Refused is what the service would refuse without asking anybody: also what
    is too large, or goes to no workspace. Limits and routing are those of the
    settings: give it the service's.

    Every problem is one line, `file:line:column: /pointer: problem`. Notes are
    about what is taken and may be a mistake: unknown fields, dates in the
    future, the same document twice.

    A file holds one event a line, or one event, or a list of events; in
    envelopes, too. Exit code 3: an event is invalid. 2: a file can't be read.
    """
    from consumer.operations.validation import Examiner
    from consumer.settings import from_environment
    from consumer.wiring.event_rules import event_rules

    # Not by `settings_for`: nothing is logged, and what sets up the log takes as long as the rest.
    settings = from_environment(config, needs_anythingllm=False)
    for warning in settings.warnings:
        output.note(warning)
    examiner = Examiner(event_rules(settings), settings.document.identity, datetime.now(UTC))
    findings = FileFindings(None if as_json else output.line, limit)
    for name in files:
        try:
            findings.examine(name, read_events([name]), examiner)
        except UnreadableError as error:
            findings.unreadable.append(str(error))
            output.error(str(error))
    findings.end()
    if as_json:
        output.json_line(findings.as_json())
    else:
        output.line(findings.summary)
    # Unreadable files count more than invalid events: a part of the answer is missing.
    found = ExitCode.FOUND if findings.invalid else ExitCode.DONE
    end(ExitCode.WRONG_USAGE if findings.unreadable else found)
