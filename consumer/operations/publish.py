"""Publishing events as the Content Processor does: checked first, keyed by their identity."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass

from consumer.model.identity import IdentityTemplate
from consumer.model.names import Identity
from consumer.operations.progress import Advance, silent
from consumer.pipeline.decode import DecodeLimits, Malformed, decode

_IN_FLIGHT = 64


@dataclass(frozen=True, slots=True)
class Publishable:
    """A valid event: its bytes as they are, and the identity that becomes the record key."""

    identity: Identity
    value: bytes


def checked(
    values: Iterable[bytes], limits: DecodeLimits, identity: IdentityTemplate
) -> Iterator[Publishable | Malformed]:
    """Each event as it would be published, or what is wrong with it, in order."""
    for value in values:
        try:
            yield Publishable(identity.of(decode(value, limits)), value)
        except Malformed as malformed:
            yield malformed


async def publish_all(
    events: Iterable[Publishable],
    send: Callable[[bytes, bytes], Awaitable[None]],
    *,
    done: Advance = silent,
) -> int:
    """Publish events in order, each acknowledged; how many were published.

    Two events of one identity are never in flight together: a repeat by a new producer would
    change their order, and the older one would win.

    Args:
        events: what to publish.
        send: publishes a key and a value and returns when that is acknowledged; what it raises
            ends the publishing, after those in flight.
        done: takes how many more were published.
    """
    published = 0
    for window in _windows(events):
        outcomes = await asyncio.gather(
            *(send(event.identity.encode(), event.value) for event in window),
            return_exceptions=True,
        )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        published += len(window)
        done(len(window))
    return published


def _windows(events: Iterable[Publishable]) -> Iterator[list[Publishable]]:
    window: list[Publishable] = []
    for event in events:
        if len(window) >= _IN_FLIGHT or any(event.identity == one.identity for one in window):
            yield window
            window = []
        window.append(event)
    if window:
        yield window
