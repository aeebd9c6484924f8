"""Workspaces whose creation got no clear answer: they are looked for before they are made again.

AnythingLLM gives a second workspace of the same name another slug, and nobody would ever remove
that. A creation is one row in its database, made at once when the request is there. So what ends
the doubt (`effects.DoubtEnd`): it is listed, AnythingLLM was away since, or it is not listed two
minutes later.
"""

from __future__ import annotations

from collections.abc import Callable

from consumer.anythingllm.effects import LATE_SECONDS
from consumer.anythingllm.errors import AnythingLLMPendingError
from consumer.anythingllm.restarts import Restarts
from consumer.model.names import Slug
from consumer.telemetry.library_log import library_logger

log = library_logger(__name__)

_AGAIN_SECONDS = 5.0  # between two looks


class CreationDoubts:
    """See the module's docstring.

    Args:
        restarts: knows when AnythingLLM was away.
        ambiguity: seconds in which a request without an answer may still take effect.
        clock: monotonic seconds.
    """

    def __init__(self, restarts: Restarts, *, ambiguity: float, clock: Callable[[], float]) -> None:
        self._restarts = restarts
        self._seconds = min(LATE_SECONDS, ambiguity)
        self._clock = clock
        self._since: dict[Slug, float] = {}

    async def begin(self, slug: Slug) -> None:
        """A creation was sent, and nobody knows what became of it."""
        self._since[slug] = self._clock()
        log.warning("workspace.in_doubt", workspace=slug, seconds=self._seconds)
        await self._restarts.look()

    async def may_come(self, slug: Slug) -> bool:
        """Whether it may still be made, by a request that was sent before."""
        if (since := self._since.get(slug)) is None:
            return False
        if self._clock() >= since + self._seconds:
            return False
        return not await self._restarts.was_away_since(since)

    def end(self, slug: Slug) -> None:
        """It is there, or it is made anew."""
        self._since.pop(slug, None)


def pending(slug: Slug) -> AnythingLLMPendingError:
    """What is raised while it may still come."""
    return AnythingLLMPendingError(
        f"workspace {slug!r} is being created: the request got no clear answer and may still take"
        " effect; it is looked for before it is sent again",
        ambiguous=True,
        retry_after=_AGAIN_SECONDS,
    )
