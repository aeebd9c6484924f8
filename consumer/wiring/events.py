"""How events are read, by the settings: the same for the service and for who only looks."""

from __future__ import annotations

from datetime import UTC, datetime

from consumer.pipeline.read import Reader
from consumer.settings import Settings
from consumer.telemetry.metrics import Metrics
from consumer.wiring.event_rules import decode_limits


def event_reader(settings: Settings, *, quiet: bool = False) -> Reader:
    """A reader by the service's settings, whose counts nobody sees.

    Args:
        settings: of the service.
        quiet: whether it logs nothing of what is odd.
    """
    return Reader(
        limits=decode_limits(settings),
        identity=settings.document.identity,
        routing=settings.routing.rules(),
        replay_topic=settings.kafka.replay_topic,
        metrics=Metrics(),
        now=lambda: datetime.now(UTC),
        envelopes=settings.document.envelopes,
        quiet=quiet,
    )
