"""A limit of hits is found out, and nothing else is taken for one."""

from __future__ import annotations

from typing import Any

import pytest

from consumer.anythingllm import AnythingLLMServerError, AnythingLLMTimeoutError
from consumer.anythingllm.hit_limit import HitLimit
from consumer.anythingllm.models import VectorHit
from consumer.anythingllm.transport import Errand
from consumer.model.names import Slug

WANTED, LIMIT = 5_000, 1_000
SECONDS = 30.0


class Searches:
    """`Api.search` of a server that refuses more hits than its limit, each after some seconds."""

    def __init__(self, *, limit: int = WANTED, seconds: float = 0.1) -> None:
        self.now = 0.0
        self.limit = limit
        self.seconds = seconds
        self.hiccups = 0
        self.asked: list[int] = []

    async def search(
        self, errand: Errand, slug: Slug, query: str, top: int
    ) -> tuple[VectorHit, ...]:
        self.asked.append(top)
        is_refused = top > self.limit or self.hiccups > 0
        self.now += self.seconds if is_refused else 0.1
        if errand.left <= 0:
            raise AnythingLLMTimeoutError("the time for the call was over")
        if is_refused:
            self.hiccups = max(0, self.hiccups - 1)
            raise AnythingLLMServerError("500", http_status=500)
        return ()

    async def nearest(self, limit: HitLimit) -> int:
        errand = Errand(self.now + SECONDS, lambda: self.now)
        api: Any = self
        return (await limit.nearest(api, errand, Slug("docs"), "query", WANTED)).asked


async def test_a_search_that_fails_once_is_no_limit() -> None:
    """What is not among few hits would count as what no search can show."""
    searches, limit = Searches(), HitLimit()
    searches.hiccups = 1

    assert await searches.nearest(limit) == WANTED
    assert await searches.nearest(limit) == WANTED


@pytest.mark.parametrize("seconds", [0.1, 11.0])
async def test_a_limit_is_found_out_and_remembered(seconds: float) -> None:
    """The next search asks for no more at once."""
    searches, limit = Searches(limit=LIMIT, seconds=seconds), HitLimit()

    assert await searches.nearest(limit) == LIMIT
    before = len(searches.asked)
    assert await searches.nearest(limit) == LIMIT
    assert searches.asked[before:] == [LIMIT]


async def test_a_limit_that_is_refused_slowly_is_found_out_by_the_second_search() -> None:
    """The first one has no time left; rows would wait for ever if each began anew."""
    searches, limit = Searches(limit=LIMIT, seconds=16.0), HitLimit()
    with pytest.raises(AnythingLLMTimeoutError):
        await searches.nearest(limit)

    assert await searches.nearest(limit) == LIMIT
