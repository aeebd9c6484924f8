"""Filters on the command line: what people write, and what they get wrong."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from consumer.cli.dlq.options import Filters, checked_events
from consumer.cli.main import run_line
from consumer.model.names import Identity, Slug
from consumer.operations.letters.selection import Selection

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
COMMANDS = ["list", "stats", "park", "export"]


@pytest.fixture(autouse=True)
def aiokafka_as_loud_as_before() -> Iterator[None]:
    """Commands that tell Kafka's failures themselves silence it for the rest of the process."""
    log = logging.getLogger("aiokafka")
    propagates, handlers = log.propagate, list(log.handlers)
    yield
    log.propagate, log.handlers[:] = propagates, handlers


@pytest.mark.parametrize(
    ("offsets", "first", "last"),
    [("5:9", 5, 9), ("5:", 5, None), (":9", None, 9), ("7:7", 7, 7), (":", None, None)],
)
def test_offsets_are_a_range(offsets: str, first: int | None, last: int | None) -> None:
    """Both ends belong to it; either may be left out."""
    selection = Filters(offsets=offsets).selection(now=NOW)

    assert (selection.first_offset, selection.last_offset) == (first, last)


def test_every_option_reaches_the_selection() -> None:
    """A filter that is dropped on the way would replay everything."""
    filters = Filters(
        ["invalid", "foreign"], "c", "i", "d", "w", "t", "2h", "1h", 3, "5:9", "x"
    )  # fmt: skip

    assert all(getattr(filters, each.name) is not None for each in fields(Filters))
    assert filters.selection(["0@1"], now=NOW) == Selection(
        reasons=frozenset({"invalid", "foreign"}),
        cause="c",
        identity=Identity("i"),
        document="d",
        workspace=Slug("w"),
        technology="t",
        since=NOW - timedelta(hours=2),
        until=NOW - timedelta(hours=1),
        partition=3,
        first_offset=5,
        last_offset=9,
        text="x",
        events=frozenset({"0@1"}),
    )


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--reason", "rejcted"], "there are undecodable, invalid"),
        (["--since", "yesterday"], "--since 'yesterday' is no time"),
        (["--until", "5"], "--until '5' is no time"),
        (["--offsets", "9:5"], "--offsets '9:5' is no range"),
        (["--offsets", "5"], "--offsets '5' is no range"),
        (["--partition", "-1"], "--partition"),
        (["--partition", "x"], "--partition"),
        (["--unknown"], "--unknown"),
    ],
)
def test_wrong_filters_end_before_kafka_is_asked(
    command: str,
    options: list[str],
    problem: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """Exit 2 and a line with what is allowed. There is no Kafka here: asking it would be 1."""
    target = ["--output", str(tmp_path / "x")] if command == "export" else []

    assert run_line(["dlq", command, *options, *target]) == 2
    told = capsys.readouterr()
    assert problem in " ".join(told.err.split())
    assert told.out == ""


@pytest.mark.parametrize("command", ["park", "export"])
@pytest.mark.parametrize("name", ["doc-1", "", "1@", "@5", "90e54ce4", "foreign"])
def test_a_name_that_can_be_none_is_told(
    command: str, name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Who means a document says --document: acting on it by accident is worse than asking."""
    target = ["--output", str(tmp_path / "x")] if command == "export" else []

    assert run_line(["dlq", command, name, *target]) == 2
    assert "--document" in capsys.readouterr().err


def test_names_that_can_be_some_are_kept() -> None:
    """Event ids, places, with and without the topic, and names of foreign letters."""
    names = [
        "90e54ce4-6a57-5116-a27b-e2d683b0241c", "3@41", "documents.processed.dlq-3@41", "foreign-ab"
    ]  # fmt: skip

    assert checked_events(names) == names
    assert checked_events(None) == []


@pytest.mark.parametrize(
    "words",
    [
        ["list", "--limit", "-1"], ["stats", "--top", "x"], ["show"], ["show", "a", "b"], [],
        ["bury"], ["export", "--output"],
    ],
)  # fmt: skip
def test_wrong_usage_is_2(words: list[str]) -> None:
    """As everywhere."""
    assert run_line(["dlq", *words]) == 2


@pytest.mark.parametrize("command", [*COMMANDS, "show"])
def test_a_kafka_that_is_not_there_is_a_line(
    command: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Exit 1 with what was tried; an export leaves no file behind."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    target = tmp_path / "letters.ndjson"
    more = {"export": ["--output", str(target)], "show": ["0@0"]}.get(command, [])

    assert run_line(["dlq", command, *more]) == 1
    told = capsys.readouterr()
    assert told.err.startswith("error: Kafka: ")
    assert "127.0.0.1:1" in told.err
    assert list(tmp_path.iterdir()) == []
