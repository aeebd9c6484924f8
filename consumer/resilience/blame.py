"""Is it this one, or would anything have failed? Pure.

A chunk that failed a few times may be poison, or may have met a sick server each time. The
difference shows in how *others* fared at the same time. The question asked here: if this one were
no different from the others, how likely would it be that it fails every single time? It is blamed
only when that is next to impossible.

The answer is the rule of succession: after ``failures`` of ``attempts`` by others, the next attempt
fails with ``(failures + 1) / (attempts + 2)``, and each own failure is evidence as well. So a few
attempts prove little, a server on which everything fails never leads to blame, and a server that
fails every other time needs about thirty failures in a row.

Own and other attempts must alternate at random: against a server that fails every second call, a
strict alternation would blame the one that is always second.
"""

from __future__ import annotations

from dataclasses import dataclass

CHANCE = 1e-6  # below this it is no chance: one false dead letter in a million trials


@dataclass(frozen=True, slots=True)
class Tally:
    """Attempts, and how many of them failed."""

    attempts: int = 0
    failures: int = 0

    def with_one(self, *, failed: bool) -> Tally:
        """The tally after one more attempt."""
        return Tally(self.attempts + 1, self.failures + failed)

    def since(self, earlier: Tally) -> Tally:
        """What came after an earlier state of the same tally."""
        return Tally(self.attempts - earlier.attempts, self.failures - earlier.failures)


def chance_of_all_failing(own_failures: int, others: Tally) -> float:
    """How likely so many failures in a row are for one that is like the others, 0 to 1.

    Args:
        own_failures: all attempts of its own; every one failed.
        others: how the others fared meanwhile.
    """
    chance = 1.0
    for n in range(own_failures):
        chance *= (others.failures + 1 + n) / (others.attempts + 2 + n)
    return chance


def is_blamed(own_failures: int, others: Tally) -> bool:
    """Whether neither chance nor an outage explains that every one of its attempts failed."""
    return chance_of_all_failing(own_failures, others) < CHANCE
