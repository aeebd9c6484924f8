"""Publishing events of files: checked first, keyed by their identity, in the envelope asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass

from consumer.contract.envelope import fields_in, wrapping_of
from consumer.model.fields import text_of
from consumer.model.names import TraceId
from consumer.model.origin import origin_of
from consumer.model.record import Coordinates, Record
from consumer.operations.progress import Advance, silent
from consumer.pipeline.acceptance import EventRules, accepted
from consumer.pipeline.decode import Malformed
from consumer.pipeline.read import trace_of
from consumer.publishing import EventRecord, RecordMaker

_IN_FLIGHT = 64


@dataclass(frozen=True, slots=True)
class PublishingRules:
    """How events are published.

    Args:
        events: which ones the service takes.
        maker: makes the records.
        rewrap: whether every event gets the maker's envelope; else it stays in the one it is in.
    """

    events: EventRules
    maker: RecordMaker
    rewrap: bool = False


@dataclass(frozen=True, slots=True)
class PublishedEvent:
    """An event that was published.

    Args:
        at: where it lies; its offset is -1 where Kafka did not tell.
        name: its document's id; of a tombstone the identity.
        trace_id: by which its result, log lines and dead letter are found.
    """

    at: Coordinates
    name: str
    trace_id: TraceId


def published_event(record: Record) -> PublishedEvent:
    """The event in a record that was published, as the service will know it."""
    fields = fields_in(record.value, wrapping_of(record.headers)).fields
    key = (record.key or b"").decode(errors="replace")
    origin = origin_of(record, is_replay=False)
    trace_id = trace_of(record, text_of(fields.get("trace_id")), origin)
    return PublishedEvent(record.at, text_of(fields.get("id")) or key, trace_id)


def checked(values: Iterable[bytes], rules: PublishingRules) -> Iterator[EventRecord | Malformed]:
    """Each event as it would be published, or what is wrong with it, in order.

    Files have no headers: an event's envelope is known by its content.
    """
    record_of = rules.maker.rewrapped if rules.rewrap else rules.maker.as_it_is
    for value in values:
        try:
            yield record_of(value, accepted(value, rules.events))
        except Malformed as malformed:
            yield malformed


async def publish_all(
    events: Iterable[EventRecord],
    send: Callable[[EventRecord], Awaitable[None]],
    *,
    done: Advance = silent,
) -> int:
    """Publish events in order, each acknowledged; how many were published.

    Two events of one identity are never in flight together: a repeat by a new producer would
    change their order, and the older one would win.

    Args:
        events: what to publish.
        send: publishes a record and returns when that is acknowledged; what it raises ends the
            publishing, after those in flight.
        done: takes how many more were published.
    """
    published = 0
    for window in _windows(events):
        outcomes = await asyncio.gather(
            *map(send, window),
            return_exceptions=True,
        )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        published += len(window)
        done(len(window))
    return published


def _windows(events: Iterable[EventRecord]) -> Iterator[list[EventRecord]]:
    window: list[EventRecord] = []
    for event in events:
        if len(window) >= _IN_FLIGHT or any(event.key == one.key for one in window):
            yield window
            window = []
        window.append(event)
    if window:
        yield window
