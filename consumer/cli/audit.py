"""``audit``: is everything that was published stored, or is it known why not?"""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from consumer.cli import output
from consumer.cli.common import (
    CommandFailed,
    ConfigOption,
    ExitCode,
    JsonOption,
    anythingllm_failed,
    ask_kafka,
    check_slug,
    end,
    kafka_for,
    settings_for,
    wrong_usage,
)
from consumer.cli.progress import stages
from consumer.cli.republish_shown import RepublishSeen, RepublishWish, republish_object, republished
from consumer.cli.tables.column import Column, Meaning
from consumer.operations.audit.states import DocumentState

if TYPE_CHECKING:
    from consumer.model.names import Slug
    from consumer.operations.audit.findings import AuditFinding, AuditSummary
    from consumer.operations.ports import KafkaAccess
    from consumer.settings import Settings

T = TypeVar("T")

_FINDINGS = (
    Column("what", Meaning.STATE, 9),
    Column("workspace", Meaning.NAME, 5),
    Column("document", Meaning.NAME, 8),
    Column("finding", Meaning.TEXT, 6),
    Column("what to do", Meaning.ADVICE, by="what"),
)
_TOTALS = (
    Column("what", Meaning.STATE, 9),
    Column("count", Meaning.NUMBER, 8),
    Column("meaning", Meaning.TEXT, 7),
)

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

SearchOption = Annotated[
    bool | None,
    typer.Option(
        "--search/--no-search",
        help="Search for every chunk that is listed, or for none; without either, for up to 10 "
        "chunks of each of 20 documents, chosen at random from all workspaces in turn.",
        show_default=False,
    ),
]

RepublishOption = Annotated[
    bool,
    typer.Option(
        "--republish",
        help="Publish the newest event of each document that is missing, incomplete or stale "
        "again, to the replay topic; without --yes only say which.",
    ),
]
YesOption = Annotated[
    bool, typer.Option("--yes", help="With --republish: do it, instead of only saying so.")
]
IncludeRemovedOption = Annotated[
    bool,
    typer.Option(
        "--include-removed",
        help="With --republish: also documents that are missing while their workspace stands. "
        "Somebody may have removed them in AnythingLLM, and for a reason.",
    ),
]
RateOption = Annotated[
    float | None,
    typer.Option(
        "--rate",
        metavar="N",
        min=0.001,
        help="With --republish: at most N events a second.",
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
    DocumentState.NOT_FOUND: "listed completely, and no search finds a part of it",
    DocumentState.NOT_REMOVED: "deleted, and still stored",
    DocumentState.UNEXPECTED: "stored by us, and no event tells of it",
    DocumentState.NO_DEAD_LETTER: "events that can't be carried out, without a dead letter",
    DocumentState.NEWER: "stored in a newer version than any event tells of",
}


def audit(
    context: typer.Context,
    workspace: WorkspaceOption = None,
    search: SearchOption = None,
    republish: RepublishOption = False,
    yes: YesOption = False,
    include_removed: IncludeRemovedOption = False,
    rate: RateOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Is everything that was published stored? Names what is missing, double or left over.

    Reads the documents topic as the service does and compares the newest version
    of every document, chunk by chunk, with what AnythingLLM lists. What is not
    stored has to be explained: not committed yet, or an open dead letter.

    A listing does not prove that a chunk is found. So a sample of what is listed
    is searched for, each chunk by its own text; with --search all of it: one
    search a chunk at most. What was not looked at is counted.

    Changes nothing, and may run beside the service: what seems wrong is looked
    at twice.

    --republish brings back what AnythingLLM lost, from the documents topic: where
    it was emptied, restored from a backup or moved. Each event goes to the replay
    topic as it is, and counts as old as it is; chunks that are stored are not
    uploaded again. A document that was deleted stays deleted. What is no longer in
    the topic is listed. It can be stopped at any moment: run again, it does the
    rest. One run at a time, and none beside `dlq replay`.

    Memory is bounded; a temporary file (in TMPDIR) takes about 300 bytes a
    document and 300 a chunk, with --search 450.

    Exit 0: everything is explained. 3: something is not. 1: it failed, or the
    searches in a workspace told nothing, as while the vector database is down.
    With --json each finding is a line, and the last line has the totals.
    With --republish --yes: 0 where all that was unexplained is published again.

    Example: anythingllm-consumer audit
    Example: anythingllm-consumer audit --republish --workspace docs --yes
    """
    if not republish and (yes or include_removed or rate is not None):
        raise wrong_usage("--yes, --include-removed and --rate belong to --republish")
    slug = None if workspace is None else check_slug(workspace)
    settings = settings_for(config, quiet_kafka=True, only_errors=True)
    wish = RepublishWish(yes, include_removed, rate) if republish else None
    kafka = kafka_for(context, settings)
    work = _audit(settings, kafka, slug, search=search, wish=wish, as_json=as_json)
    summary, done = _audited(work)
    if as_json:
        output.json_line(_totals(summary) | (republish_object(done) if done else {}))
    elif done is None:
        _show(summary)
    end(_exit_code(summary, done))


def _exit_code(summary: AuditSummary, done: RepublishSeen | None) -> ExitCode:
    open_ = summary.unexplained
    if done is not None:
        open_ += len(done.look.forgotten) - done.published
    if open_:
        return ExitCode.FOUND
    return ExitCode.FAILED if summary.unsearchable else ExitCode.DONE


def _audited(work: Coroutine[Any, Any, T]) -> T:
    from consumer.anythingllm import AnythingLLMError
    from consumer.operations.audit.audit import UnknownWorkspace
    from consumer.operations.audit.register import RegisterFull
    from consumer.operations.republish.republish import RepublishRefused, RepublishStopped

    try:
        return ask_kafka(work)
    except AnythingLLMError as error:
        raise anythingllm_failed(error) from None
    except UnknownWorkspace as error:
        raise CommandFailed(f"{error}; `workspaces list` shows those it has") from None
    except RepublishRefused as error:
        raise CommandFailed(f"nothing was published: {error}") from None
    except RepublishStopped as error:
        raise CommandFailed(f"{error}; run it again: it does the rest") from None
    except RegisterFull as error:
        raise CommandFailed(
            f"the temporary file can't be written: {error}; TMPDIR names another folder for it"
        ) from None


async def _audit(
    settings: Settings,
    kafka: KafkaAccess,
    workspace: Slug | None,
    *,
    search: bool | None,
    wish: RepublishWish | None,
    as_json: bool,
) -> tuple[AuditSummary, RepublishSeen | None]:
    import random

    from consumer.operations.audit.audit import open_audit
    from consumer.operations.audit.findings import AuditSummary
    from consumer.operations.audit.searching import SearchScope
    from consumer.operations.republish.plan import lost_in
    from consumer.operations.republish.republish import Republish

    chosen = SearchScope.ALL if search else SearchScope.NONE
    scope = SearchScope.SAMPLE if search is None else chosen

    summary, shown = AuditSummary(), _ShownFindings(as_json=as_json)
    with stages(quiet=as_json) as progress:
        opened = open_audit(
            settings,
            kafka,
            rng=random.Random(),
            scope=scope,
            workspace=workspace,
            progress=progress,
        )
        async with opened as audit:
            await audit.look()
            lost = []
            for found in audit.found(summary):
                shown(found)
                if wish is not None and (each := lost_in(found)) is not None:
                    lost.append(each)
            progress.end()  # a bar that is still there would be drawn among the lines
            shown.end()
            if wish is None:
                return summary, None
            if not as_json:
                _show(summary)
            republish = Republish(settings, kafka, audit, progress=progress)
            look = await republish.look(
                lost, summary, workspace=workspace, include_removed=wish.include_removed
            )
            progress.end()
            return summary, await republished(republish, look, wish, as_json=as_json)


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
            output.table(_FINDINGS, sorted(self._rows), title="findings")
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
    output.table(_TOTALS, rows, title="totals")
    search = summary.search
    output.line(
        f"searched for chunks of {search.documents} documents: {search.found} found, "
        f"{search.not_found} not found, {search.not_told} could not be told, "
        f"{search.not_looked_at} not looked at"
    )
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
        "chunks_not_found": found.not_found,
        "finding": found.text,
        "what_to_do": found.what_to_do,
    }


def _searched(summary: AuditSummary) -> dict[str, object]:
    search = summary.search
    return {
        "documents": search.documents,
        "chunks_found": search.found,
        "chunks_not_found": search.not_found,
        "chunks_not_told": search.not_told,
        "chunks_not_looked_at": search.not_looked_at,
        "workspaces_not_told": summary.unsearchable,
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
        "searched": _searched(summary),
    }
