"""Is AnythingLLM as a whole down? The breaker, fed by what the documents meet, opened by a probe.

What is always true:
- A failure of a document does not open the breaker. Many failures in a row that were theirs or
  unclear only raise a suspicion, and then the deep probe decides: it passes during a run of poison
  documents.
- While the breaker is open, nothing is sent but one probe a recovery period, and all documents wait
  in one place. When a probe passes, all of them go on at once.
- When AnythingLLM asks for a rest (429, Retry-After), all documents keep it. A rest does not open
  the breaker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from consumer.model.fault import Failure, Fault
from consumer.resilience.breaker import CLOSED, OPEN, Breaker

log = structlog.get_logger(__name__)

_REST_SECONDS = 2.0  # for a busy server that does not say for how long


class Circuit:
    """See the module's docstring.

    Args:
        breaker: keeps the state; nothing else may feed it.
        probe: the deep probe; raises `Failure`.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        breaker: Breaker,
        probe: Callable[[], Awaitable[None]],
        *,
        clock: Callable[[], float],
    ) -> None:
        self._breaker = breaker
        self._probe = probe
        self._clock = clock
        self._busy_until = float("-inf")
        self._suspected = asyncio.Event()
        self._going = asyncio.Event()
        self._going.set()
        self._on_open: list[Callable[[], None]] = []
        self.well_at = float("-inf")
        breaker.add_listener(self._changed)

    @property
    def is_closed(self) -> bool:
        """Whether requests may be sent, as far as AnythingLLM's health goes."""
        return self._breaker.state == CLOSED

    @property
    def blocked(self) -> bool:
        """Whether nothing may be sent now."""
        return not self.is_closed or self._clock() < self._busy_until

    @property
    def rest_left(self) -> float:
        """Seconds until the rest is over that AnythingLLM asked for; 0: it asked for none."""
        return max(0.0, self._busy_until - self._clock())

    def when_it_opens(self, listener: Callable[[], None]) -> None:
        """Have the listener called: an outage explains what failed until then."""
        self._on_open.append(listener)

    def note(self, failure: Failure | None) -> None:
        """Note how a request went; None: well.

        A refusal counts as success: a server that refuses is alive. While the breaker is not
        closed, only probes count.
        """
        if not self.is_closed:
            return
        if failure is None or failure.fault is Fault.DOCUMENT:
            self.well_at = self._clock()
            self._breaker.note(None)
        elif failure.fault is Fault.BUSY:
            self._rest(failure)
        elif self._breaker.tripping:
            self._suspected.set()
        else:
            self._breaker.note(failure)

    async def clear(self) -> None:
        """Return when requests may be sent."""
        while self.blocked:
            await self._going.wait()
            await asyncio.sleep(max(0.0, self._busy_until - self._clock()))

    async def watch(self) -> None:
        """Probe on suspicion, and once a recovery period while the breaker is open. For ever."""
        while True:
            await self._suspected.wait()
            await self._judge()
            self._suspected.clear()
            while not self.is_closed:
                await asyncio.sleep(self._breaker.retry_after)
                self._breaker.half_open()
                await self._judge()

    async def _judge(self) -> None:
        try:
            await self._probe()
        except Failure as failure:
            if failure.fault is Fault.BUSY:
                self._rest(failure)
                self._breaker.note(None)
            else:
                log.warning("breaker.probe_failed", error=failure.message)
                # Not counted: a success of a removal, say, may have reset the count meanwhile, and
                # then nothing would open the breaker.
                self._breaker.open(failure)
        else:
            self.well_at = self._clock()
            self._breaker.note(None)

    def _rest(self, failure: Failure) -> None:
        seconds = _REST_SECONDS if failure.retry_after is None else failure.retry_after
        self._busy_until = max(self._busy_until, self._clock() + seconds)

    def _changed(self, old: str, new: str) -> None:
        if new == CLOSED:
            self._going.set()
            return
        self._going.clear()
        if new == OPEN and old == CLOSED:
            for listener in self._on_open:
                listener()
