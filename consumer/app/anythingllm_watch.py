"""How AnythingLLM was at the last look, until the first upload shows it better."""

from __future__ import annotations

import asyncio
import random

import structlog

from consumer.anythingllm import AnythingLLMClient, AnythingLLMHealth
from consumer.app.errors import StartFailedError
from consumer.app.starting import START_RETRY

log = structlog.get_logger(__name__)


class AnythingLLMWatch:
    """Looks at the start, and on until AnythingLLM is well."""

    def __init__(self, client: AnythingLLMClient, *, rng: random.Random) -> None:
        self._client = client
        self._rng = rng
        self._trouble: str | None = None

    @property
    def trouble(self) -> str | None:
        """What was wrong at the last look; None when nothing was."""
        return self._trouble

    async def look(self, *, fail_fast: bool = False) -> None:
        """Remember how it is, and log it when that is news.

        Raises:
            StartFailedError: with fail_fast, when it does not answer or refuses our key.
        """
        health = await self._client.health_check()
        before, self._trouble = self._trouble, _trouble(health)
        if self._trouble is None:
            log.info("anythingllm.reached", status=health["status"], version=health.get("version"))
        elif fail_fast:
            raise StartFailedError(self._trouble)
        elif before != self._trouble:
            log.error(
                "start.waiting",
                error=self._trouble,
                consequence="documents wait until it answers; nothing is lost",
            )

    async def look_until_well(self) -> None:
        """Look on, so that what is wrong at the start stays in ``/readyz`` until it is mended."""
        tries = 0
        while self._trouble is not None:
            tries += 1
            await asyncio.sleep(START_RETRY.delay(tries, self._rng))
            await self.look()


def _trouble(health: AnythingLLMHealth) -> str | None:
    """The first thing that is wrong: the rest of a health check fails for the same reason."""
    if health["status"] != "unhealthy":
        return None
    where = str(health["endpoint"]).removesuffix("/api")
    for name, one in health["components"].items():
        if "error" in one:
            what = str(one["error"]).removeprefix("AnythingLLM ")
            return f"AnythingLLM's {name} at {where}: {what}"
    return f"AnythingLLM at {where}: {health['error']}"
