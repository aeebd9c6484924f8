"""How long to wait before trying again: a decision, kept apart from the loop that waits."""

from __future__ import annotations

import random
from dataclasses import dataclass

_MAX_DOUBLINGS = 64  # 2**64 seconds is beyond every cap; more would only make huge integers


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with full jitter.

    Full jitter (a wait drawn evenly from zero up to the bound) spreads the retries of many chunks
    that failed together; with a fixed wait they would all come back in the same instant.

    Args:
        attempts: tries in all, the first one included.
        base: seconds, the bound of the first wait; it doubles with every further attempt.
        cap: seconds, no wait is longer.

    Raises:
        ValueError: a number makes no sense.
    """

    attempts: int = 3
    base: float = 1.0
    cap: float = 60.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError("attempts must be at least 1")
        if not 0 < self.base <= self.cap:
            raise ValueError("base must be above 0 and not above cap")

    def delay(self, attempt: int, rng: random.Random) -> float:
        """Seconds to wait after the given failed attempt (1 is the first), at most `cap`."""
        bound = self.base * 2 ** min(max(attempt, 1) - 1, _MAX_DOUBLINGS)
        return rng.uniform(0.0, min(self.cap, bound))
