"""How many hits a search may ask for: some vector databases refuse more, and the server says 500.

16,384 and 10,000 are usual limits, quotas of clouds are lower, and no answer names them. So a
search that fails is tried with very few hits: where that fails too, it is not the number. Where it
does not, it is tried once more as it was: a hiccup taken for a limit would make what is not among
few hits look like what no search can show. Only where that fails again fewer are asked for, step by
step. What was found out holds for all who search a server, and for a while: what failed for another
reason at that moment would keep searches small for ever.

Whoever concludes something from what is not among the hits needs `Nearest.is_all`.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from consumer.anythingllm.api import Api
from consumer.anythingllm.errors import (
    AnswerTooLargeError,
    AnythingLLMError,
    AnythingLLMServerError,
)
from consumer.anythingllm.models import VectorHit
from consumer.anythingllm.transport import Errand
from consumer.model.names import Slug
from consumer.telemetry.library_log import library_logger

log = library_logger(__name__)

STEPS = (16_384, 10_000, 1_000, 300, 100, 10)  # hits; the first two are vendors' limits
REMEMBERED_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Nearest:
    """What a search gave.

    Args:
        hits: nearest first.
        asked: for how many it asked in the end; fewer than wanted where no more are given.
    """

    hits: tuple[VectorHit, ...]
    asked: int

    @property
    def is_all(self) -> bool:
        """Whether nothing was left out for the number of hits."""
        return len(self.hits) < self.asked


class HitLimit:
    """See the module's docstring; one for a server: each would find it out anew, and tell it."""

    def __init__(self) -> None:
        self._most: int | None = None
        self._until = float("-inf")
        self._suspect: tuple[int, float] | None = None  # hits that failed while few passed, when

    async def nearest(self, api: Api, errand: Errand, slug: Slug, query: str, top: int) -> Nearest:
        """Search, for as many hits as are wanted or, where that is refused, as can be had.

        Args:
            api: the endpoints; they may pass the breaker or not.
            errand: for all tries together.
            slug: the workspace.
            query: not blank.
            top: hits wanted.

        Raises:
            AnythingLLMError: as `Api.search`; the search fails for few hits as well.
        """
        if self._most is not None and errand.clock() < self._until:
            top = min(top, self._most)
        try:
            return Nearest(await api.search(errand, slug, query, top), top)
        except (AnythingLLMServerError, AnswerTooLargeError) as error:
            if isinstance(error, AnythingLLMServerError):
                if error.by_intermediary or not await _finds_few(api, errand, slug, query, top):
                    raise
                if not self._failed_before(top, errand.clock()):
                    # Where the time ends before the steps, the next search goes on from here.
                    self._suspect = top, errand.clock()
                    with suppress(AnythingLLMServerError):
                        hits = await api.search(errand, slug, query, top)
                        self._suspect = None
                        return Nearest(hits, top)
            if (found := await self._fewer(api, errand, slug, query, top)) is None:
                raise
            return found

    def _failed_before(self, top: int, now: float) -> bool:
        if self._suspect is None:
            return False
        hits, at = self._suspect
        return top >= hits and now < at + REMEMBERED_SECONDS

    async def _fewer(
        self, api: Api, errand: Errand, slug: Slug, query: str, top: int
    ) -> Nearest | None:
        for fewer in STEPS:
            if fewer >= top:
                continue
            try:
                found = Nearest(await api.search(errand, slug, query, fewer), fewer)
            except (AnythingLLMServerError, AnswerTooLargeError):
                continue
            self._note(slug, top, fewer, errand.clock())
            return found
        return None

    def _note(self, slug: Slug, wanted: int, given: int, now: float) -> None:
        if self._most is None:
            log.warning(
                "search.limited",
                workspace=slug,
                wanted=wanted,
                given=given,
                consequence="no search asks for more hits for some minutes; what they do not show"
                " counts as not looked at",
            )
        self._most, self._until = given, now + REMEMBERED_SECONDS


async def _finds_few(api: Api, errand: Errand, slug: Slug, query: str, top: int) -> bool:
    if top <= STEPS[-1]:
        return False
    try:
        await api.search(errand, slug, query, STEPS[-1])
    except AnythingLLMError:
        return False
    return True
