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

They are also spread over time (`Comparison`). An embedder that is out of tokens for a minute fails
whatever is long as often as it is asked, and a hundred pairs within that minute prove no more than
one. A comparison in which the others failed for long says nothing, and begins anew: what it counted
in an outage would hide a poison text for as long as the outage took.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

CHANCE = 1e-6  # below this it is no chance: one false dead letter in a million trials
MOST_PAIRS = 60  # of one comparison: with more of them chance would strike more often
_OUTAGE = 8  # others in a row that failed; one that fails half the time gets there once in 256


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


@dataclass(frozen=True, slots=True)
class Comparison:
    """How one that failed each time stands beside others of its kind.

    Args:
        since: when the first pair was made, monotonic seconds.
        own_failures: of its own; every one failed.
        by_intermediary: how many of them something between us and AnythingLLM answered.
        unanswered: how many of them nobody answered.
        controls: how the others fared.
        failed_in_a_row: others that failed since the last one that passed.
        last_own: by_intermediary and unanswered of the last one of its own.
    """

    since: float
    own_failures: int = 0
    by_intermediary: int = 0
    unanswered: int = 0
    controls: Tally = Tally()
    failed_in_a_row: int = 0
    last_own: tuple[bool, bool] = (False, False)

    @property
    def is_alone(self) -> bool:
        """Whether it failed and the last other one passed."""
        return self.own_failures > 0 and self.controls.attempts > 0 and not self.failed_in_a_row

    def with_own(self, *, by_intermediary: bool = False, unanswered: bool = False) -> Comparison:
        """After one more failure of its own."""
        return replace(
            self,
            own_failures=self.own_failures + 1,
            by_intermediary=self.by_intermediary + by_intermediary,
            unanswered=self.unanswered + unanswered,
            last_own=(by_intermediary, unanswered),
        )

    def with_last_own_of(self, other: Comparison) -> Comparison:
        """After the same failure of its own that another comparison counted last."""
        by_intermediary, unanswered = other.last_own
        return self.with_own(by_intermediary=by_intermediary, unanswered=unanswered)

    def with_control(self, *, failed: bool) -> Comparison:
        """After one more of the others."""
        row = self.failed_in_a_row + 1 if failed else 0
        return replace(self, controls=self.controls.with_one(failed=failed), failed_in_a_row=row)

    def blames(self, now: float, spread: float) -> bool:
        """Whether it is proven, by pairs over at least so many seconds, that it is at fault."""
        is_spread = now - self.since >= spread
        return is_spread and self.is_alone and is_blamed(self.own_failures, self.controls)

    def going_on(self, now: float) -> Comparison:
        """The same, or a new one where this one can't be decided any more."""
        is_over = self.own_failures >= MOST_PAIRS or self.failed_in_a_row >= _OUTAGE
        return Comparison(now) if is_over else self
