"""Putting dead letters aside: each is copied to the parked topic, byte for byte.

The letter itself stays where it is: nothing is ever deleted. Two operators who park the same letter
at once leave two equal copies, which count as one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum

from consumer.contract.received_letter import Letter
from consumer.kafka.publisher import OutgoingRecord, TooLargeForTopicError
from consumer.kafka.topics import no_such_topic
from consumer.model.record import Record
from consumer.operations.letters.payloads import records_of
from consumer.operations.letters.reading import Letters
from consumer.operations.letters.standing import Standing
from consumer.operations.ports import KafkaAccess, RecordPublisher
from consumer.operations.progress import Progress, silent
from consumer.settings import Settings
from consumer.wiring.topics import DEAD_LETTER_HEADROOM

_RECORDS_IN_FLIGHT = 64
_BYTES_IN_FLIGHT = 16 * 1024 * 1024


class Became(StrEnum):
    """What became of a letter that was to be parked."""

    PARKED = "parked"
    GONE = "gone"
    TOO_LARGE = "too large"


@dataclass(frozen=True, slots=True)
class ParkingPlan:
    """What parking would do.

    Args:
        letters: to be parked.
        left: letters that were named and are left alone, with why.
    """

    letters: tuple[Letter, ...]
    left: tuple[tuple[Letter, str], ...]


def plan_parking(letters: Letters, wanted: Sequence[Letter]) -> ParkingPlan:
    """Which of the wanted letters can be parked: open ones that Kafka's client can read."""
    chosen, left = [], []
    for letter in wanted:
        standing = letters.of(letter)
        if standing is not Standing.OPEN:
            left.append((letter, f"it is {standing.value}"))
        elif letter.unreadable is not None:
            left.append((letter, "Kafka's client can't read it"))
        else:
            chosen.append(letter)
    return ParkingPlan(tuple(chosen), tuple(left))


async def park(
    settings: Settings,
    kafka: KafkaAccess,
    letters: Sequence[Letter],
    *,
    progress: Progress = silent,
) -> AsyncGenerator[tuple[Letter, Became], None]:
    """Publish letters to the parked topic.

    Args:
        settings: name the topic.
        kafka: opened for reading the letters again and publishing them.
        letters: to be parked.
        progress: called now and then.

    Yields:
        Each letter with what became of it, once Kafka has acknowledged it.

    Raises:
        KafkaUnavailableError: Kafka went away, or there is no parked topic; the letters that came
            so far are parked.
    """
    topic = settings.kafka.parked_topic
    async with kafka.admin() as admin:
        if not await admin.partitions(topic):
            raise no_such_topic(topic)
    seen = set()
    async with (
        kafka.publisher(
            max_record_bytes=settings.document.max_bytes + DEAD_LETTER_HEADROOM,
            delivery_timeout=settings.kafka.delivery_timeout_seconds,
        ) as publisher,
        aclosing(records_of(kafka, letters, progress=progress)) as records,
        aclosing(_windows(records)) as windows,
    ):
        async for window in windows:
            outcomes = await asyncio.gather(
                *(_publish(publisher, topic, record) for _, record in window),
                return_exceptions=True,
            )
            for (letter, _), became in zip(window, outcomes, strict=True):
                if isinstance(became, BaseException):
                    raise became
                seen.add(letter.at)
                yield letter, became
    for letter in letters:
        if letter.at not in seen:
            yield letter, Became.GONE


async def _publish(publisher: RecordPublisher, topic: str, record: Record) -> Became:
    try:
        await publisher.publish(OutgoingRecord(topic, record.key, record.value, record.headers))
    except TooLargeForTopicError:
        return Became.TOO_LARGE
    return Became.PARKED


async def _windows(
    records: AsyncIterator[tuple[Letter, Record]],
) -> AsyncGenerator[list[tuple[Letter, Record]], None]:
    window: list[tuple[Letter, Record]] = []
    size = 0
    async for letter, record in records:
        window.append((letter, record))
        size += record.size
        if len(window) >= _RECORDS_IN_FLIGHT or size >= _BYTES_IN_FLIGHT:
            yield window
            window, size = [], 0
    if window:
        yield window
