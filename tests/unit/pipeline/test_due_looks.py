"""When looks are due: by time, and nothing puts them off."""

from __future__ import annotations

from consumer.model.names import Slug
from consumer.pipeline.due_looks import DueLooks
from tests.unit.pipeline.doubles import AMBIGUITY, Clock, looks_of

DOCS, A, B = Slug("docs"), Slug("a"), Slug("b")


def test_a_doubt_makes_a_look_due_when_it_is_over() -> None:
    """No sooner, and not much later."""
    clock = Clock()
    looks = looks_of(clock)
    looks.doubt(DOCS)
    clock.now += AMBIGUITY - 1
    assert looks.due() == []
    clock.now += 31

    assert looks.due() == [DOCS]


def test_a_look_serves_what_was_due_before_it_began() -> None:
    """What becomes due while it lasts is due all the same."""
    clock = Clock()
    looks = looks_of(clock)
    looks.after(DOCS, 60)
    looks.after(DOCS, 120)
    looks.after(DOCS, 600)
    clock.now += 90
    begun = clock.now
    clock.now += 60
    looks.looked(DOCS, begun)
    assert looks.due() == [DOCS]
    looks.looked(DOCS, clock.now)
    assert looks.due() == []
    clock.now += 500

    assert looks.due() == [DOCS]


def test_however_many_doubts_there_are_few_times_are_kept() -> None:
    """Memory goes by the ambiguity time, not by doubts."""
    clock = Clock()
    looks = looks_of(clock)
    for _ in range(10_000):
        looks.doubt(DOCS)
        clock.now += 0.01

    assert len(looks._times[DOCS]) <= 5


def test_a_look_at_every_workspace_becomes_one_at_each() -> None:
    """Those that were due later for reasons of their own stay so."""
    clock = Clock()
    looks = looks_of(clock)
    looks.after(None, 30)
    looks.doubt(B)
    clock.now += 60
    assert looks.due() == [None]
    looks.every([A, B], clock.now)
    assert looks.due() == [A, B]
    looks.looked(A, clock.now)
    looks.looked(B, clock.now)
    assert looks.due() == []
    clock.now += AMBIGUITY

    assert looks.due() == [B]


def test_what_could_not_be_looked_at_is_due_again_later() -> None:
    """Nobody asks a sick workspace without end."""
    clock = Clock()
    looks = looks_of(clock)
    looks.after(DOCS, 0)
    clock.now += 30
    looks.again(DOCS, 300)
    assert looks.due() == []
    clock.now += 330

    assert looks.due() == [DOCS]


def test_a_look_is_late_by_little_of_the_ambiguity_time() -> None:
    """Where doubts are short, what waits for a look does not wait for much longer."""
    clock = Clock()
    clock.now += 0.5
    looks = DueLooks(5.0, clock)
    looks.doubt(DOCS)
    clock.now += 6.0

    assert (looks.grid, looks.due()) == (1.0, [DOCS])
    assert (looks_of(clock).grid, DueLooks(0.0, clock).grid) == (30.0, 1.0)
