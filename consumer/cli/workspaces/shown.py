"""What people and scripts see of workspaces."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from consumer.cli import output
from consumer.cli.tables.column import Column, Meaning

if TYPE_CHECKING:
    from consumer.operations.workspaces.finding import WorkspaceFinding
    from consumer.operations.workspaces.verify import WorkspacesReport

_MAX_LISTED = 50  # of one kind in one workspace, towards people

_COLUMNS = (
    Column("what", Meaning.STATE, 9),
    Column("workspace", Meaning.NAME, 6),
    Column("finding", Meaning.TEXT, 7),
    Column("what to do", Meaning.ADVICE, by="what"),
)
# Whole, where there is no room for the whole finding that names it.
_DOCUMENT = Column("document", Meaning.NAME, 8)


def as_object(finding: WorkspaceFinding) -> dict[str, object]:
    """A finding for scripts."""
    return {
        "kind": finding.kind,
        "note": finding.is_note,
        "workspace": finding.workspace,
        "document_id": finding.document_id,
        "chunk_ids": finding.chunk_ids,
        "location": finding.location,
        "keeps": finding.keeps,
        "finding": finding.text,
        "remedy": finding.remedy,
        "what_to_do": finding.what_to_do,
    }


def totals(report: WorkspacesReport) -> dict[str, object]:
    """A report in numbers, for scripts."""
    return {
        "workspaces": len(report.contents),
        "documents": sum(each.documents for each in report.contents),
        "chunks": sum(each.chunks for each in report.contents),
        "foreign_documents": sum(each.foreign for each in report.contents),
        "chunks_too_young": report.too_young,
        "found": len(report.faults),
        "notes": len(report.findings) - len(report.faults),
    }


def of_server(server: str | None) -> dict[str, object]:
    """What lines for scripts have beside the rest, where there are several servers."""
    return {} if server is None else {"server": server}


def about(seconds: float) -> str:
    """How long something takes, about."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:,.0f} min"


def title(server: str | None) -> None:
    """Say of which server the next lines are, where there are several."""
    if server is not None:
        output.line(f"server {server}:")


def show(findings: Iterable[WorkspaceFinding], *, as_json: bool, server: str | None = None) -> None:
    """Show findings: to scripts each as a line, to people in a table."""
    shown: Counter[tuple[str, str | None]] = Counter()
    rows: list[tuple[str, ...]] = []
    for each in findings:
        if as_json:
            output.json_line({**of_server(server), **as_object(each)})
            continue
        shown[each.kind, each.workspace] += 1
        if shown[each.kind, each.workspace] <= _MAX_LISTED:
            kind = f"({each.kind})" if each.is_note else str(each.kind)
            where = (each.document_id or "-",) if output.is_drawn() else ()
            rows.append((kind, each.workspace or "-", *where, each.text, each.what_to_do))
    if rows:
        output.table(
            (*_COLUMNS[:2], _DOCUMENT, *_COLUMNS[2:]) if output.is_drawn() else _COLUMNS, rows
        )
    for (kind, workspace), count in shown.items():
        if count > _MAX_LISTED:
            more = f"{count - _MAX_LISTED} more {kind} in {workspace or 'no workspace'}"
            output.note(f"{more}; --json shows all")
