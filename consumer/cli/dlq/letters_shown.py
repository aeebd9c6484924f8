"""What people and scripts see of a dead letter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from consumer.cli import output
from consumer.cli.causes import short_cause
from consumer.cli.tables.column import Column, Meaning
from consumer.cli.times import when
from consumer.model.origin import instant_of

if TYPE_CHECKING:
    from consumer.contract.other_letter import OtherLetter
    from consumer.contract.received_letter import Letter
    from consumer.operations.letters.reading import Letters

_COLUMNS = (
    Column("event", Meaning.NAME, 1),
    Column("place", Meaning.NAME, 9),
    Column("failed", Meaning.TIME, 5),
    Column("reason", Meaning.TEXT, 7),
    Column("workspace", Meaning.NAME, 3),
    Column("document", Meaning.NAME, 8),
    Column("replays", Meaning.NUMBER, 2),
    Column("standing", Meaning.STATE, 4),
    Column("cause", Meaning.TEXT, 6),
)

DRAWN_AT_MOST = 50  # letters on a terminal


def as_object(letter: Letter, letters: Letters) -> dict[str, object]:
    """A letter for scripts: everything but its payload."""
    replays = letters.standings.replays_of(letter)
    return {
        "event": letter.event,
        "standing": letters.of(letter),
        "at": asdict(letter.at),
        "foreign": not letter.is_ours,
        "reason": letter.reason,
        "message": letter.message,
        "stage": letter.stage,
        "identity": letter.identity,
        "document_id": letter.document_id,
        "workspace": letter.workspace,
        "technology": letter.technology,
        "attempts": letter.attempts,
        "failed_chunks": letter.failed_chunks,
        "failed_chunk_ids": letter.failed_chunk_ids,
        "http_status": letter.http_status,
        "first_failed_at": when(letter.first_failed_at or letter.failed_at),
        "failed_at": when(letter.failed_at),
        "original": {
            **asdict(letter.origin.at),
            "timestamp": when(letter.origin.timestamp),
        },
        "replays": letter.origin.replays,
        "replayed": [{**asdict(at), "status": status} for at, status in replays.items()],
        "last_status": letters.standings.last_status_of(letter),
        "trace_id": letter.trace_id,
        "group": letter.group,
        "tombstone": letter.tombstone,
        "by_reference": letter.by_reference,
        "other": None if letter.other is None else _other(letter.other),
        "bytes": letter.size,
    }


def _other(other: OtherLetter) -> dict[str, object]:
    """What a letter of others says of itself."""
    at = other.timestamp_ms
    return {
        "convention": other.convention,
        "owner": other.owner or None,
        "original": {
            **asdict(other.original),
            "timestamp": None if at is None else when(instant_of(at)),
        },
        "has_payload": other.has_payload,
    }


def show_table(chosen: Sequence[Letter], letters: Letters) -> None:
    """Letters for people; nothing where there are none."""
    narrow = output.has_to_fit()
    rows = [
        (
            each.event,
            f"{each.at.partition}@{each.at.offset}",
            each.failed_at,
            each.reason,
            each.workspace or "-",
            each.document_id or each.identity or "-",
            each.origin.replays,
            letters.of(each),
            _cause(each, narrow=narrow),
        )
        for each in chosen
    ]
    if not rows:
        return
    # On a terminal only the columns that differ: nine columns fit nowhere.
    kept = [
        number for number in range(len(_COLUMNS)) if not (narrow and _says_nothing(rows, number))
    ]
    output.table(
        [_COLUMNS[number] for number in kept], [[row[number] for number in kept] for row in rows]
    )


def _cause(letter: Letter, *, narrow: bool) -> str:
    """Why, and of letters of others who says so."""
    parts = (letter.other.writer if letter.other else "", letter.message)
    cause = ": ".join(filter(None, parts)) or "-"
    return short_cause(cause, letter.document_id) if narrow else cause


def _says_nothing(rows: Sequence[Sequence[object]], number: int) -> bool:
    return {row[number] for row in rows} in ({"open"}, {0})
