"""Lines for people: what is looked for first, sentences last, and only where a person looks."""

from __future__ import annotations

import io
import os
import pty
import time
from collections.abc import Iterator
from typing import Literal

import pytest
import structlog

from consumer.cli.common import settings_for
from consumer.telemetry.console import arranged
from consumer.telemetry.logs import format_for, set_up_logging

PLACE = {"topic": "documents", "partition": 0, "offset": 17}


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("setting", "on_a_terminal", "elsewhere"),
    [("auto", "console", "json"), ("json", "json", "json"), ("console", "console", "console")],
)
def test_a_format_that_is_set_wins(
    setting: Literal["auto", "json", "console"], on_a_terminal: str, elsewhere: str
) -> None:
    """Only `auto` asks who reads."""
    assert format_for(setting, is_terminal=True) == on_a_terminal
    assert format_for(setting, is_terminal=False) == elsewhere


def test_names_come_first_and_sentences_last() -> None:
    """Whoever looks for a document finds it at the same place of each line."""
    fields = {
        "what_to_do": "look", "chunks": 5, "error": "no", "workspace": "wiki", "trace_id": "ab",
        "logger": "consumer.x", "event": "document.waiting", "level": "info", "identity": "a",
        **PLACE,
    }  # fmt: skip

    assert dict(arranged(fields))["at"] == "documents-0@17"
    assert [name for name, _ in arranged(fields)] == [
        "level", "event", "identity", "workspace", "at", "chunks", "error", "what_to_do",
        "trace_id",
    ]  # fmt: skip


def test_what_is_empty_is_left_out_and_zero_is_not() -> None:
    """`failed=0` tells something, `error=None` does not."""
    fields = {"event": "document.settled", "failed": 0, "error": None, "errors": [], "note": ""}

    assert dict(arranged(fields)) == {"event": "document.settled", "failed": 0}


def test_of_libraries_the_name_is_told() -> None:
    """Ours are known by the event."""
    fields = {"event": "library.message", "logger": "aiokafka", "message": "hm"}

    assert dict(arranged(fields)) == fields


@pytest.mark.usefixtures("berlin")
def test_the_time_is_the_readers() -> None:
    """And not that of machines, which compare logs."""
    fields = {"timestamp": "2026-07-01T22:30:05.123456Z", "event": "service.started"}

    assert dict(arranged(fields))["timestamp"] == "2026-07-02 00:30:05"


def test_a_timestamp_that_is_none_is_shown_as_it_is() -> None:
    """A log call never raises."""
    assert dict(arranged({"timestamp": "soon\n"}))["timestamp"] == "soon\\n"


def test_a_line_as_it_looks() -> None:
    """Without colours, as in a file."""
    sink = io.BytesIO()
    set_up_logging(format="console", sink=sink)
    structlog.get_logger("x").warning(
        "workspace.waiting", seconds=3.0, error="it says no", workspace="wiki"
    )

    line = sink.getvalue().decode()
    assert line[19:] == (
        " [warning  ] workspace.waiting    workspace=wiki seconds=3.0 error='it says no'\n"
    )


@pytest.mark.parametrize(
    ("chosen", "is_terminal", "is_json"),
    [("", True, False), ("", False, True), ("json", True, True), ("console", False, False)],
)
def test_run_looks_who_reads(
    monkeypatch: pytest.MonkeyPatch, chosen: str, is_terminal: bool, is_json: bool
) -> None:
    """A terminal gets lines for people, a pipe gets JSON, and a setting decides for itself."""
    monkeypatch.setenv("ANYTHINGLLM_API_KEY", "CANARY-key")
    if chosen:
        monkeypatch.setenv("LOG_FORMAT", chosen)
    reading, writing = pty.openpty() if is_terminal else os.pipe()
    with os.fdopen(writing, "w") as stdout:
        monkeypatch.setattr("sys.stdout", stdout)
        settings_for(None, logs="stdout")
        structlog.get_logger("x").info("service.started", topics=["documents"])
        line = os.read(reading, 4_000)
    os.close(reading)

    assert line.startswith(b"{") is is_json
    assert (b"\x1b[" in line) is (is_terminal and not is_json)
