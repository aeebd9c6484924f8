"""Several instances, three servers, and whatever people do to the lists: random plays."""

from __future__ import annotations

import pytest

from tests.virtual.loop import virtually
from tests.virtual.servers_play import play

_QUICK = 1
SEEDS = 40  # `make test-slow` plays all of them


@pytest.mark.parametrize(
    "seed",
    [pytest.param(n, marks=[] if n < _QUICK else [pytest.mark.release]) for n in range(SEEDS)],
)
@virtually
async def test_nothing_is_lost_or_stored_twice_whatever_becomes_of_the_lists(seed: int) -> None:
    await play(seed)
