"""``audit``: is everything that was published stored, or is it known why not?"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from consumer.cli import output
from consumer.cli.common import (
    CommandFailed,
    ConfigOption,
    ExitCode,
    JsonOption,
    ask_kafka,
    check_slug,
    end,
    kafka_for,
    settings_for,
)
from consumer.cli.progress import stages
from consumer.operations.audit.states import DocumentState

if TYPE_CHECKING:
    from consumer.model.names import Slug
    from consumer.operations.audit.findings import AuditFinding, AuditSummary
    from consumer.operations.ports import KafkaAccess
    from consumer.settings import Settings

_MAX_LISTED = 20  # of one kind, towards people

WorkspaceOption = Annotated[
    str | None,
    typer.Option(
        "--workspace",
        metavar="SLUG",
        help="Only what belongs into this workspace; without it, everything.",
        show_default=False,
    ),
]

# In the order in which they are shown.
_MEANINGS = {
    DocumentState.STORED: "stored completely, once",
    DocumentState.WAITING: "not committed yet: the service has not come to it, or is at it",
    DocumentState.DEAD_LETTER: "explained by a dead letter: `dlq list`",
    DocumentState.SETTLING: "just written: the service may be about to put it right",
    DocumentState.MISSING: "nothing of it is stored",
    DocumentState.INCOMPLETE: "a part of it is stored",
    DocumentState.STALE: "stored completely, and chunks of older versions as well",
    DocumentState.DOUBLE: "stored completely, and chunks of it once more",
    DocumentState.NOT_REMOVED: "deleted, and still stored",
    DocumentState.UNEXPECTED: "stored by us, and no event tells of it",
    DocumentState.NO_DEAD_LETTER: "events that can't be carried out, without a dead letter",
    DocumentState.NEWER: "stored in a newer version than any event tells of",
}


def audit(
    context: typer.Context,
    workspace: WorkspaceOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Is everything that was published stored? Names what is missing, double or left over.

    Reads the documents topic as the service does and compares the newest version
    of every document, chunk by chunk, with what AnythingLLM lists. What is not
    stored has to be explained: not committed yet, or an open dead letter.

    Changes nothing, and may run beside the service: what seems wrong is looked
    at twice. Whether searches find what is listed: `workspaces verify`.

    Memory is bounded; a temporary file (in TMPDIR) takes about 300 bytes a
    document and 250 a chunk.

    Exit 0: everything is explained. 3: something is not. 1: it failed.
    With --json each finding is a line, and the last line has the totals.

    Example: anythingllm-consumer audit
    """
    slug = None if workspace is None else check_slug(workspace)
    settings = settings_for(config, quiet_kafka=True, only_errors=True)
    summary = _audited(settings, kafka_for(context, settings), slug, as_json=as_json)
    if as_json:
        output.json_line(_totals(summary))
    else:
        _show(summary)
    end(ExitCode.FOUND if summary.unexplained else ExitCode.DONE)


def _audited(
    settings: Settings, kafka: KafkaAccess, workspace: Slug | None, *, as_json: bool
) -> AuditSummary:
    from consumer.anythingllm import AnythingLLMError
    from consumer.operations.audit.audit import UnknownWorkspace
    from consumer.operations.audit.register import RegisterFull

    try:
        return ask_kafka(_audit(settings, kafka, workspace, as_json=as_json))
    except AnythingLLMError as error:
        raise CommandFailed(f"AnythingLLM: {error.message}") from None
    except UnknownWorkspace as error:
        raise CommandFailed(f"{error}; `workspaces list` shows those it has") from None
    except RegisterFull as error:
        raise CommandFailed(
            f"the temporary file can't be written: {error}; TMPDIR names another folder for it"
        ) from None


async def _audit(
    settings: Settings, kafka: KafkaAccess, workspace: Slug | None, *, as_json: bool
) -> AuditSummary:
    from consumer.operations.audit.audit import open_audit
    from consumer.operations.audit.findings import AuditSummary

    summary, shown = AuditSummary(), _ShownFindings(as_json=as_json)
    with stages(quiet=as_json) as progress:
        async with open_audit(settings, kafka, workspace=workspace, progress=progress) as audit:
            await audit.look()
            for found in audit.found(summary):
                shown(found)
    shown.end()
    return summary


class _ShownFindings:
    """Shows findings: to scripts each as a line, to people the first of each kind in a table."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._rows: list[tuple[str, ...]] = []
        self._counts: dict[DocumentState, int] = {}

    def __call__(self, found: AuditFinding) -> None:
        if self._as_json:
            output.json_line(_json(found))
            return
        count = self._counts[found.state] = self._counts.get(found.state, 0) + 1
        if count <= _MAX_LISTED:
            kind = f"({found.state})" if found.is_note else str(found.state)
            name = found.identity or found.document_id or str(found.event)
            text = f"{found.text} ({found.event})" if found.event else found.text
            self._rows.append((kind, found.workspace or "-", name, text, found.what_to_do))

    def end(self) -> None:
        """Show the table; nothing more comes."""
        if self._rows:
            columns = ("what", "workspace", "document", "finding", "what to do")
            output.table(columns, sorted(self._rows))
        for state, count in self._counts.items():
            if count > _MAX_LISTED:
                output.note(f"{count - _MAX_LISTED} more {state}; --json names all")


def _show(summary: AuditSummary) -> None:
    for notice in summary.notices:
        output.note(notice)
    rows = [
        (state, summary.states[state], meaning)
        for state, meaning in _MEANINGS.items()
        if summary.states[state] or state is DocumentState.STORED
    ]
    output.table(("what", "count", "meaning"), rows)
    output.line(
        f"{summary.events} events ({summary.invalid} can't be carried out, "
        f"{summary.not_committed} not committed), {summary.documents} documents, "
        f"{summary.states[DocumentState.STORED]} stored: {summary.unexplained} unexplained, "
        f"{summary.noted} notes"
    )


def _json(found: AuditFinding) -> dict[str, object]:
    at = found.event
    return {
        "kind": found.state,
        "note": found.is_note,
        "workspace": found.workspace,
        "identity": found.identity,
        "document_id": found.document_id,
        "event": at and asdict(at),
        "chunks": found.total,
        "chunks_stored": found.stored,
        "chunks_surplus": found.surplus,
        "finding": found.text,
        "what_to_do": found.what_to_do,
    }


def _totals(summary: AuditSummary) -> dict[str, object]:
    return {
        "events": summary.events,
        "invalid_events": summary.invalid,
        "events_not_committed": summary.not_committed,
        "documents": summary.documents,
        **{state.value.replace("-", "_"): summary.states[state] for state in _MEANINGS},
        "unexplained": summary.unexplained,
        "notes": summary.noted,
        "notices": list(summary.notices),
    }
