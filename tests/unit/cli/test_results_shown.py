"""Results on a terminal: tables in pages, a row that is found early is seen early."""

from __future__ import annotations

import orjson
import pytest

from consumer.cli.manner import Manner
from consumer.cli.results_shown import ShownResults, how_far
from consumer.contract.received_result import read_result
from consumer.model.record import Coordinates, Record
from consumer.operations.results.reading import FoundResult, ReadSoFar
from tests.staging import result


class Screen:
    """What is shown, by a clock that the test moves."""

    def __init__(self, captured: pytest.CaptureFixture[str]) -> None:
        self.now = 0.0
        self.captured = captured
        self.so_far = ReadSoFar(total=1_000)
        self.show = ShownResults(
            as_json=False, drawn=True, so_far=self.so_far, clock=lambda: self.now
        )

    def take(self, number: int) -> None:
        value = orjson.dumps(result(number, errors=["why"]))
        record = Record(Coordinates("r", 0, number), 1_795_000_000_000, None, value)
        self.so_far.done += 1
        self.so_far.given = record.timestamp_ms
        self.show(FoundResult(record, read_result(value)))
        self.show.look()

    def shown(self) -> list[list[str]]:
        return [line.split("\t") for line in self.captured.readouterr().out.splitlines()]


@pytest.fixture
def screen(capsys: pytest.CaptureFixture[str]) -> Screen:
    return Screen(capsys)


def test_a_page_is_shown_when_it_is_full(screen: Screen) -> None:
    """With its heading, and without the columns that fit nowhere; the rest at the end."""
    for number in range(49):
        screen.take(number)
    assert screen.shown() == []
    screen.take(49)
    page = screen.shown()
    assert len(page) == 51
    assert page[0] == ["completed", "status", "workspace", "document", "stored", "errors"]
    assert page[1] == ["2026-11-22T10:00:00Z", "succeeded", "docs", "document-0", "1/1", "why"]
    screen.take(50)
    assert screen.shown() == []
    screen.show.end()
    assert len(screen.shown()) == 2
    screen.show.end()
    assert screen.shown() == []


def test_every_column_is_shown_if_wanted(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `--wide` promises: the trace as well."""
    monkeypatch.setattr("consumer.cli.results_shown.manner", lambda: Manner(wide=True))
    screen.take(0)
    screen.show.end()
    assert {"failed", "trace"} <= set(screen.shown()[0])


def test_a_row_does_not_wait_for_long(screen: Screen) -> None:
    """Reading may go on for minutes before the next one is found."""
    screen.take(0)
    screen.now = 0.9
    screen.show.look()
    assert screen.shown() == []
    screen.now = 1.1
    screen.show.look()
    assert len(screen.shown()) == 2


def test_how_far_it_got(screen: Screen) -> None:
    """Backwards it says how to go on; who follows has only counted."""
    screen.take(0)
    assert how_far(screen.show, screen.so_far, oldest_first=False) == (
        "interrupted: 1 result shown, 1 of 1,000 read, back to 2026-11-18T11:06:41Z; "
        "`--until 2026-11-18T11:06:41Z` goes on there"
    )
    assert how_far(screen.show, screen.so_far, oldest_first=True) == (
        "interrupted: 1 result shown, 1 of 1,000 read"
    )
    screen.so_far.total = None
    assert how_far(screen.show, screen.so_far, oldest_first=False) == "interrupted: 1 result shown"
