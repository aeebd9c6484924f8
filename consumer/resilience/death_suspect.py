"""A suspect of deaths: a unit that AnythingLLM may die of, and when it may be uploaded again.

The rules are those of `consumer.resilience.deaths`, and so are their numbers. Pure but for what the
suspect itself remembers; epoch seconds are handed in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from consumer.model.death_count import DeathCount

_FEW = 8  # suspects of one death that go alone at once
_MOST_CONTROLS = 10  # that fail in a row; then the unit is sent without, and counts anew
_MOST_DOUBLINGS = 100  # of a pause; the longest one is reached far earlier


@dataclass(frozen=True, slots=True)
class DeathRules:
    """When a unit falls, and how long it waits before.

    Args:
        count: deaths that it falls with.
        spread: seconds from the first to the last of them, at least.
        pauses: seconds to wait after the first death, the second, and so on.
        longest: pause in seconds where deaths can't count (rule 7).
    """

    count: int = 5
    spread: float = 1800.0
    pauses: tuple[float, ...] = (10.0, 60.0, 600.0)
    longest: float = 3600.0

    def pause(self, deaths: int) -> float:
        """Seconds to wait after so many."""
        return self.pauses[min(deaths, len(self.pauses)) - 1] if deaths > 0 else 0.0

    def pause_uncounted(self, deaths: int) -> float:
        """Seconds to wait after so many in a row that could not count; 0: no longer than usual."""
        beyond = min(deaths - self.count, _MOST_DOUBLINGS)
        return min(self.pause(deaths) * 2.0**beyond, self.longest) if beyond > 0 else 0.0


@dataclass(slots=True)
class DeathSuspect:
    """A suspect of a death: a unit that it may be of.

    Args:
        size: of its text, UTF-16 units.
        count: deaths that are proven to be its own.
        shared: the first death, which had other suspects, while nobody knows whose it is.
        seen: deaths that it was a suspect of, whether or not they counted.
        uncounted: the last ones of these, in a row, that other instances kept from counting.
        without_control: the last ones, in a row, before which no control got through.
        goes_alone: whether it is uploaded alone (rule 3).
        last: of the last one, epoch seconds.
        has_control: whether a control got through since.
        controls_failed: in a row.
        kept_away: uploads since that a server that lives did not answer.
    """

    size: int
    count: DeathCount | None = None
    shared: float | None = None
    seen: int = 0
    uncounted: int = 0
    without_control: int = 0
    goes_alone: bool = True
    last: float = -math.inf
    has_control: bool = False
    controls_failed: int = 0
    kept_away: int = 0

    @property
    def with_shared(self) -> DeathCount | None:
        """Its deaths, if the shared one is its own."""
        return self.count if self.shared is None else with_one(self.count, self.shared)

    @property
    def needs_control(self) -> bool:
        """Whether a control has to get through before it is uploaded again."""
        return not self.has_control and self.controls_failed < _MOST_CONTROLS

    @property
    def begins_anew(self) -> bool:
        """Whether a death now would be one without a control before it (rule 4)."""
        return self.seen > 0 and not self.has_control

    def due(self, rules: DeathRules, *, can_count: bool) -> float:
        """When it may be uploaded again, epoch seconds.

        Args:
            rules: say how long it waits.
            can_count: whether the next death could count, as far as other instances go.
        """
        uncounted = max(0 if can_count else self.uncounted, self.without_control)
        return max(self._usual_due(rules), self.last + rules.pause_uncounted(uncounted))

    def _usual_due(self, rules: DeathRules) -> float:
        count = self.with_shared
        if count is None or self.count is None:
            # Many may be suspects of one death: the first time they need not wait.
            return self.last + rules.pause(self.seen - 1)
        # Also those that do not count make it wait: they are kills all the same.
        due = self.last + rules.pause(max(count.count, self.seen))
        return max(due, count.first + rules.spread) if count.count >= rules.count - 1 else due

    def met(self, at: float, *, counts: bool, suspects: int, is_known: bool) -> None:
        """Note a death.

        Args:
            at: epoch seconds.
            counts: whether it counts for whoever is left of its suspects.
            suspects: how many it has.
            is_known: whether nothing of other instances can have been under way.
        """
        self.without_control = self.without_control + 1 if self.begins_anew else 0
        if self.begins_anew:
            self.count = self.shared = None
        if not self.seen and counts and suspects > 1:
            self.shared = at
        self.seen, self.last = self.seen + 1, at
        self.uncounted = 0 if is_known else self.uncounted + 1
        self.goes_alone = self.seen > 1 or suspects <= _FEW
        self.has_control, self.controls_failed, self.kept_away = False, 0, 0


def with_one(count: DeathCount | None, at: float) -> DeathCount:
    """A count, or none, after one more death, epoch seconds."""
    return DeathCount(1, at, at) if count is None else count.with_one(at)
