"""The fuse: when most documents fail for no visible reason, stop before all of them are given up.

A document that can't be stored although AnythingLLM is well is at fault itself, until that happens
to most documents. Then it is not known whose fault it is (a bad release upstream, a fault that no
probe sees), and giving up a whole topic would be the worst answer.

    state   on                                          becomes
    whole   most of the last documents used up theirs   blown, first trial in a recovery period
    blown   a trial is due and a document asks          blown, that document is the trial
    blown   the trial went well, a third time in a row  whole, with nothing remembered
    blown   another document is done                    no change: it began before
    whole   an outage was seen                          whole, with nothing remembered

Deciding is synchronous and knows no I/O; the clock is handed in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

_GOOD_TRIALS = 3  # in a row, until it is believed that things are better


@dataclass(frozen=True, slots=True)
class FuseRules:
    """When it blows, and how often a trial is made.

    Args:
        share: of the last documents that must have used up their attempts; 0 switches it off.
        window: how many documents are remembered.
        minimum: documents that must have used up their attempts; forty poison documents in a row
            are forty poison documents.
        recovery: seconds between two trials.
    """

    share: float = 0.5
    window: int = 200
    minimum: int = 50
    recovery: float = 60.0


class Fuse:
    """See the module's docstring; the clock gives monotonic seconds."""

    def __init__(self, rules: FuseRules, clock: Callable[[], float]) -> None:
        self._rules = rules
        self._clock = clock
        self._used_up: deque[bool] = deque(maxlen=rules.window)
        self._good_trials = 0
        self._next_trial: float | None = None  # None while it is whole

    @property
    def blown(self) -> bool:
        """Whether work waits."""
        return self._next_trial is not None

    @property
    def share(self) -> float:
        """Of the remembered documents, how many used up their attempts; 0 to 1."""
        return sum(self._used_up) / len(self._used_up) if self._used_up else 0.0

    @property
    def remembered(self) -> int:
        """How many documents `share` speaks of."""
        return len(self._used_up)

    @property
    def trial_in(self) -> float:
        """Seconds until a document may be tried; 0 while it is whole."""
        return 0.0 if self._next_trial is None else max(0.0, self._next_trial - self._clock())

    def admit(self) -> bool:
        """Whether a document may begin; while blown, one is let through a recovery period."""
        if self._next_trial is None:
            return True
        if self.trial_in > 0:
            return False
        # The next one, if this trial does not end: a trial that is dropped costs one period.
        self._next_trial = self._clock() + self._rules.recovery
        return True

    def note(self, *, used_up: bool, is_trial: bool = False) -> bool:
        """Note how a document fared that had to upload something; True when the state changed.

        Args:
            used_up: whether a chunk of it used up its attempts although AnythingLLM was well.
            is_trial: whether it was admitted while the fuse was blown.
        """
        if self.blown:
            return is_trial and self._trial_went(well=not used_up)
        self._used_up.append(used_up)
        if not self._is_too_much():
            return False
        self._next_trial = self._clock() + self._rules.recovery
        self._good_trials = 0
        return True

    def excuse(self) -> None:
        """Forget the failures so far: an outage explains them, so they say nothing of documents."""
        self._used_up.clear()

    def _is_too_much(self) -> bool:
        rules = self._rules
        return 0 < rules.share <= self.share and sum(self._used_up) >= rules.minimum

    def _trial_went(self, *, well: bool) -> bool:
        self._good_trials = self._good_trials + 1 if well else 0
        if self._good_trials < _GOOD_TRIALS:
            return False
        self._next_trial = None
        self._used_up.clear()
        return True
