"""``validate``: whether files hold events that the service would take. Needs no server."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from consumer.cli import output
from consumer.cli.common import ExitCode, JsonOption, end
from consumer.cli.files import EventLine, UnreadableError, read_events

if TYPE_CHECKING:
    from consumer.pipeline.decode import Malformed

# A huge file of nothing but broken events must not fill the memory; the counts stay exact.
MAX_LISTED = 10_000

FilesArgument = Annotated[
    list[str],
    typer.Argument(
        help="JSON or NDJSON files, also gzipped; - is standard input.", show_default=False
    ),
]


@dataclass(slots=True)
class ValidationFindings:
    """What was found so far."""

    valid: int = 0
    invalid: int = 0
    problems: list[dict[str, Any]] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> ExitCode:
        """Unreadable files count more than invalid events: a part of the answer is missing."""
        if self.unreadable:
            return ExitCode.WRONG_USAGE
        return ExitCode.FOUND if self.invalid else ExitCode.DONE

    def as_json(self) -> dict[str, Any]:
        """For scripts; ``problems`` holds the first `MAX_LISTED`."""
        return {
            "events": self.valid + self.invalid,
            "valid": self.valid,
            "invalid": self.invalid,
            "problems": self.problems,
            "unreadable": self.unreadable,
        }


def validate(files: FilesArgument, as_json: JsonOption = False) -> None:
    """Check files of events against the contract (schemas/README.md).

    Every problem is one line, `file:line: /pointer: problem`. A file holds one event a line, or one
    event, or a list of events; in envelopes, too. Exit code 3: an event is invalid. 2: a file can't
    be read.
    """
    findings = ValidationFindings()
    for name in files:
        try:
            for event in read_events([name]):
                _examine(event, findings, quiet=as_json)
        except UnreadableError as error:
            findings.unreadable.append(str(error))
            output.error(str(error))
    if as_json:
        output.json_line(findings.as_json())
    else:
        output.line(_summary(findings))
    end(findings.exit_code)


def _examine(event: EventLine, findings: ValidationFindings, *, quiet: bool) -> None:
    from consumer.contract.envelope import WITHOUT_HEADERS
    from consumer.pipeline.decode import DecodeLimits, Malformed, decode

    try:
        document = decode(event.value, DecodeLimits(), WITHOUT_HEADERS)
    except Malformed as malformed:
        findings.invalid += 1
        _report(event, malformed, findings, quiet=quiet)
        return
    findings.valid += 1
    if not quiet:
        for note in document.notes:
            output.line(f"{event.file}:{event.line}: note: {note}")


def _report(
    event: EventLine, malformed: Malformed, findings: ValidationFindings, *, quiet: bool
) -> None:
    for problem in malformed.problems:
        if not quiet:
            output.line(f"{event.file}:{event.line}: {problem}")
        elif len(findings.problems) < MAX_LISTED:
            findings.problems.append(
                {
                    "file": event.file,
                    "line": event.line,
                    "document_id": malformed.document_id,
                    "reason": malformed.reason.value,
                    "pointer": problem.pointer,
                    "message": problem.message,
                }
            )


def _summary(findings: ValidationFindings) -> str:
    total = findings.valid + findings.invalid
    events = f"{total:,} event{'' if total == 1 else 's'}"
    unread = len(findings.unreadable)
    more = f"; {unread} file{'' if unread == 1 else 's'} could not be read" if unread else ""
    return f"{events}: {findings.valid:,} valid, {findings.invalid:,} invalid{more}"
