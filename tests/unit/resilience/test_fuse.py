"""The fuse: every row of its table, and what it never does."""

from __future__ import annotations

import pytest

from consumer.resilience.fuse import Fuse, FuseRules

RULES = FuseRules(share=0.5, window=20, minimum=5, recovery=60.0)


class Scene:
    """A fuse with its clock."""

    def __init__(self, rules: FuseRules = RULES) -> None:
        self.now = 1000.0
        self.fuse = Fuse(rules, lambda: self.now)

    def documents(self, outcomes: str) -> list[bool]:
        """Documents in a row, ``x`` used up and ``.`` well; whether each changed the state."""
        return [self.fuse.note(used_up=each == "x") for each in outcomes]

    def blown(self) -> Scene:
        self.documents("xxxxx")
        assert self.fuse.blown
        return self

    def trial(self, *, used_up: bool) -> bool:
        """A recovery period later: one document is tried; whether that changed the state."""
        self.now += RULES.recovery
        assert self.fuse.admit()
        return self.fuse.note(used_up=used_up, is_trial=True)


@pytest.mark.parametrize(
    ("outcomes", "blown"),
    [
        ("", False),
        ("xxxx", False),
        ("xxxxx", True),
        (".....xxxxx", True),
        ("......xxxxx", False),
        ("x." * 5, True),
        ("x.." * 6, False),
        ("x" * 4 + "." * 20 + "x" * 4, False),
        ("." * 100 + "x" * 10, True),
    ],
)
def test_it_blows_when_most_of_the_last_documents_used_up_their_attempts(
    outcomes: str, blown: bool
) -> None:
    """At least so many, and such a share of the last ones; what was long ago is forgotten."""
    scene = Scene()
    changes = scene.documents(outcomes)

    assert scene.fuse.blown is blown
    assert sum(changes) == blown


def test_while_it_is_whole_everybody_is_admitted_at_once() -> None:
    """It costs nothing while nothing is wrong."""
    scene = Scene()

    assert [scene.fuse.admit() for _ in range(100)] == [True] * 100
    assert scene.fuse.trial_in == 0.0


def test_switched_off_it_never_blows() -> None:
    """``FUSE_SHARE=0``."""
    scene = Scene(FuseRules(share=0.0, window=20, minimum=1))
    scene.documents("x" * 100)

    assert not scene.fuse.blown


def test_blown_one_document_is_admitted_a_recovery_period() -> None:
    """The first one after a whole period; the others are told when the next one is due."""
    scene = Scene().blown()
    assert not scene.fuse.admit()
    assert scene.fuse.trial_in == 60.0
    scene.now += 59.0
    assert not scene.fuse.admit()
    scene.now += 1.0

    assert [scene.fuse.admit() for _ in range(10)] == [True] + [False] * 9
    assert scene.fuse.trial_in == 60.0


def test_a_trial_that_is_dropped_costs_one_period() -> None:
    """Nobody has to give it back: a revocation may take it away."""
    scene = Scene().blown()
    scene.now += 60.0
    assert scene.fuse.admit()
    scene.now += 60.0

    assert scene.fuse.admit()


def test_three_good_trials_in_a_row_make_it_whole() -> None:
    """With nothing remembered: the next bad document does not blow it again."""
    scene = Scene().blown()
    assert [scene.trial(used_up=False) for _ in range(3)] == [False, False, True]
    assert not scene.fuse.blown
    assert scene.fuse.remembered == 0

    scene.documents("xxxx")
    assert not scene.fuse.blown


def test_a_bad_trial_begins_the_row_anew() -> None:
    """Two good ones and a bad one prove nothing."""
    scene = Scene().blown()
    told = [scene.trial(used_up=bad) for bad in (False, False, True, False, False, False)]

    assert told == [False] * 5 + [True]


def test_what_was_begun_before_it_blew_says_nothing() -> None:
    """Only trials count while it is blown, well or not."""
    scene = Scene().blown()
    scene.documents("." * 50)
    assert scene.fuse.blown
    scene.trial(used_up=False)
    scene.trial(used_up=False)
    scene.documents("x" * 50)

    assert scene.trial(used_up=False)
    assert not scene.fuse.blown


def test_an_outage_excuses_what_failed_until_then() -> None:
    """It says nothing about the documents."""
    scene = Scene()
    scene.documents("xxxx")
    scene.fuse.excuse()
    scene.documents("xxxx")

    assert not scene.fuse.blown
    assert scene.fuse.remembered == 4


def test_an_outage_does_not_mend_a_blown_one() -> None:
    """What blew it may be there still."""
    scene = Scene().blown()
    scene.fuse.excuse()

    assert scene.fuse.blown


def test_the_share_is_of_what_is_remembered() -> None:
    """For the log line; nothing remembered is a share of nothing."""
    scene = Scene()
    assert scene.fuse.share == 0.0
    scene.documents("x...")

    assert (scene.fuse.share, scene.fuse.remembered) == (0.25, 4)
