"""Namesakes: how soon each is looked into again."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from consumer.model.names import ServerName, Slug
from consumer.pipeline.namesakes import Namesakes

AT = (ServerName("b"), Slug("docs"))


def known_for(looks: Sequence[bool]) -> float:
    """Seconds until the next look is due, after looks with our home lived in or not."""
    now = 0.0
    namesakes = Namesakes(lambda: now)
    for is_lived_in in looks:
        namesakes.note(*AT, now, is_lived_in=is_lived_in)
    while namesakes.is_known(*AT):
        now += 1
    return now


@pytest.mark.parametrize(
    ("looks", "seconds"),
    [
        ([False], 60),
        ([True], 60),
        ([False] * 9, 60),
        ([True] * 2, 120),
        ([False, False, True], 120),
        ([True] * 9, 600),
        ([*[True] * 9, False], 60),
    ],
)
def test_it_is_looked_into_ever_later_once_our_home_is_lived_in(
    looks: Sequence[bool], seconds: float
) -> None:
    assert known_for(looks) == seconds


def test_one_that_went_is_not_known_when_it_comes_again() -> None:
    namesakes = Namesakes(lambda: 0.0)
    namesakes.note(*AT, 0.0, is_lived_in=True)
    namesakes.drop(*AT)
    assert not namesakes.is_known(*AT)
