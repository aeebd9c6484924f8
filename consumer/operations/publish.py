"""Publishing events of files: checked first, keyed by their identity, in the envelope asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass

from consumer.operations.progress import Advance, silent
from consumer.pipeline.acceptance import EventRules, accepted
from consumer.pipeline.decode import Malformed
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
