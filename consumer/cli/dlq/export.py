"""``dlq export``: dead letters into a file, byte for byte."""

from __future__ import annotations

import gzip
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from consumer.cli import output
from consumer.cli.common import (
    CommandFailed,
    ConfigOption,
    ask_kafka,
    kafka_for,
    settings_for,
    wrong_usage,
)
from consumer.cli.dlq.options import (
    AllOption,
    EventsArgument,
    Filters,
    ParkedOption,
    checked_events,
    filtered,
)
from consumer.cli.dlq.reading import missing_names, read, selected
from consumer.cli.progress import reading_bar

if TYPE_CHECKING:
    from consumer.contract.received_letter import Letter
    from consumer.operations.ports import KafkaAccess


@filtered
def export(
    context: typer.Context,
    filters: Filters,
    events: EventsArgument = None,
    all_: AllOption = False,
    parked: ParkedOption = False,
    target: Annotated[
        str,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Where to; gzip if it ends in .gz; - is stdout."
        ),
    ] = "-",
    config: ConfigOption = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Say as JSON how many were written, where they go to a file."),
    ] = False,
) -> None:
    """Write open dead letters to a file, one JSON object a line. Changes nothing.

    Key, value and headers are in base64, so every byte is kept; they hold whole documents.
    `dlq replay --from-file FILE` replays them.

    Exit 1: something could not be exported; the file has the others.

    Example: anythingllm-consumer dlq export --all --output letters.ndjson.gz
    """
    settings = settings_for(config, needs_anythingllm=False, quiet_kafka=True)
    names = checked_events(events)
    selection = filters.selection(names)
    if target == "-" and sys.stdout.isatty():
        raise wrong_usage("whole documents are not for a terminal: say --output FILE")
    kafka = kafka_for(context, settings)
    letters = read(settings, kafka)
    chosen = selected(letters, selection, all_=all_ or bool(names), parked=parked)
    try:
        with _opened(target) as file:
            written = ask_kafka(_write(kafka, chosen, file))
    except OSError as error:
        if target == "-":
            raise  # the reader of the pipe has gone; `main` ends the command for that
        raise CommandFailed(f"{target}: {error.strerror or error}") from None
    if as_json and target != "-":
        output.json_line({"written": written, "chosen": len(chosen), "file": target})
    else:
        output.note(f"{written:,} dead letters{'' if target == '-' else f' in {target}'}")
    if missing := missing_names(names, letters):
        raise CommandFailed(f"there is no dead letter {', '.join(missing)}; see `dlq list --all`")
    if written < len(chosen):
        raise CommandFailed(
            f"{len(chosen) - written:,} can't be exported: they are gone, or can't be read at all"
        )


async def _write(kafka: KafkaAccess, chosen: Sequence[Letter], file: BinaryIO) -> int:
    from consumer.contract.exported_letter import encode_exported
    from consumer.operations.letters.payloads import records_of

    written = 0
    readable = [each for each in chosen if each.unreadable is None]
    with reading_bar("exporting") as move:
        # Closed also where the reader of a pipe has gone: at the loop's end what is open here and
        # what it has opened would be closed both at once, and asyncio would say so.
        async with aclosing(records_of(kafka, readable, progress=move)) as records:
            async for _, record in records:
                file.write(encode_exported(record))
                file.write(b"\n")
                written += 1
    return written


@contextmanager
def _opened(target: str) -> Iterator[BinaryIO]:
    """The file to write to; it gets its name only when it is whole."""
    if target == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(target)
    partly = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        # It holds whole documents, so only its owner may read it.
        with open(os.open(partly, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            if path.suffix == ".gz":
                with gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) as packed:
                    yield packed  # type: ignore[misc]  # writing is all that is done with it
            else:
                yield file
        partly.replace(path)
    finally:
        with suppress(FileNotFoundError):
            partly.unlink()
