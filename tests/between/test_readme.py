"""The figures in the README's table "when this fails" are those of the matrix."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
import structlog

from tests.between.behaviours import BEHAVIOURS, LATE, PATIENCE, Restarts
from tests.between.cell import WINDOW, Cell
from tests.between.matrix import play
from tests.tiers import quick_first

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()
OPERATIONS = ("upload", "removal", "listing", "proof", "readiness", "creation")


@pytest.fixture(autouse=True)
def quiet() -> None:
    """As in the matrix."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def row(beginning: str) -> str:
    """The row of the table that begins like this."""
    (found,) = [line for line in README.splitlines() if line.startswith(f"| {beginning}")]
    return found


def seconds_in(text: str, pattern: str) -> list[float]:
    """The figures that a row gives, in seconds."""
    found = re.search(pattern, text)
    assert found is not None, text
    return [float(each) for each in found.groups()]


def settled(behaviour: str, operations: Sequence[str], *, lasts: bool = False) -> float:
    """Seconds from the begin until all is settled, the longest of the cells; all are right."""
    times = []
    for operation in operations:
        figures = play(Cell(behaviour, operation, lasts))
        assert figures.wrong == []
        assert figures.settled is not None
        times.append(figures.settled)
    return max(times)


def test_what_a_proxy_that_gives_up_costs() -> None:
    """Its patience and the server's time are those that the row names."""
    text = row("what stands in between gives up waiting")
    patience, late, most = seconds_in(text, r"after (\d+) s.* takes (\d+) s.* within (\d+) s")

    assert (patience, late) == (PATIENCE, LATE)
    assert settled("gives-up-524", OPERATIONS) <= most


def test_what_a_restart_in_between_costs() -> None:
    """Of the server behind a proxy, and of the proxy alone."""
    text = row("what stands in between restarts")
    away, server, proxy = seconds_in(text, r"for (\d+) s.* (\d+) s after .* (\d+) s after ")

    for name, most in (("server-restarts-502", server), ("restarts-502", proxy)):
        way = BEHAVIOURS[name].way
        assert isinstance(way, Restarts)
        assert way.seconds == away
        assert settled(name, OPERATIONS) - away <= most


@pytest.mark.parametrize("behaviour", quick_first(["resets-answer", "answers-502", "says-html"]))
def test_what_wrong_answers_cost(behaviour: str) -> None:
    """For as long as the row says, one kind of request at a time."""
    text = row("what stands in between answers one kind of request wrongly")
    minutes, most = seconds_in(text, r"for (\d+) minutes.* (\d+) s after ")

    assert minutes * 60 == WINDOW
    assert settled(behaviour, OPERATIONS, lasts=True) - WINDOW <= most
