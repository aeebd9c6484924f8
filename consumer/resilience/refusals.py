"""Is something refused for good, or only now? Asked again over minutes, not believed at once. Pure.

A proxy that is being set up, or a token of its own that has run out, refuses for seconds or minutes
what it lets through afterwards. Taken for final, one such answer would fail an event that the next
try settles. Taken for passing, a refusal that lasts would keep its event waiting for ever.
"""

from __future__ import annotations

from collections.abc import Callable

FOR_GOOD_SECONDS = 300.0  # from the first refusal; what lasts shorter is no proof
FEWEST = 4  # refusals; two of them with an outage in between prove nothing
FORGOTTEN_SECONDS = 600.0  # without a refusal; the sweep comes back after 300


class Refusals:
    """A row of refusals, without anything let through in between.

    Args:
        clock: monotonic seconds.
        for_good: seconds that it has to last.
        forgotten: seconds without a refusal that end it.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        for_good: float = FOR_GOOD_SECONDS,
        forgotten: float = FORGOTTEN_SECONDS,
    ) -> None:
        self._clock = clock
        self._for_good = for_good
        self._forgotten = forgotten
        self._count = 0
        self._since = self._last = float("-inf")

    def refused(self) -> None:
        """Note that it was refused now."""
        now = self._clock()
        if now - self._last > self._forgotten:
            self.passed()
        if not self._count:
            self._since = now
        self._count, self._last = self._count + 1, now

    def passed(self) -> None:
        """Note that it was let through: whatever was refused before says nothing any more."""
        self._count = 0

    @property
    def is_for_good(self) -> bool:
        """Whether asking again would change nothing before somebody allows it."""
        return self._count >= FEWEST and self._last - self._since >= self._for_good

    @property
    def is_first(self) -> bool:
        """Whether the row has just begun."""
        return self._count == 1

    def __str__(self) -> str:
        return f"refused {self._count} times within {self._last - self._since:.0f} s"
