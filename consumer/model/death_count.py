"""How often AnythingLLM died of one unit, as far as that is proven."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DeathCount:
    """Deaths that nothing but this unit's upload explains.

    Args:
        count: how many, at least 1.
        first: of the first one, epoch seconds.
        last: of the last one, epoch seconds.
    """

    count: int
    first: float
    last: float

    @property
    def spread(self) -> float:
        """Seconds from the first to the last."""
        return self.last - self.first

    def with_one(self, at: float) -> DeathCount:
        """The count after one more death, epoch seconds; it may be an earlier one."""
        return DeathCount(self.count + 1, min(self.first, at), max(self.last, at))
