"""Traces by the settings: nothing where they are off, a clear word where something is missing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from consumer.app.errors import StartFailedError
from consumer.app.service import Service
from consumer.settings import Settings, load_settings
from consumer.telemetry.otel import OtelTracing
from consumer.telemetry.tracing import NO_TRACING
from consumer.wiring.tracing import TracingUnavailableError, tracing_of


def settings(enabled: str) -> Settings:
    return load_settings({"ANYTHINGLLM_API_KEY": "k", "TRACING_ENABLED": enabled})


@pytest.fixture
def not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process without the extra ``otel``."""
    monkeypatch.delitem(sys.modules, "consumer.telemetry.otel", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)


def test_off_is_the_default_and_imports_nothing() -> None:
    """What is not there can't be in the way, and need not be installed."""
    code = (
        "import sys\n"
        "from consumer.app.service import Service\n"
        "from consumer.settings import load_settings\n"
        "Service(load_settings({'ANYTHINGLLM_API_KEY': 'k'}))\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)

    assert ended.stdout == "[]\n"


def test_off_is_the_same_for_everybody() -> None:
    assert tracing_of(settings("false")) is NO_TRACING


@pytest.mark.usefixtures("not_installed")
def test_what_is_missing_is_told_at_start() -> None:
    """Not at the first event, and not as a traceback."""
    with pytest.raises(TracingUnavailableError, match="opentelemetry is not installed"):
        tracing_of(settings("true"))
    with pytest.raises(StartFailedError, match=r"pip install \"\.\[service,otel\]\""):
        Service(settings("true"))


@pytest.mark.usefixtures("not_installed")
def test_off_needs_nothing() -> None:
    Service(settings("false"))


async def test_on_gives_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under instrumentation, whose exporter is not ours."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    monkeypatch.setattr(trace, "_TRACER_PROVIDER", TracerProvider(shutdown_on_exit=False))
    assert isinstance(tracing_of(settings("true")), OtelTracing)


@pytest.mark.parametrize(
    ("name", "value"), [("OTEL_BSP_SCHEDULE_DELAY", "-1"), ("OTEL_PYTHON_TRACER_PROVIDER", "junk")]
)
def test_what_opentelemetry_can_not_use_is_told_at_start(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(StartFailedError, match=r"^OpenTelemetry can't be set up: .*OTEL_"):
        Service(settings("true"))
