"""Has AnythingLLM been away since? Then what was sent to it before will not take effect any more.

Directly, a refused connection says so: its process does not listen. Behind a proxy nobody refuses,
so after an answer that leaves a doubt AnythingLLM is pinged. A ping costs it nothing, and however
busy it is, the answer is late and not another one. `PINGS` pings in a row that the proxy answers
itself with "nobody is there" (`effects.says_nobody_is_there`) mean that it was away. One is not
enough: a proxy answers so as well where it used a connection that AnythingLLM had just closed.

A proxy whose health check gives up on a busy server looks the same. So this ends a wait, and the
sweep still looks for what may come (`unit_upload`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from consumer.anythingllm.effects import says_nobody_is_there
from consumer.anythingllm.errors import AnythingLLMError
from consumer.telemetry.library_log import library_logger

log = library_logger(__name__)

PINGS = 2  # in a row
PING_PAUSE = 0.5  # seconds between them; AnythingLLM needs several seconds to start
PING_SECONDS = 5.0  # for one; who does not answer by then is busy, not away


class Restarts:
    """See the module's docstring; one for a server.

    Args:
        ping: raises `AnythingLLMError` unless AnythingLLM itself answers; ends in time.
        refused_at: when a connection was last refused, on the clock.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        ping: Callable[[], Awaitable[None]],
        *,
        refused_at: Callable[[], float],
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._ping = ping
        self._refused_at = refused_at
        self._clock = clock
        self._sleep = sleep
        self._turn = asyncio.Lock()
        self._looked_at = float("-inf")
        self._away_at = float("-inf")

    @property
    def away_at(self) -> float:
        """When it was last seen to be away, on the clock."""
        return max(self._refused_at(), self._away_at)

    async def was_away_since(self, moment: float) -> bool:
        """Whether it was away after that moment, on the clock; it looks where nobody knows."""
        if self.away_at <= moment:
            await self.look()
        return self.away_at > moment

    async def look(self) -> None:
        """Ping it, once for all who ask at a time; never raises `AnythingLLMError`."""
        asked = self._clock()
        async with self._turn:
            if max(self._looked_at, self.away_at) > asked:
                return  # others have looked meanwhile
            self._looked_at = self._clock()
            for number in range(1, PINGS + 1):
                if not await self._nobody_is_there():
                    return
                if number < PINGS:
                    await self._sleep(PING_PAUSE)
            log.info("anythingllm.away", pings=PINGS)
            self._away_at = self._clock()

    async def _nobody_is_there(self) -> bool:
        try:
            await self._ping()
        except AnythingLLMError as error:
            return says_nobody_is_there(error.http_status)
        return False
