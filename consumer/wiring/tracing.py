"""Traces by the settings; OpenTelemetry is imported here, and only where they ask for it."""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version

from consumer.settings import Settings, collector_address, collector_secrets
from consumer.telemetry.logs import mask_also, masked
from consumer.telemetry.tracing import NO_TRACING, Tracing

_INSTALL = (
    'install the extra otel (from a checkout: pip install ".[service,otel]"; in the image: build it'
    " with --build-arg PACKAGES=requirements-otel.lock), or set TRACING_ENABLED=false"
)
_MEND = "see the OTEL_… variables, or set TRACING_ENABLED=false"
_OTEL = "consumer.telemetry.otel"
_SDK = "opentelemetry-sdk"
_SHOWN = 300  # characters of what it says


class TracingUnavailableError(Exception):
    """TRACING_ENABLED, and what it needs is not installed, or is set to what can't be.

    Args:
        message: has no secret in it.
        what_to_do: the cure.
    """

    def __init__(self, message: str, what_to_do: str) -> None:
        super().__init__(message)
        self.what_to_do = what_to_do


def tracing_of(settings: Settings) -> Tracing:
    """What notes the work on events.

    Raises:
        TracingUnavailableError: the message says what is missing or wrong.
    """
    if not settings.tracing.enabled:
        return NO_TRACING
    # First of all: OpenTelemetry's warning of a header in a wrong form repeats it.
    for secret in collector_secrets():
        mask_also(secret)
    try:
        made: Tracing = importlib.import_module(_OTEL).open_tracing(settings.kafka.group_id)
    except ImportError as error:
        missing = error.name or "a part of it"
        raise TracingUnavailableError(
            f"TRACING_ENABLED=true needs OpenTelemetry, and {missing} is not installed", _INSTALL
        ) from error
    except Exception as error:
        # It reads its variables itself, and raises whatever a wrong one leads to.
        raise TracingUnavailableError(_told_of(error), _MEND) from error
    return made


async def look_at_tracing(settings: Settings) -> str:
    """Which OpenTelemetry spans would go through, and where to; nobody is asked there.

    Raises:
        TracingUnavailableError: as `tracing_of`; or spans would go nowhere.
    """
    await tracing_of(settings).close()
    return f"{_release()}: spans go to {_where()}"


def _release() -> str:
    try:
        return f"OpenTelemetry {version(_SDK)}"
    except PackageNotFoundError:
        return "OpenTelemetry"


def _where() -> str:
    if importlib.import_module(_OTEL).is_instrumented():
        return "where those of the instrumentation go"
    try:
        return f"{collector_address()} by HTTP"
    except ValueError as error:
        raise TracingUnavailableError(str(error), _MEND) from None


def _told_of(error: Exception) -> str:
    said = " ".join(masked(str(error)).split())[:_SHOWN]
    return f"OpenTelemetry can't be set up: {type(error).__name__}: {said}".removesuffix(": ")
