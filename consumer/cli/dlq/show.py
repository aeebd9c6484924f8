"""``dlq show``: everything about one dead letter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from consumer.cli import output
from consumer.cli.common import (
    CommandFailed,
    ConfigOption,
    JsonOption,
    ask_kafka,
    kafka_for,
    settings_for,
)
from consumer.cli.dlq.letters_shown import as_object, show_table
from consumer.cli.dlq.reading import read
from consumer.cli.tables.column import FACTS
from consumer.cli.times import when

if TYPE_CHECKING:
    from consumer.contract.received_letter import Letter
    from consumer.model.record import Headers, Record
    from consumer.operations.letters.reading import Letters
    from consumer.operations.letters.stored_now import StoredNow
    from consumer.operations.ports import KafkaAccess
    from consumer.settings import Settings

_CHUNKS_SHOWN = 20


def show(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            metavar="EVENT",
            help="An event id, a place (partition@offset or topic-partition@offset), a document "
            "id or an identity.",
            show_default=False,
        ),
    ],
    payload: Annotated[
        bool, typer.Option("--payload", help="Show the whole event, too: it is document text.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show everything about one dead letter. Changes nothing.

    How it stands and what can be done, why it failed, its key, its headers and
    how the event begins, its replays and their results, its earlier letters,
    and what of its document AnythingLLM holds now (where ANYTHINGLLM_API_KEY
    is set).

    Of a document with several letters all are listed; with --json each of them is a line.

    Example: anythingllm-consumer dlq show 3@41
    """
    settings = settings_for(config, needs_anythingllm=False, quiet_kafka=True)
    kafka = kafka_for(context, settings)
    letters = read(settings, kafka, as_json=as_json)
    found = _found(name, letters)
    if not found:
        raise CommandFailed(
            f"there is no dead letter of {name!r}; `dlq list --all` shows all there are"
        )
    if len(found) > 1 and not as_json:
        show_table(found, letters)
        output.note(f"{len(found)} letters of {name}: show one by its event id or place")
        return
    for letter in found:
        seen = ask_kafka(_look(settings, kafka, letter))
        if as_json:
            output.json_line(_object(settings, letter, letters, seen, payload))
        else:
            _show(settings, letter, letters, seen)
            _show_payload(letter, seen.event, payload)


def _found(name: str, letters: Letters) -> list[Letter]:
    """The letters that a name means: of each event the one that stands for it, newest first.

    The name of a place means the letter there, whatever became of its event.
    """
    from consumer.operations.letters.selection import is_named
    from consumer.operations.letters.standing import Standing

    every = (*letters.letters, *letters.parked)
    exactly = [each for each in every if is_named(each, name) and name != each.event]
    if exactly:
        return exactly[:1]
    named = [each for each in every if name in (each.event, each.identity, each.document_id)]
    by_event: dict[str, Letter] = {}
    for each in named:
        if letters.of(each) is not Standing.REPLACED:
            by_event.setdefault(letters.standings.name_of(each), each)
    return list(by_event.values())


@dataclass(frozen=True, slots=True)
class _LetterLook:
    """What was asked for one letter.

    Args:
        stored: what AnythingLLM holds of its document.
        own: the letter's own record; None when it is not there any more.
        event: the event's bytes: those of the original, for a letter by reference.
    """

    stored: StoredNow
    own: Record | None
    event: Record | None


async def _look(settings: Settings, kafka: KafkaAccess, letter: Letter) -> _LetterLook:
    from consumer.operations.letters.original import NoOriginal, event_topics
    from consumer.operations.letters.payloads import open_payloads
    from consumer.operations.letters.stored_now import stored_now

    stored = await stored_now(settings, letter)
    async with open_payloads(kafka) as payloads:
        own = await payloads.of(letter)
        if not letter.by_reference:
            return _LetterLook(stored, own, own)
        original = await payloads.original_of(letter, event_topics(settings))
        return _LetterLook(stored, own, None if isinstance(original, NoOriginal) else original)


# -- for scripts -----------------------------------------------------------------------------------


def _object(
    settings: Settings,
    letter: Letter,
    letters: Letters,
    seen: _LetterLook,
    payload: bool,
) -> dict[str, object]:
    own = seen.own
    shown = {
        **as_object(letter, letters),
        "next_step": _next_step(settings, letter, letters),
        "letters": [
            {
                "at": asdict(each.at),
                "failed_at": when(each.failed_at),
                "reason": each.reason,
                "message": each.message,
                "replays": each.origin.replays,
                "standing": letters.of(each),
            }
            for each in letters.standings.letters_of(letter)
        ],
        "answered": letters.standings.is_answered(letter),
        "stored_now": asdict(seen.stored),
        "key": None if own is None else _text(own.key),
        "headers": [[name, _text(value)] for name, value in _of_publisher(own)],
    }
    if letter.by_reference:
        shown["original_there"] = seen.event is not None
    if payload:
        shown["payload"] = _payload(seen.event)
    return shown


def _of_publisher(record: Record | None) -> Headers:
    """The headers that the event came with, without those that make it a letter."""
    from consumer.contract.dead_letter import restored

    return restored(record.headers) if record is not None else ()


def _text(raw: bytes | None) -> object:
    """Bytes as text where they are UTF-8, else in base64."""
    import base64

    try:
        return None if raw is None else raw.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(raw or b"").decode()}


def _payload(record: Record | None) -> object:
    """The event as JSON where it is some, else its bytes in base64."""
    import base64

    from consumer.contract.envelope import as_json

    if record is None or record.value is None:
        return None
    try:
        return as_json(record.value)
    except ValueError:
        return {"base64": base64.b64encode(record.value).decode()}


# -- for people ------------------------------------------------------------------------------------


def _next_step(settings: Settings, letter: Letter, letters: Letters) -> str:
    from consumer.operations.letters.advice import next_step

    return next_step(letter, letters.of(letter), max_replays=settings.replay.max_replays)


def _show(settings: Settings, letter: Letter, letters: Letters, seen: _LetterLook) -> None:
    from consumer.operations.letters.preview import headers_shown, preview_of, readable

    facts = [
        ("event", letter.event),
        ("standing", letters.of(letter)),
        ("what to do", _next_step(settings, letter, letters)),
        ("reason", letter.reason),
        ("cause", letter.message or "-"),
        ("given up at", letter.stage),
        ("attempts", letter.attempts or None),
        ("http status", letter.http_status),
        ("failed chunks", _chunks(letter)),
        ("stored now", _stored(letter, seen.stored)),
        ("identity", letter.identity),
        ("document", letter.document_id),
        ("workspace", letter.workspace),
        ("technology", letter.technology),
        ("failed", when(letter.failed_at)),
        ("first failed", when(letter.first_failed_at) if letter.first_failed_at else None),
        ("replays", f"{letter.origin.replays} of {settings.replay.max_replays}"),
        ("original", f"{letter.origin.at} of {when(letter.origin.timestamp)}"),
        ("letter", f"{letter.at}, {letter.size:,} bytes{_kind(letter)}"),
        ("key", None if seen.own is None else readable(seen.own.key)),
        ("event begins", preview_of(seen.event, seen.own, letter.failed_chunk_ids)),
        ("trace", letter.trace_id),
        ("group", letter.group),
        ("written by", None if letter.other is None else letter.other.writer),
        ("about", None if letter.other is None else letter.other.original),
    ]
    output.table(FACTS, [(name, value) for name, value in facts if value is not None])
    if headers := headers_shown(_of_publisher(seen.own)):
        output.table(("header", "value"), headers)
    _show_replays(letter, letters)
    _show_history(letters.standings.letters_of(letter), letters)


def _chunks(letter: Letter) -> str | None:
    if not letter.failed_chunks:
        return None
    ids = letter.failed_chunk_ids[:_CHUNKS_SHOWN]
    more = letter.failed_chunks - len(ids)
    return f"{letter.failed_chunks}: {', '.join(ids)}" + (f" and {more} more" if more else "")


def _stored(letter: Letter, stored: StoredNow) -> str:
    if stored.unknown is not None:
        return stored.unknown
    if not stored.chunks:
        return "nothing of this document"
    text = f"{stored.chunks} chunks; the newest version there, {stored.version}, has "
    text += f"{stored.total_chunks}"
    if letter.failed_chunk_ids:
        now, named = len(stored.failed_stored), len(letter.failed_chunk_ids)
        text += f"; of the {named} that failed {now} are stored"
    return text


def _kind(letter: Letter) -> str:
    if letter.by_reference:
        return ", by reference"
    return ", a tombstone" if letter.tombstone else ""


def _show_replays(letter: Letter, letters: Letters) -> None:
    replays = letters.standings.replays_of(letter)
    runs = letters.standings.runs_of(letter)
    if replays:
        output.table(
            ("replay", "run", "result"),
            [(at, runs.get(at) or "-", status or "none yet") for at, status in replays.items()],
        )


def _show_history(history: Sequence[Letter], letters: Letters) -> None:
    if len(history) > 1:
        output.table(
            ("letter", "failed", "reason", "replays", "standing", "cause"),
            [
                (
                    each.at,
                    when(each.failed_at),
                    each.reason,
                    each.origin.replays,
                    letters.of(each),
                    each.message or "-",
                )
                for each in history
            ],
        )


def _show_payload(letter: Letter, record: Record | None, payload: bool) -> None:
    if letter.by_reference and record is None:
        output.note("its original is not there any more: it has to be published again")
    elif letter.by_reference:
        output.note("its original is still there: it can be replayed")
    if not payload:
        return
    if record is None:
        output.note("there is no payload to show")
        return
    import orjson

    text = orjson.dumps(_payload(record), option=orjson.OPT_INDENT_2).decode()
    output.whole(text)
