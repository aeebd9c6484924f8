"""Workspaces that do not work while AnythingLLM does: paused one by one, the others go on.

What is always true:
- A workspace has one clock, however many documents wait for it: they are not each other's retries.
- When the time is over, the document that has waited longest tries. What it finds out holds for all
  of them. A workspace that nobody waits for any more is forgotten: the next document finds it out.
- A failure is the workspace's own only when AnythingLLM did something for us meanwhile. Until that
  is known its documents only back off. An outage excuses every workspace.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice

import structlog

from consumer.model.fault import Failure
from consumer.model.names import Slug
from consumer.resilience.retry import RetryPolicy
from consumer.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

_SHORTEST_TIMER = 0.001  # seconds; a timer may go off a little early, which must not make a spin
_FORGOTTEN_AFTER = 10  # recovery periods; a document may be busy with its other chunks meanwhile


@dataclass(frozen=True, slots=True)
class PausedWorkspace:
    """How a paused workspace stands.

    Args:
        error: why it is paused.
        seconds: since it failed first.
        trial_in: seconds until a document may try it; 0 while one does, or none is there to.
        waiting: documents that wait for it.
    """

    slug: Slug
    error: str
    seconds: float
    trial_in: float
    waiting: int


@dataclass(slots=True)
class _TroubledWorkspace:
    """A workspace that failed the last time."""

    since: float
    until: float
    error: str
    rounds: int = 1
    trying: bool = False
    paused: bool = False
    # In the order in which they came; False for those that return when it is paused.
    waiting: dict[asyncio.Future[bool], bool] = field(default_factory=dict)
    timer: asyncio.TimerHandle | None = None


class Pauses:
    """See the module's docstring.

    Args:
        policy: pauses between tries, up to a recovery period. After its number of failed attempts a
            workspace is paused.
        recovery: seconds between two tries of a paused workspace.
        well_at: when AnythingLLM last did something for us, monotonic seconds.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        *,
        recovery: float,
        well_at: Callable[[], float],
        rng: random.Random,
        clock: Callable[[], float],
        metrics: Metrics,
    ) -> None:
        self._policy = policy
        self._recovery = recovery
        self._well_at = well_at
        self._rng = rng
        self._clock = clock
        self._metrics = metrics
        self._troubled: dict[Slug, _TroubledWorkspace] = {}
        self._on_pause: Callable[[Slug], None] = lambda slug: None

    def when_paused(self, listener: Callable[[Slug], None]) -> None:
        """Have the listener called with the slug whenever a workspace is paused.

        People will do something to it, such as resetting it.
        """
        self._on_pause = listener

    @property
    def paused(self) -> dict[Slug, str]:
        """Why each paused workspace is paused."""
        return {slug: each.error for slug, each in self._troubled.items() if each.paused}

    def standing(self, most: int) -> list[PausedWorkspace]:
        """How paused workspaces stand, the longest paused first, at most so many."""
        now = self._clock()
        paused = ((slug, each) for slug, each in self._troubled.items() if each.paused)
        return [
            PausedWorkspace(
                slug,
                each.error,
                seconds=now - each.since,
                trial_in=self.trial_in(slug),
                waiting=len(each.waiting),
            )
            for slug, each in islice(paused, most)
        ]

    def trial_in(self, slug: Slug) -> float:
        """Seconds until a document may try a workspace; 0 while one does, or it is well."""
        trouble = self._troubled.get(slug)
        if trouble is None or trouble.trying:
            return 0.0
        return max(0.0, trouble.until - self._clock())

    def is_paused(self, slug: Slug) -> bool:
        """Whether documents for it should stand aside."""
        trouble = self._troubled.get(slug)
        return trouble is not None and trouble.paused

    def troubled(self, slug: Slug) -> bool:
        """Whether it failed the last time."""
        return slug in self._troubled

    def holds(self, slug: Slug) -> bool:
        """Whether nothing is to be sent to it now: it failed, and no document is trying it."""
        trouble = self._troubled.get(slug)
        return trouble is not None and not trouble.trying

    def failed(self, slug: Slug, failure: Failure) -> None:
        """Note that the workspace itself could not be prepared or listed."""
        now = self._clock()
        trouble = self._troubled.get(slug)
        if trouble is None:
            trouble = self._troubled[slug] = _TroubledWorkspace(now, now, failure.message)
        elif not trouble.trying:
            return  # the same failure, noted by another document that waited for it
        else:
            trouble.rounds += 1
        trouble.trying = False
        trouble.error = failure.message
        self._judge(slug, trouble)
        delay = self._recovery if trouble.paused else self._policy.delay(trouble.rounds, self._rng)
        delay = max(delay, failure.retry_after or 0.0)
        trouble.until = now + delay
        self._set_timer(slug, trouble, anew=True)
        log.warning(
            "workspace.waiting", workspace=slug, error=failure.message, seconds=round(delay, 1)
        )

    def well(self, slug: Slug) -> None:
        """Note that it was prepared and listed. If a document was trying it, all of them go on."""
        trouble = self._troubled.get(slug)
        if trouble is not None and trouble.trying:
            self._resume(slug)

    def excuse(self) -> None:
        """Let all go on: AnythingLLM as a whole is down, so no workspace is to blame."""
        for slug in list(self._troubled):
            self._resume(slug)

    async def clear(self, slug: Slug, *, aside: bool = True) -> bool:
        """Return when something may be tried in the workspace.

        Args:
            slug: the workspace.
            aside: False for a document that has not given up its place. For it this returns False
                as soon as the workspace is paused.
        """
        trouble = self._troubled.get(slug)
        if trouble is None:
            return True
        if trouble.paused and not aside:
            return False
        if not trouble.waiting and trouble.until <= self._clock():
            self._begin_try(trouble)
            return True
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        trouble.waiting[turn] = aside
        self._set_timer(slug, trouble, anew=len(trouble.waiting) == 1)
        try:
            return await turn
        finally:
            trouble.waiting.pop(turn, None)

    def _begin_try(self, trouble: _TroubledWorkspace) -> None:
        trouble.trying = True
        # If this document is dropped before it finds anything out, the next one tries.
        trouble.until = self._clock() + self._recovery

    def _set_timer(self, slug: Slug, trouble: _TroubledWorkspace, *, anew: bool = False) -> None:
        """One timer for all: ten thousand would hold the event loop at the end of each pause."""
        if trouble.timer is not None:
            if not anew:
                return
            trouble.timer.cancel()
        left = max(self._due(trouble) - self._clock(), _SHORTEST_TIMER)
        loop = asyncio.get_running_loop()
        trouble.timer = loop.call_later(left, self._is_due, slug, trouble)

    def _due(self, trouble: _TroubledWorkspace) -> float:
        """When the next one may try, or nobody has waited for long."""
        return trouble.until + (0 if trouble.waiting else _FORGOTTEN_AFTER * self._recovery)

    def _is_due(self, slug: Slug, trouble: _TroubledWorkspace) -> None:
        trouble.timer = None
        if self._due(trouble) <= self._clock():
            if not trouble.waiting:
                self._resume(slug)
                return
            self._let_one_try(trouble)
        self._set_timer(slug, trouble)

    def _let_one_try(self, trouble: _TroubledWorkspace) -> None:
        while trouble.waiting:
            turn = next(iter(trouble.waiting))
            del trouble.waiting[turn]
            if not turn.done():  # cancelled, and its task has not run yet
                self._begin_try(trouble)
                turn.set_result(True)
                return

    def _send_aside(self, trouble: _TroubledWorkspace) -> None:
        """End the waits of documents in their places, which they would keep from others."""
        for turn in [turn for turn, aside in trouble.waiting.items() if not aside]:
            del trouble.waiting[turn]
            if not turn.done():
                turn.set_result(False)

    def _resume(self, slug: Slug) -> None:
        trouble = self._troubled.pop(slug)
        for turn in trouble.waiting:
            if not turn.done():
                turn.set_result(True)
        trouble.waiting.clear()
        if trouble.timer is not None:
            trouble.timer.cancel()
        if trouble.paused:
            log.info("workspace.resumed", workspace=slug)
        self._count()

    def _judge(self, slug: Slug, trouble: _TroubledWorkspace) -> None:
        in_vain = trouble.rounds >= self._policy.attempts
        if trouble.paused or not in_vain or self._well_at() < trouble.since:
            return
        trouble.paused = True
        self._send_aside(trouble)
        self._on_pause(slug)
        self._count()
        log.error(
            "workspace.paused",
            workspace=slug,
            error=trouble.error,
            consequence="its documents wait, the others go on; it is tried again by itself",
            what_to_do="`workspaces verify` says more about it",
        )

    def _count(self) -> None:
        self._metrics.workspaces_paused.set(len(self.paused))
