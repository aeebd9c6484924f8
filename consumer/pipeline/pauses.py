"""Workspaces that do not work while AnythingLLM does: paused one by one, the others go on.

What is always true:
- One clock a workspace, however many documents wait for it: they are not each other's retries.
- When its time is over one document tries; what it finds out holds for all of them.
- A failure is the workspace's own only when AnythingLLM did something for us meanwhile. Until that
  is known it is only a backoff; an outage excuses every workspace.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from consumer.model.fault import Failure
from consumer.resilience.retry import RetryPolicy
from consumer.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Backoff:
    """A workspace that failed the last time."""

    since: float
    until: float
    error: str
    rounds: int = 1
    trying: bool = False
    paused: bool = False
    over: asyncio.Event = field(default_factory=asyncio.Event)


class Pauses:
    """See the module's docstring.

    Args:
        policy: pauses between tries, up to a recovery period; with its number of attempts in vain
            a workspace is called paused.
        recovery: seconds between two tries of a paused workspace.
        well_at: when AnythingLLM last did something for us, monotonic seconds.
        rng: for jitter.
        clock: monotonic seconds.
        metrics: counts.
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
        self._backoffs: dict[str, _Backoff] = {}

    @property
    def paused(self) -> dict[str, str]:
        """Why each paused workspace is paused."""
        return {slug: each.error for slug, each in self._backoffs.items() if each.paused}

    def is_paused(self, slug: str) -> bool:
        """Whether documents for it should stand aside."""
        backoff = self._backoffs.get(slug)
        return backoff is not None and backoff.paused

    def troubled(self, slug: str) -> bool:
        """Whether it failed the last time."""
        return slug in self._backoffs

    def holds(self, slug: str) -> bool:
        """Whether nothing is to be sent to it now, because nobody is trying it."""
        backoff = self._backoffs.get(slug)
        return backoff is not None and not backoff.trying

    def failed(self, slug: str, failure: Failure) -> None:
        """The workspace itself could not be prepared or listed."""
        now = self._clock()
        backoff = self._backoffs.get(slug)
        if backoff is None:
            backoff = self._backoffs[slug] = _Backoff(now, now, failure.message)
        elif not backoff.trying:
            return  # the same failure, told by another of those who waited for it
        else:
            backoff.rounds += 1
        backoff.trying = False
        backoff.error = failure.message
        self._judge(slug, backoff)
        delay = self._recovery if backoff.paused else self._policy.delay(backoff.rounds, self._rng)
        backoff.until = now + max(delay, failure.retry_after or 0.0)

    def well(self, slug: str) -> None:
        """It was prepared and listed. Where somebody was trying it, everybody goes on."""
        backoff = self._backoffs.get(slug)
        if backoff is not None and backoff.trying:
            self._resume(slug)

    def excuse(self) -> None:
        """AnythingLLM as a whole is down: no workspace is to blame for what failed so far."""
        for slug in list(self._backoffs):
            self._resume(slug)

    async def clear(self, slug: str) -> None:
        """Return when something may be tried in the workspace."""
        while (backoff := self._backoffs.get(slug)) is not None:
            left = backoff.until - self._clock()
            if left <= 0:
                backoff.trying = True
                # Should this one be dropped before it finds anything out, the next one tries.
                backoff.until = self._clock() + self._recovery
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await backoff.over.wait()

    def _resume(self, slug: str) -> None:
        backoff = self._backoffs.pop(slug)
        backoff.over.set()
        if backoff.paused:
            log.info("workspace.resumed", workspace=slug)
        self._count()

    def _judge(self, slug: str, backoff: _Backoff) -> None:
        in_vain = backoff.rounds >= self._policy.attempts
        if backoff.paused or not in_vain or self._well_at() < backoff.since:
            return
        backoff.paused = True
        self._count()
        log.error(
            "workspace.paused",
            workspace=slug,
            error=backoff.error,
            consequence="its documents wait, the others go on; it is tried again by itself",
            what_to_do="`workspaces verify` says more about it",
        )

    def _count(self) -> None:
        self._metrics.workspaces_paused.set(len(self.paused))
