"""What the service takes, by the settings; without its reader, so that commands start quickly."""

from __future__ import annotations

from consumer.pipeline.acceptance import EventRules
from consumer.pipeline.decode import DecodeLimits
from consumer.settings import Settings


def decode_limits(settings: Settings) -> DecodeLimits:
    """What is too large for an event."""
    document = settings.document
    return DecodeLimits(
        max_chunks=document.max_chunks,
        max_chunk_bytes=document.max_chunk_bytes,
        max_bytes=document.max_bytes,
    )


def event_rules(settings: Settings) -> EventRules:
    """What the service takes, for who has events and no records."""
    routing = settings.routing.rules()
    return EventRules(decode_limits(settings), routing, settings.document.envelopes)
