"""Lengths: what many documents of a size share is an outage, and what passes ends it."""

from __future__ import annotations

import pytest

from consumer.resilience.lengths import MANY, REFUSED, SHORT, Lengths

LONG = 5_000


class Scene:
    """A register with its clock."""

    def __init__(self, many: int = MANY) -> None:
        self.now = 1000.0
        self.lengths = Lengths(lambda: self.now, recovery=60.0, many=many)

    def failing(self, *lengths: int) -> Scene:
        for n, length in enumerate(lengths):
            self.lengths.failing(f"d{n}", length)
        return self

    def refused(self, *lengths: int) -> Scene:
        for length in lengths:
            self.lengths.control(length, failed=True)
        return self


@pytest.mark.parametrize(
    ("failing", "passed", "outage"),
    [
        ([LONG] * MANY, [], True),
        ([LONG] * (MANY - 1), [], False),
        ([LONG] * MANY, [LONG - 1], True),
        ([LONG] * MANY, [LONG], False),
        ([LONG] * MANY, [3 * LONG], False),
        ([LONG] * MANY, [LONG, 10], False),
        ([LONG + n for n in range(MANY)], [10], True),
        ([3 * LONG] * MANY, [], False),
        ([LONG] + [900] * MANY, [1], False),
    ],
)
def test_which_texts_share_an_outage(failing: list[int], passed: list[int], outage: bool) -> None:
    """Many documents fail with texts of its size, and nothing so long was stored meanwhile."""
    scene = Scene().failing(*failing)
    for length in passed:
        scene.lengths.passed(length)

    assert scene.lengths.is_outage(LONG, since=1000.0) is outage


def test_texts_of_one_piece_are_of_one_size() -> None:
    """AnythingLLM embeds them in one call, and a text of a line acquits one of a paragraph."""
    scene = Scene().failing(*[SHORT] * MANY)
    scene.lengths.passed(1)

    assert not scene.lengths.is_outage(SHORT, since=1000.0)


def test_what_was_stored_before_it_began_to_fail_acquits_no_length() -> None:
    """The outage may have begun since then."""
    scene = Scene().failing(*[LONG] * MANY)
    scene.lengths.passed(2 * LONG)
    scene.now += 10

    assert scene.lengths.is_outage(LONG, since=1005.0)
    assert not scene.lengths.is_outage(LONG, since=1000.0)


def test_what_is_done_counts_no_more_and_what_was_given_up_counts_for_a_while() -> None:
    """A document that was dropped says nothing; five that fell within an hour still do."""
    scene = Scene().failing(*[LONG] * MANY)
    scene.lengths.over("d0", given_up=True)
    assert scene.lengths.is_outage(LONG, since=1000.0)
    scene.lengths.over("d1", given_up=False)
    assert not scene.lengths.is_outage(LONG, since=1000.0)

    scene.lengths.failing("d1", LONG)
    scene.now += 1801
    assert not scene.lengths.is_outage(LONG, since=1000.0)


def test_switched_off_there_is_no_outage_of_a_size() -> None:
    """``FUSE_SHARE=0``: whoever sets it wants them dead-lettered."""
    assert not Scene(many=0).failing(*[LONG] * 100).lengths.is_outage(LONG, since=1000.0)


def test_a_length_whose_controls_fail_is_tried_once_a_recovery_period() -> None:
    """And nothing shorter waits for it."""
    scene = Scene().refused(*[LONG] * (REFUSED - 1))
    assert scene.lengths.wait(LONG) == 0.0
    scene.refused(2 * LONG)

    assert scene.lengths.wait(LONG) == scene.lengths.wait(3 * LONG) == 60.0
    assert scene.lengths.wait(LONG - 1) == 0.0
    scene.now += 60
    assert [scene.lengths.wait(LONG) for _ in range(3)] == [0.0, 60.0, 60.0]


def test_short_texts_are_never_held() -> None:
    """Where they fail it is an outage of everything, which the breaker and the pauses see."""
    assert Scene().refused(*[10] * 9).lengths.wait(SHORT) == 0.0


@pytest.mark.parametrize("length", [LONG, 2 * LONG])
@pytest.mark.parametrize("how", ["control", "document"])
def test_what_passes_and_is_as_long_lets_all_go_on(how: str, length: int) -> None:
    """At once: the others wait for no trial of their own."""
    scene = Scene().refused(*[LONG] * REFUSED)
    if how == "control":
        scene.lengths.control(length, failed=False)
    else:
        scene.lengths.passed(length)

    assert scene.lengths.wait(LONG) == 0.0


def test_what_passes_and_is_shorter_changes_nothing() -> None:
    """Short texts pass all the time in such an outage."""
    scene = Scene().refused(*[LONG] * REFUSED)
    scene.lengths.passed(LONG - 1)
    scene.lengths.control(LONG - 1, failed=False)

    assert scene.lengths.wait(LONG) == 60.0


def test_uploads_that_nobody_answers_count_once_a_document() -> None:
    """One poison text that is slow holds nobody, however often it is tried."""
    scene = Scene()
    for _ in range(10):
        scene.lengths.unanswered("d0", LONG)
    assert scene.lengths.wait(LONG) == 0.0
    for n in range(REFUSED):
        scene.lengths.unanswered(f"d{n}", LONG)

    assert scene.lengths.wait(LONG) == 60.0


def test_it_keeps_no_more_than_it_needs() -> None:
    """A million stored documents leave a handful of entries."""
    scene = Scene()
    for n in range(100_000):
        scene.lengths.passed(n * 7919 % 10_000)

    assert len(scene.lengths._passed) < 100
