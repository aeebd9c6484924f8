"""Log lines for what many meet at once: few at first, then their number every few seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

INTERVAL_SECONDS = 10.0
BURST = 20  # lines of one event that are told in an interval


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


@dataclass(frozen=True, slots=True)
class KeptBack:
    """Lines that were not told.

    Args:
        event: their name.
        count: how many.
    """

    event: str
    count: int


@dataclass(slots=True)
class _Interval:
    """What was asked for since the interval of an event began."""

    began: float
    lines: int = 0


class LineBudget:
    """Lets each event have so many lines in an interval, and counts the others.

    For what no `RepeatedLine` stands for, whatever it is: ten thousand records that meet the same
    would write ten thousand lines, and hide what else there is.

    Args:
        clock: monotonic seconds.
        burst: lines of an event in an interval.
        interval: seconds.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        burst: int = BURST,
        interval: float = INTERVAL_SECONDS,
    ) -> None:
        self._clock = clock
        self._burst = burst
        self._interval = interval
        self._intervals: dict[str, _Interval] = {}  # names are those of the code: there are few
        self._untold: list[KeptBack] = []

    def takes(self, event: str) -> bool:
        """Whether one more line of it may be told now; else it is counted."""
        now = self._clock()
        interval = self._intervals.get(event)
        if interval is not None and self._is_over(interval, now):
            self._end(event)
            interval = None
        if interval is None:
            interval = self._intervals[event] = _Interval(now)
        interval.lines += 1
        return interval.lines <= self._burst

    def ended(self) -> list[KeptBack]:
        """What was kept back in intervals that are over; each is told once."""
        now = self._clock()
        for event in [e for e, each in self._intervals.items() if self._is_over(each, now)]:
            self._end(event)
        told, self._untold = self._untold, []
        return told

    def _is_over(self, interval: _Interval, now: float) -> bool:
        return now - interval.began >= self._interval

    def _end(self, event: str) -> None:
        kept_back = self._intervals.pop(event).lines - self._burst
        if kept_back > 0:
            self._untold.append(KeptBack(event, kept_back))
