"""How long something may not be found: by the kind of database, and by what was seen."""

from __future__ import annotations

from itertools import islice

import pytest
from structlog.testing import capture_logs

from consumer.anythingllm.vector_databases import DATABASES
from consumer.anythingllm.visibility import (
    REMEMBERED_SECONDS,
    SURE_SECONDS,
    Visibility,
    pauses,
)

AT_ONCE, TEN_SECONDS = DATABASES["pgvector"], DATABASES["milvus"]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_nothing_is_late_that_was_never_seen_late() -> None:
    visibility = Visibility(Clock())

    assert visibility.seconds(AT_ONCE) == 0.0
    assert visibility.seconds(TEN_SECONDS) == TEN_SECONDS.visible_seconds


@pytest.mark.parametrize(
    ("late", "at_once", "ten"), [(0.3, 0.6, 10.0), (8.0, 16.0, 16.0), (90.0, 120.0, 120.0)]
)
def test_what_was_late_is_waited_for_twice_as_long(late: float, at_once: float, ten: float) -> None:
    """But not longer than anything is."""
    visibility = Visibility(Clock())
    visibility.note(late)

    assert visibility.seconds(AT_ONCE) == pytest.approx(at_once)
    assert visibility.seconds(TEN_SECONDS) == pytest.approx(ten)


def test_the_longest_counts_and_is_forgotten_after_an_hour() -> None:
    clock = Clock()
    visibility = Visibility(clock)
    with capture_logs() as logs:
        for late in (5.0, 3.0, 5.5, 6.0, 2.0):
            visibility.note(late)
    assert visibility.seconds(AT_ONCE) == 12.0
    assert [line["seconds"] for line in logs] == [5.0], "told once, and not for each a little later"
    clock.now = REMEMBERED_SECONDS
    assert visibility.seconds(AT_ONCE) == 0.0
    visibility.note(1.0)
    assert visibility.seconds(AT_ONCE) == 2.0


def test_pauses_grow_and_a_dozen_looks_are_enough() -> None:
    assert list(islice(pauses(), 8)) == [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0]
    assert sum(islice(pauses(), 12)) > SURE_SECONDS
