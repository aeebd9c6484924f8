"""What is known of other instances: whether anything of theirs can be under way."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Others:
    """What is known of other instances.

    Args:
        hold_none: whether all partitions of the input topics are ours.
        taken_over_at: when one of them was last taken over from an owner that did not end in order,
            monotonic seconds.
        in_doubt_until: until when something may come that former owners had begun, epoch seconds.
        ambiguity: seconds in which a request without an answer may still take effect.
    """

    hold_none: Callable[[], bool]
    taken_over_at: Callable[[], float | None]
    in_doubt_until: Callable[[], float]
    ambiguity: float

    def silent_in(self, clock: float, epoch: float) -> float | None:
        """Seconds until nothing of theirs can be under way; None: nobody can say.

        Args:
            clock: now, monotonic seconds.
            epoch: now, epoch seconds.
        """
        if not self.hold_none():
            return None
        taken_over_at = self.taken_over_at()
        since = math.inf if taken_over_at is None else clock - taken_over_at
        left = min(self.in_doubt_until() - epoch, self.ambiguity)
        return max(self.ambiguity - since, left, 0.0)
