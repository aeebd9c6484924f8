"""Where the bytes of a replay come from: the letter's topic, an exported file, or the original."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Sequence

from consumer.contract.exported_letter import decode_exported
from consumer.contract.received_letter import Letter, letter_of
from consumer.model.record import Coordinates, Record
from consumer.operations.letters.original import NoOriginal, chosen
from consumer.operations.letters.payloads import Payloads
from consumer.operations.ports import RecordReader
from consumer.operations.replay.verdict import ReplayVerdict, Skipped

Lines = Callable[[], Iterable[bytes]]
"""Gives the lines of an exported file, from its start each time."""

Work = Sequence[tuple[Letter, ReplayVerdict]]


class WrongFileError(Exception):
    """The file holds something else than exported letters; the message says where and what."""


def read_exported(lines: Lines | None) -> tuple[str, list[tuple[Letter, bytes | None]]]:
    """The digest of a file and the letters in it, with their keys; payloads are not kept.

    Raises:
        WrongFileError: a line is no exported letter.
    """
    digest = hashlib.sha256()
    found: dict[Coordinates, tuple[Letter, bytes | None]] = {}
    for number, line in enumerate(lines() if lines is not None else (), 1):
        digest.update(line + b"\n")
        try:
            record = decode_exported(line)
        except ValueError as error:
            raise WrongFileError(f"letter {number} of the file: {error}") from None
        found.setdefault(record.at, (letter_of(record), record.key))
    return digest.hexdigest(), list(found.values())


async def records_for(
    reader: RecordReader, work: Work, lines: Lines | None
) -> AsyncGenerator[tuple[Letter, ReplayVerdict, Record | None], None]:
    """Each letter with its record; None where it is gone. One record is in memory at a time.

    Raises:
        KafkaUnavailableError: Kafka can't be reached.
    """
    if lines is None:
        for letter, verdict in work:
            yield letter, verdict, await reader.record(letter.at)
        return
    wanted = {letter.at: (letter, verdict) for letter, verdict in work}
    for line in lines():
        record = decode_exported(line)
        if (found := wanted.pop(record.at, None)) is not None:
            yield *found, record


_SKIPPED = {
    NoOriginal.GONE: Skipped.ORIGINAL_GONE,
    NoOriginal.DIFFERS: Skipped.ORIGINAL_DIFFERS,
    NoOriginal.UNREADABLE: Skipped.ORIGINAL_UNREADABLE,
    NoOriginal.ELSEWHERE: Skipped.ORIGINAL_ELSEWHERE,
}


async def original_for(
    reader: RecordReader, letter: Letter, record: Record, topics: Collection[str]
) -> Record | Skipped:
    """The record to publish again: the letter's own bytes, or the original it refers to.

    Args:
        reader: of Kafka's topics.
        letter: the letter to replay.
        record: the letter's own record.
        topics: of events, which letters of others are followed to.

    Raises:
        KafkaUnavailableError: Kafka can't be reached.
    """
    if not letter.by_reference and letter.other is None:
        return record
    found = await Payloads(reader).original_of(letter, topics)
    if not letter.by_reference:
        return chosen(letter, record, found)
    return _SKIPPED[found] if isinstance(found, NoOriginal) else found
