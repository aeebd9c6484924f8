"""How long a search may not show what is stored, as it was seen here.

Vector databases with replicas, or that build their index later, show a new vector after a moment,
or in one search and not in the next. `VectorDatabase.visible_seconds` says what is known of a kind;
how it is set up here is only seen by looking. So what a look has missed and a later one has found
is noted, and for the next hour everybody waits twice as long before anything counts as not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from consumer.anythingllm.vector_databases import VectorDatabase
from consumer.telemetry.library_log import library_logger

log = library_logger(__name__)

SURE_SECONDS = 120.0  # for which something is looked for at most; what comes later is not relied on
REMEMBERED_SECONDS = 3600.0
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 15.0
_GROWTH = 2.0


class Visibility:
    """See the module's docstring; one for a server.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._longest = 0.0
        self._until = float("-inf")

    def note(self, seconds: float) -> None:
        """Note that something was found so long after it was stored, and missed before."""
        if seconds < self._known:
            return
        if seconds > _GROWTH * self._known:
            log.warning(
                "vector_database.late",
                seconds=round(seconds, 1),
                consequence="what is stored is looked for longer before it counts as not stored",
                what_to_do="nothing, if the vector database has replicas or an index that follows",
            )
        self._longest, self._until = seconds, self._clock() + REMEMBERED_SECONDS

    def seconds(self, database: VectorDatabase) -> float:
        """How long after it was stored something may not be found in this database."""
        return max(database.visible_seconds, min(_GROWTH * self._known, SURE_SECONDS))

    @property
    def _known(self) -> float:
        return self._longest if self._clock() < self._until else 0.0


def pauses() -> Iterator[float]:
    """Seconds between looks for something that is not seen yet; they grow."""
    pause = _FIRST_PAUSE
    while True:
        yield pause
        pause = min(_GROWTH * pause, _LONGEST_PAUSE)
