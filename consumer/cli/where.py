"""``where``: the whole story of one document."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from consumer.cli import output
from consumer.cli.common import (
    CommandFailed,
    ConfigOption,
    ExitCode,
    JsonOption,
    ask_kafka,
    end,
    kafka_for,
    settings_for,
    wrong_usage,
)
from consumer.cli.instants import spaced
from consumer.cli.progress import stages
from consumer.cli.tables.column import Column, Meaning

if TYPE_CHECKING:
    from consumer.contract.received_result import ReceivedResult
    from consumer.operations.ports import KafkaAccess
    from consumer.operations.where.held import Held
    from consumer.operations.where.story import Story, StoryEvent, StoryLetter
    from consumer.settings import Settings

_MAX_ROWS = 12  # of one kind, towards people: the newest

DocumentArgument = Annotated[
    str, typer.Argument(metavar="DOCUMENT", help="A document id, or an identity (the record key).")
]
QuickOption = Annotated[
    bool,
    typer.Option(
        "--quick",
        help="Read only the partitions that the key leads to, and look only into the workspaces "
        "that its events name: enough where publishers use the identity as key.",
    ),
]


def where(
    context: typer.Context,
    document: DocumentArgument,
    quick: QuickOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Everything that is known of one document, on one screen.

    Its events with their place, and whether the service is done with them;
    results; dead letters and how they stand, with their replays; what every
    workspace has of it now, and whether searches find some of its chunks by
    their own text; others of the same source under another identity.

    Changes nothing. Reads whole topics unless --quick. What can't be had
    (AnythingLLM is down, a topic is missing) is said, and the rest is told.

    Exit 0: something is known of it. 3: it is nowhere.
    1: Kafka can't be had, or not everything could be looked at and nothing was found.
    With --json: one object on one line.

    Example: anythingllm-consumer where lantern-care
    """
    if not document:
        raise wrong_usage("a document id or an identity is needed")
    settings = settings_for(config, quiet_kafka=True, only_errors=True)
    story = _story(settings, kafka_for(context, settings), document, quick=quick, as_json=as_json)
    if as_json:
        output.json_line(_json(story))
    else:
        _show(story)
    if not story.is_found:
        if story.missing:
            raise CommandFailed("nothing was found, but not everything could be looked at")
        end(ExitCode.FOUND)


def _story(
    settings: Settings, kafka: KafkaAccess, document: str, *, quick: bool, as_json: bool
) -> Story:
    from consumer.operations.where.where import story_of

    with stages(quiet=as_json) as progress:
        return ask_kafka(story_of(settings, kafka, document, quick=quick, progress=progress))


# -- for people ------------------------------------------------------------------------------------


def _show(story: Story) -> None:
    from consumer.operations.where.story import verdict

    for text in verdict(story):
        output.line(text)
    if story.identities and set(story.identities) != {story.word}:
        output.line(f"identity: {', '.join(story.identities[:5])}")
    _table("events", _EVENTS, [_event_row(story, event) for event in story.events])
    _table("results", _RESULTS, [_result_row(result) for result in story.results])
    _table("dead letters", _LETTERS, [_letter_row(each) for each in story.letters])
    _table("stored now", _HELD, [_held_row(held) for held in story.held if held.stored])
    for held in story.held:
        for text in held.findings:
            output.note(f"{held.place}: {text}")
        if held.stored and held.searched.why_not:
            output.note(f"{held.place}: not searched for: {held.searched.why_not}")
    for same in story.same_source:
        output.note(
            f"{same.workspace} also stores {same.source_url} under the identity {same.identity}; "
            "if that is the same document, see DOCUMENT_IDENTITY"
        )
    if story.left_out:
        output.note(f"{story.left_out} older events and results are not told")
    for text in story.narrowed:
        output.note(f"looked at because of --quick: {text}")
    for part in story.missing:
        output.note(f"not known: {part.what}: {part.why}")


_EVENTS = (
    Column("event", Meaning.TEXT, 7),
    Column("at", Meaning.NAME, 9),
    Column("time", Meaning.TIME, 5),
    Column("version", Meaning.TIME, 4),
    Column("chunks", Meaning.NUMBER, 3),
    Column("progress", Meaning.STATE, 6),
    Column("result", Meaning.STATE, 8),
)
_RESULTS = (
    Column("completed", Meaning.TIME, 7),
    Column("status", Meaning.STATE, 9),
    Column("event", Meaning.NAME, 5),
    Column("stored", Meaning.NUMBER, 8),
    Column("ms", Meaning.NUMBER, 2),
    Column("trace", Meaning.NAME, 4),
    Column("errors", Meaning.TEXT, 6),
)
_LETTERS = (
    Column("dead letter", Meaning.NAME, 9),
    Column("failed", Meaning.TIME, 5),
    Column("standing", Meaning.STATE, 8),
    Column("reason", Meaning.TEXT, 7),
    Column("chunks failed", Meaning.NUMBER, 3),
    Column("replays", Meaning.TEXT, 4),
    Column("why", Meaning.TEXT, 6),
)
_HELD = (
    Column("workspace", Meaning.NAME, 9),
    Column("chunks", Meaning.NUMBER, 8),
    Column("of", Meaning.NUMBER, 7),
    Column("surplus", Meaning.NUMBER, 5),
    Column("version", Meaning.TIME, 4),
    Column("versions", Meaning.NUMBER, 3),
    Column("found by search", Meaning.TEXT, 6),
)


def _table(title: str, columns: tuple[Column, ...], rows: list[tuple[object, ...]]) -> None:
    if not rows:
        return
    if len(rows) > _MAX_ROWS:
        output.note(f"the newest {_MAX_ROWS} of {len(rows)} {title}; --json tells all")
    if not output.is_drawn():
        output.line("")
    output.table(columns, rows[-_MAX_ROWS:], title=title)


def _event_row(story: Story, event: StoryEvent) -> tuple[object, ...]:
    result = story.result_of(event)
    kind = f"{event.kind}, replayed" if event.original else event.kind
    return (
        f"{kind} (its key is not its identity)" if event.key_differs else kind,
        event.at,
        spaced(event.timestamp),
        spaced(event.version.instant) if event.version else "-",
        "-" if event.chunks is None else event.chunks,
        story.where_of(event),
        result.status if result else "-",
    )


def _result_row(result: ReceivedResult) -> tuple[object, ...]:
    source = result.source
    return (
        spaced(result.completed_at),
        result.status if result.replay_of is None else f"{result.status}, replayed",
        f"{source.topic}-{source.partition}@{source.offset}",
        f"{result.successful_uploads}/{result.total_chunks}",
        "-" if result.duration_ms is None else result.duration_ms,
        result.trace_id or "-",
        "; ".join(result.errors[:2]) or "-",
    )


def _letter_row(found: StoryLetter) -> tuple[object, ...]:
    letter, replayed = found.letter, found.replays.items()
    replays = ", ".join(f"{at}: {status or 'no result yet'}" for at, status in replayed)
    return (
        letter.event,
        spaced(letter.failed_at),
        found.standing,
        letter.reason,
        letter.failed_chunks or "-",
        replays or "-",
        letter.message or "-",
    )


def _held_row(held: Held) -> tuple[object, ...]:
    searched = held.searched
    found = f"{searched.found} of {searched.checked} looked for" if searched.checked else "-"
    return (
        held.place,
        held.stored,
        held.total,
        held.surplus,
        spaced(held.version.instant) if held.version else "-",
        held.versions,
        found,
    )


# -- for scripts -----------------------------------------------------------------------------------

_NOT_SHOWN = {
    "uploaded_chunk_ids", "unchanged_chunk_ids", "failed_chunks", "content_hash", "schema_version",
    "started_at",
}  # fmt: skip


def _json(story: Story) -> dict[str, Any]:
    from consumer.operations.where.story import verdict

    return {
        "document": story.word,
        "found": story.is_found,
        "verdict": verdict(story),
        "identities": story.identities,
        "events": [_event_json(story, event) for event in story.events],
        "results": [_result_json(result) for result in story.results],
        "dead_letters": [_letter_json(found) for found in story.letters],
        "stored": [_held_json(held) for held in story.held],
        "same_source": [
            {"workspace": each.workspace, "identity": each.identity, "source_url": each.source_url}
            for each in story.same_source
        ],
        "left_out": story.left_out,
        "narrowed": story.narrowed,
        "not_known": [{"what": part.what, "why": part.why} for part in story.missing],
    }


def _event_json(story: Story, event: StoryEvent) -> dict[str, Any]:
    result = story.result_of(event)
    return {
        "kind": event.kind,
        **asdict(event.at),
        "timestamp": event.timestamp,
        "document_id": event.document_id,
        "identity": event.identity,
        "workspace": event.workspace,
        "version": event.version.instant if event.version else None,
        "chunks": event.chunks,
        "key": event.key,
        "key_is_identity": not event.key_differs,
        "replay_of": asdict(event.original) if event.original else None,
        "committed": event.committed,
        "progress": story.progress_of(event).name.lower(),
        "records_in_front": 0 if event.committed else event.in_front,
        "status": result.status if result else None,
    }


def _result_json(result: ReceivedResult) -> dict[str, object]:
    silent = set() if result.reason else {"reason"}
    hidden = _NOT_SHOWN | silent | set(result.model_extra or ())
    return result.model_dump(mode="json", exclude=hidden)


def _letter_json(found: StoryLetter) -> dict[str, Any]:
    letter = found.letter
    return {
        "event_id": letter.event_id,
        **asdict(letter.at),
        "failed_at": letter.failed_at,
        "reason": letter.reason,
        "message": letter.message,
        "standing": found.standing,
        "attempts": letter.attempts,
        "failed_chunks": letter.failed_chunks,
        "failed_chunk_ids": letter.failed_chunk_ids,
        "origin": asdict(letter.origin.at),
        "trace_id": letter.trace_id,
        "replays": [{**asdict(at), "status": status} for at, status in found.replays.items()],
    }


def _held_json(held: Held) -> dict[str, Any]:
    return {
        **({} if held.server is None else {"server": held.server}),
        "workspace": held.workspace,
        "identity": held.identity,
        "document_ids": held.document_ids,
        "chunks": held.stored,
        "chunks_wanted": held.total,
        "chunks_of_newest_event": held.covered,
        "chunks_surplus": held.surplus,
        "complete": held.is_complete,
        "version": held.version.instant if held.version else None,
        "versions": held.versions,
        "findings": held.findings,
        "searched_for": held.searched.checked,
        "found_by_search": held.searched.found,
        "not_searched_because": held.searched.why_not or None,
    }
