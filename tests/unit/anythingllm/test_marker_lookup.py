"""Which listing serves whom: the decision, by a table."""

from __future__ import annotations

import pytest

from consumer.anythingllm.errors import AnythingLLMError
from consumer.anythingllm.marker_lookup import Choice, MarkerListing, Question, choose, due_after

SOUGHT = frozenset({"mine"})
DOWN = AnythingLLMError("down")


def _listing(started: float, ended: float, error: AnythingLLMError | None = None) -> MarkerListing:
    return MarkerListing(started, ended, SOUGHT, {}, error)


def _asks(
    at: float, since: float = 0.0, after: float | None = None, marker: str = "mine"
) -> Question:
    return Question(marker, since, since if after is None else after, at)


@pytest.mark.parametrize(
    ("last", "question", "now", "choice"),
    [
        pytest.param(None, _asks(1), 1, Choice.READ, id="the first look"),
        pytest.param(_listing(1, 5), _asks(3), 5, Choice.USE, id="it ran when we asked"),
        pytest.param(_listing(1, 5), _asks(3, since=2), 5, Choice.READ, id="older than the doubt"),
        pytest.param(_listing(1, 1.1), _asks(1.9), 1.9, Choice.USE, id="younger than our pause"),
        pytest.param(_listing(1, 1.1), _asks(2.0), 2.0, Choice.READ, id="our next look is due"),
        pytest.param(_listing(9, 9.1), _asks(9.1, after=9.05), 9.3, Choice.READ, id="not enough"),
        pytest.param(_listing(1, 1.1), _asks(1.15, since=1.12), 1.15, Choice.WAIT, id="too early"),
        pytest.param(_listing(1, 1.1), _asks(1.3, since=1.12), 1.3, Choice.READ, id="late enough"),
        pytest.param(_listing(1, 5), _asks(3, marker="other"), 5, Choice.READ, id="not sought"),
        pytest.param(_listing(1, 5, DOWN), _asks(3), 5, Choice.USE, id="a failure is shared"),
        pytest.param(_listing(1, 1.1, DOWN), _asks(1.15), 1.15, Choice.READ, id="but not kept"),
    ],
)
def test_which_listing_serves_whom(
    last: MarkerListing | None, question: Question, now: float, choice: Choice
) -> None:
    """Shared where it is in time, reused while it is young, never read in a hurry."""
    assert choose(last, question, now) is choice


@pytest.mark.parametrize(
    ("started", "pause"), [(100.0, 0.2), (100.1, 0.2), (101.0, 1.0), (120.0, 20.0), (500.0, 30.0)]
)
def test_looks_grow_rarer(started: float, pause: float) -> None:
    """As long as the doubt had lasted: each look doubles it, from 0.2 up to 30 seconds."""
    assert due_after(started, since=100.0) == pytest.approx(started + pause)


@pytest.mark.parametrize(("now", "choice"), [(44.9, Choice.WAIT), (45.1, Choice.READ)])
def test_a_listing_that_costs_much_is_read_rarely(now: float, choice: Choice) -> None:
    """Ten times as long as it took: the list of 50,000 files keeps the server's thread for 4 s."""
    listing = _listing(1, 5.4)

    assert choose(listing, _asks(now, since=20, after=20), now, 10.0) is choice
