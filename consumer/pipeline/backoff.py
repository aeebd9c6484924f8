"""How long work that failed waits before its next round.

The pause grows, has jitter, and is never shorter than AnythingLLM asked for. Work that has failed
a few rounds stands aside while it waits: an upload may still come for ten minutes and then fail
again, and its document would keep its place in flight for hours.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog

from consumer.model.fault import Failure, Fault
from consumer.model.names import Slug
from consumer.pipeline.gates import Gates
from consumer.pipeline.ports import RightToWork
from consumer.resilience.retry import RetryPolicy
from consumer.telemetry.metrics import Metrics
from consumer.telemetry.tracing import NO_TRACING, Tracing

log = structlog.get_logger(__name__)

T = TypeVar("T")

_AFTER_ASKED_SECONDS = 5.0  # at most this much later than asked, so that not all come at once


class Backoff:
    """See the module's docstring.

    Args:
        gates: while they hold, work waits there instead.
        policy: pauses between rounds. After its number of attempts work stands aside.
        tracing: notes each pause.
    """

    def __init__(
        self,
        gates: Gates,
        policy: RetryPolicy,
        *,
        rng: random.Random,
        metrics: Metrics,
        tracing: Tracing = NO_TRACING,
    ) -> None:
        self._gates = gates
        self._policy = policy
        self._rng = rng
        self._metrics = metrics
        self._tracing = tracing

    async def retry(
        self,
        ask: Callable[[], Awaitable[T]],
        right: RightToWork,
        *,
        rounds: int | None = None,
    ) -> T:
        """Ask until it goes well, for what proves nothing about a workspace.

        It waits for AnythingLLM as a whole and for no paused workspace. A removal works although
        nothing can be stored there, and its success must not call back the documents that wait to
        store something.

        Args:
            ask: a `Failure` of it ends the round.
            right: checked before every round.
            rounds: tries at most; None: for as long as it takes.

        Raises:
            FenceClosedError: the right has ended.
            Failure: the rounds are used up.
        """
        failed = 0
        while True:
            await self._gates.clear_of_outage(right)
            right.check()
            try:
                return await ask()
            except Failure as failure:
                self._gates.note(failure)
                failed += 1
                if failed == rounds:
                    raise
                await self.pause(failed, [failure], right, None)

    async def pause(
        self,
        rounds: int,
        failures: Sequence[Failure],
        right: RightToWork,
        slug: Slug | None,
        *,
        due: float | None = None,
    ) -> None:
        """Wait before the next round.

        Args:
            rounds: how many failed so far, this one included.
            failures: of this round, of what is tried again in the next one.
            right: how to wait.
            slug: the workspace; None where it is about no single one.
            due: seconds until a text is to be compared again (`consumer.pipeline.giving_up`): the
                work stands aside until then, or until what failed beside it is tried again.
        """
        if self._gates.holds(slug) and not _is_rest_without_end(failures):
            return  # the work waits at the gates, and no longer than it has to
        asked = [f.retry_after for f in failures if f.retry_after is not None]
        delay = math.inf
        if failures or due is None:
            delay = pause_of(self._policy, rounds, asked, self._rng)
        if due is not None:
            delay = min(delay, pause_of(self._policy, rounds, [due], self._rng))
        worst = failures[-1] if failures else None
        # What is only held, or compared later, was told when that began. Every second round less is
        # told: forty documents that wait for hours would write forty lines a minute.
        if worst is not None and rounds & (rounds - 1) == 0:
            log.warning(
                "document.waiting",
                round=rounds,
                chunks=len(failures),
                seconds=round(delay, 3),
                fault=worst.fault,
                error=worst.message,
            )
        long = due is not None or rounds >= self._policy.attempts
        with self._metrics.documents_waiting.track_inprogress(), self._tracing.wait("backoff"):
            async with right.aside() if long else right.long():
                await asyncio.sleep(delay)


def _is_rest_without_end(failures: Sequence[Failure]) -> bool:
    """Whether a server is busy and does not say for how long: it is asked ever less often.

    The gates open after two seconds. A proxy that says 429 for hours would be asked every two
    seconds by everybody.
    """
    return any(f.fault is Fault.BUSY and f.retry_after is None for f in failures)


def pause_of(policy: RetryPolicy, rounds: int, asked: Sequence[float], rng: random.Random) -> float:
    """Seconds between two rounds: growing, with jitter, or what was asked for and little more.

    A server that says when to come again is asked then. A pause that has grown over a long outage
    would keep work waiting after its end.
    """
    delay = policy.delay(rounds, rng)
    return max(asked) + min(delay, _AFTER_ASKED_SECONDS) if asked else delay
