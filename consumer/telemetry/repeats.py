"""A log line for something that many meet at once: one at first, then one every few seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

INTERVAL_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Repeats:
    """What a line stands for.

    Args:
        count: how often it happened since the line before.
        by_subject: the same by what it happened to (topics, for example).
    """

    count: int
    by_subject: Mapping[str, int]


class RepeatedLine:
    """Says when a line is due: at once, and then every `interval` seconds while it goes on.

    Forty documents that meet one outage would otherwise write forty lines a second, and whoever
    reads them at night does not see what else there is.

    Args:
        clock: monotonic seconds.
        interval: seconds between two lines, also across outages.
    """

    def __init__(self, clock: Callable[[], float], *, interval: float = INTERVAL_SECONDS) -> None:
        self._clock = clock
        self._interval = interval
        self._seen: Counter[str] = Counter()
        self._last: float | None = None

    def happened(self, subject: str) -> Repeats | None:
        """Note it once more.

        Returns:
            What a line that is due now stands for; None while none is due.
        """
        self._seen[subject] += 1
        now = self._clock()
        if self._last is not None and now - self._last < self._interval:
            return None
        repeats = Repeats(self._seen.total(), MappingProxyType(dict(self._seen)))
        self._last = now
        self._seen.clear()
        return repeats
