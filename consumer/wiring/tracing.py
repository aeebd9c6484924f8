"""Traces by the settings; OpenTelemetry is imported here, and only where they ask for it."""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version

from consumer.settings import Settings, collector_secrets
from consumer.telemetry.logs import mask_also
from consumer.telemetry.tracing import NO_TRACING, Tracing

WHAT_TO_DO = "install anythingllm-consumer[otel], or set TRACING_ENABLED=false"
_OTEL = "consumer.telemetry.otel"
_SDK = "opentelemetry-sdk"


class TracingUnavailableError(Exception):
    """TRACING_ENABLED, and what it needs is not installed."""


def tracing_of(settings: Settings) -> Tracing:
    """What notes the work on events.

    Raises:
        TracingUnavailableError: the message says what is missing; `WHAT_TO_DO` has the cure.
    """
    if not settings.tracing.enabled:
        return NO_TRACING
    # First of all: OpenTelemetry's warning of a header in a wrong form repeats it.
    for secret in collector_secrets():
        mask_also(secret)
    try:
        made: Tracing = importlib.import_module(_OTEL).open_tracing(settings.kafka.group_id)
    except ImportError as error:
        raise TracingUnavailableError(
            f"TRACING_ENABLED=true needs OpenTelemetry, and {error.name} is not installed"
        ) from error
    return made


async def look_at_tracing(settings: Settings) -> str:
    """Which OpenTelemetry spans would go through.

    Raises:
        TracingUnavailableError: as `tracing_of`.
    """
    await tracing_of(settings).close()
    try:
        return f"OpenTelemetry {version(_SDK)}"
    except PackageNotFoundError:
        return "OpenTelemetry"
