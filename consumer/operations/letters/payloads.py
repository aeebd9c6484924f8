"""The bytes of dead letters, read again one by one: a letter in memory is only its headers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager

from consumer.contract.received_letter import Letter
from consumer.model.record import Record
from consumer.operations.letters.original import NoOriginal, judged, places_of
from consumer.operations.ports import KafkaAccess, RecordReader
from consumer.operations.progress import Progress, silent


class Payloads:
    """Records by their places, over one connection; made by `open_payloads`.

    Quick for places of one partition in ascending order, which are read on.
    """

    def __init__(self, reader: RecordReader) -> None:
        self._reader = reader

    async def of(self, letter: Letter) -> Record | None:
        """The letter's own record, or None when it is not there any more."""
        return await self._reader.record(letter.at)

    async def original_of(self, letter: Letter, topics: Collection[str]) -> Record | NoOriginal:
        """The record that a letter stands for, or why it can't be had.

        See `consumer.operations.letters.original` for how it is recognised.

        Args:
            letter: by reference, or of others.
            topics: of events.
        """
        places = places_of(letter, topics)
        why = NoOriginal.GONE if places else NoOriginal.ELSEWHERE
        for place in places:
            found = judged(letter, place, await self._reader.record(place.at))
            if isinstance(found, Record):
                return found
            # What lies at one place says more than that nothing lies at the other.
            why = why if found is NoOriginal.GONE else found
        return why


@asynccontextmanager
async def open_payloads(kafka: KafkaAccess) -> AsyncIterator[Payloads]:
    """A connected `Payloads`.

    Raises:
        KafkaUnavailableError: Kafka can't be reached.
    """
    async with kafka.reader() as reader:
        yield Payloads(reader)


async def records_of(
    kafka: KafkaAccess, letters: Iterable[Letter], *, progress: Progress = silent
) -> AsyncGenerator[tuple[Letter, Record], None]:
    """The records of many letters, place by place; records that are gone are left out.

    Args:
        kafka: opened for reading.
        letters: in any order. The bytes of one record are in memory at a time.
        progress: called now and then.
    """
    ordered = sorted(letters, key=lambda letter: letter.at)
    async with open_payloads(kafka) as payloads:
        for number, letter in enumerate(ordered):
            record = await payloads.of(letter)
            progress(number + 1, len(ordered))
            if record is not None:
                yield letter, record
