"""When workspaces are due for a look by the sweep: kept by time, whoever has the partitions. Pure.

A look that is due is forgotten only when one that began later was completed. Neither a rebalance
nor another reason to look puts it off.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from consumer.model.names import Slug

# Times are rounded up to a grid, so that few are kept however many reasons there are.
_GRID_SHARE = 0.05  # of the ambiguity time
_FINEST_SECONDS, _COARSEST_SECONDS = 1.0, 30.0


class DueLooks:
    """See the module's docstring.

    Args:
        ambiguity: seconds in which a request without an answer may still take effect.
        clock: monotonic seconds.

    Attributes:
        ambiguity: as above.
        grid: seconds between two times at which a look can be due.
    """

    def __init__(self, ambiguity: float, clock: Callable[[], float]) -> None:
        self.ambiguity = ambiguity
        self._clock = clock
        self.grid = min(_COARSEST_SECONDS, max(_FINEST_SECONDS, _GRID_SHARE * ambiguity))
        self._times: dict[Slug | None, set[float]] = {}

    def doubt(self, slug: Slug | None) -> None:
        """Note that something may still take effect in a workspace, or (None) in any."""
        self.after(slug, self.ambiguity)

    def after(self, slug: Slug | None, seconds: float) -> None:
        """Note that a workspace, or (None) each of them, is to be looked at then."""
        at = math.ceil((self._clock() + seconds) / self.grid) * self.grid
        self._times.setdefault(slug, set()).add(at)

    def due(self) -> list[Slug | None]:
        """What is to be looked at now; None first: every workspace."""
        now = self._clock()
        due = [slug for slug, times in self._times.items() if min(times) <= now]
        return sorted(due, key=lambda slug: slug or "")

    def every(self, slugs: Iterable[Slug], asked: float) -> None:
        """Put a look at each of these in the place of that at every one that was due then."""
        self.looked(None, asked)
        for slug in slugs:
            self._times.setdefault(slug, set()).add(asked)

    def looked(self, slug: Slug | None, begun: float) -> None:
        """Note that a look that began then is complete."""
        self._times[slug] = {at for at in self._times.get(slug, ()) if at > begun}
        if not self._times[slug]:
            del self._times[slug]

    def again(self, slug: Slug, seconds: float) -> None:
        """Note that what is due of a workspace could not be done, and when to try it again."""
        self.looked(slug, self._clock())
        self.after(slug, seconds)
