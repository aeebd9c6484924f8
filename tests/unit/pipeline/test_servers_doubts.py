"""Doubts of several servers: an event is committed when none of them holds it back."""

from __future__ import annotations

import pytest

from consumer.pipeline.servers import ServersDoubts
from tests.unit.pipeline.doubles import version
from tests.unit.pipeline.test_doubts import DOCS, A, Delivery, Scene, event


@pytest.fixture
def scenes() -> tuple[Scene, Scene]:
    return Scene(), Scene()


def joint(scenes: tuple[Scene, Scene]) -> ServersDoubts:
    return ServersDoubts([each.doubts for each in scenes])


def test_without_a_doubt_anywhere_it_is_settled_once(scenes: tuple[Scene, Scene]) -> None:
    delivery = Delivery()
    joint(scenes).settled(delivery, event(2), carried_out=True)
    assert delivery.told == ["settled True"]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_it_is_held_once_and_released_when_all_have_looked(
    scenes: tuple[Scene, Scene], order: tuple[int, int]
) -> None:
    delivery = Delivery()
    for scene in scenes:
        scene.doubts.note(DOCS, A, version(1))
    joint(scenes).settled(delivery, event(2), carried_out=True)

    assert delivery.told == ["held True"]
    assert delivery.left == ["a"]
    for n, which in enumerate(order):
        scene = scenes[which]
        scene.clock.now += 10_000
        scene.doubts.looked(DOCS, scene.clock.now)
        assert delivery.told == ["held True", *["released"] * n]
    assert delivery.left == []


def test_one_server_s_doubt_holds_it_as_long_as_that_lasts(scenes: tuple[Scene, Scene]) -> None:
    delivery = Delivery()
    scenes[1].doubts.note(DOCS, A, version(1))
    joint(scenes).settled(delivery, event(2), carried_out=True)

    assert delivery.told == ["held True"]
    scenes[1].clock.now += 10_000
    scenes[1].doubts.looked(DOCS, scenes[1].clock.now)
    assert delivery.told == ["held True", "released"]


def test_what_is_dropped_is_left_in_doubt_for_the_longest(scenes: tuple[Scene, Scene]) -> None:
    delivery = Delivery()
    scenes[0].doubts.note(DOCS, A, version(1))
    scenes[1].clock.now += 60
    scenes[1].doubts.note(DOCS, A, version(1))
    joint(scenes).dropped(delivery, event(2))

    assert delivery.told == []
    assert len(delivery.left) == 1
