"""A circuit breaker for asyncio on top of pybreaker's state machine.

pybreaker 1.4.1 alone does not protect coroutines: creating one counts as a success, half-open
admits everybody, and a cancelled task counts as a failure. So pybreaker keeps what it is good at
(states, threshold, listeners), and this file decides what is admitted and what counts.

What is always true:

1. Nothing is awaited between reading and changing the state: no lock is needed on one loop.
2. A result counts only in the state its call was admitted in: every change of state begins a new
   epoch, and results of an older epoch say nothing about the present one.
3. Half-open admits `max_trials` calls at a time; the others are to come back soon.
4. A cancelled call is neither success nor failure; it frees its place.
5. A judge that knows more than single calls feeds the breaker by `note` and asks `check`. Then only
   this judge decides about trials.
6. Time is the monotonic clock that was handed in; the wall clock may be set back by hours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import pybreaker

from consumer.telemetry.library_log import library_logger

log = library_logger(__name__)

CLOSED = pybreaker.STATE_CLOSED
OPEN = pybreaker.STATE_OPEN
HALF_OPEN = pybreaker.STATE_HALF_OPEN

TRIAL_PAUSE = 0.5  # seconds; 0 would make callers spin while a half-open trial is under way
_LONGEST_LINE = 200  # characters of the last error that a status page can show

BreakerState = Literal["closed", "open", "half-open"]
OnChange = Callable[[BreakerState, BreakerState], None]

_STATES: dict[str, BreakerState] = {CLOSED: "closed", OPEN: "open", HALF_OPEN: "half-open"}


class BreakerOpen(Exception):
    """The call was not admitted; it may be tried again after ``retry_after`` seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"the circuit is open; the next trial is due in {retry_after:.1f} s")
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class BreakerSnapshot:
    """How the breaker stands.

    Args:
        state: ``closed``, ``open`` or ``half-open``.
        failure_count: failures in a row.
        last_failure: when the last failure was counted, aware, or None.
        last_error: that failure in one line, or None.
        retry_after: seconds until a call may be admitted; 0 when calls are admitted.
    """

    state: BreakerState
    failure_count: int
    last_failure: datetime | None
    last_error: str | None
    retry_after: float


class _CountedFailure(Exception):
    """What pybreaker is shown as a failure."""


class Breaker:
    """See the module's docstring.

    Args:
        failure_threshold: failures in a row that open the circuit.
        recovery_timeout: seconds it stays open before a trial is admitted.
        is_failure: whether an exception shows that the other side is sick. Anything else, an
            answered refusal included, proves it alive and counts as a success.
        clock: monotonic seconds.
        now: the wall clock, only for telling people when something happened.
        max_trials: calls that half-open admits at a time.
        on_change: called with the old and the new state, just before `state` shows the new one. It
            must be quick and must not raise.
    """

    def __init__(
        self,
        *,
        failure_threshold: int,
        recovery_timeout: float,
        is_failure: Callable[[Exception], bool],
        clock: Callable[[], float],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        max_trials: int = 1,
        on_change: OnChange | None = None,
    ) -> None:
        self._recovery_timeout = recovery_timeout
        self._is_failure = is_failure
        self._clock = clock
        self._now = now
        self._max_trials = max_trials
        self._on_change: list[OnChange] = [on_change] if on_change else []
        self._epoch = 0
        self._trials = 0
        self._open_until = 0.0
        self._last_failure: datetime | None = None
        self._last_error: str | None = None
        self._machine = pybreaker.CircuitBreaker(
            fail_max=failure_threshold,
            reset_timeout=recovery_timeout,
            listeners=[_StateListener(self._changed)],
            # Otherwise the failure that opens the circuit would be replaced by pybreaker's own.
            throw_new_error_on_trip=False,
        )

    def __repr__(self) -> str:
        return f"<Breaker {self.state} failures={self._machine.fail_counter}>"

    @property
    def state(self) -> str:
        """``closed``, ``open`` or ``half-open``."""
        return self._machine.current_state

    @property
    def retry_after(self) -> float:
        """Seconds until a call may be admitted; 0 when calls are admitted."""
        if self.state == OPEN:
            return max(0.0, self._open_until - self._clock())
        if self.state == HALF_OPEN and self._trials >= self._max_trials:
            return TRIAL_PAUSE
        return 0.0

    def add_listener(self, on_change: OnChange) -> None:
        """Have ``on_change(old, new)`` called at every change of state."""
        self._on_change.append(on_change)

    def snapshot(self) -> BreakerSnapshot:
        """How it stands, for status pages and health checks."""
        return BreakerSnapshot(
            state=_STATES[self.state],
            failure_count=self._machine.fail_counter,
            last_failure=self._last_failure,
            last_error=self._last_error,
            retry_after=self.retry_after,
        )

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Put this around the awaits of one call.

        Raises:
            BreakerOpen: not admitted; the block was not entered.
        """
        epoch = self._admit()
        succeeded: bool | None = None  # None: cancelled or abandoned, says nothing
        try:
            yield
            succeeded = True
        except Exception as error:
            succeeded = not self._is_failure(error)
            if not succeeded and epoch == self._epoch:
                self._note(error)
            raise
        finally:
            self._settle(epoch, succeeded)

    @property
    def tripping(self) -> bool:
        """Whether the next failure in a row opens it."""
        return self.state == CLOSED and self._machine.fail_counter + 1 >= self._machine.fail_max

    def check(self) -> None:
        """Raise `BreakerOpen` unless it is closed."""
        if self.state != CLOSED:
            raise BreakerOpen(self.retry_after or TRIAL_PAUSE)

    def note(self, error: Exception | None) -> None:
        """Count an outcome in the present state: None is a success. Open, nothing counts."""
        if self.state == OPEN:
            return
        if error is not None:
            self._note(error)
        self._count(succeeded=error is None)

    def open(self, error: Exception) -> None:
        """Open it, or keep it open for another recovery time, whatever was counted so far."""
        self._note(error)
        self._machine.open()

    def half_open(self) -> None:
        """Begin a trial; `note` takes its outcome."""
        self._machine.half_open()

    def _count(self, *, succeeded: bool) -> None:
        if succeeded and self.state == CLOSED and not self._machine.fail_counter:
            return  # a success would change nothing, and there is one for every request
        with suppress(_CountedFailure):  # pybreaker re-raises what it counted
            self._machine.call(_nothing if succeeded else _fail)

    def _admit(self) -> int:
        if self.state == OPEN:
            if (left := self.retry_after) > 0:
                raise BreakerOpen(left)
            self._machine.half_open()
        if self.state == HALF_OPEN:
            if self._trials >= self._max_trials:
                raise BreakerOpen(TRIAL_PAUSE)
            self._trials += 1
        return self._epoch

    def _settle(self, epoch: int, succeeded: bool | None) -> None:
        if epoch != self._epoch:
            return
        if self.state == HALF_OPEN:
            self._trials -= 1
        if succeeded is None:
            return
        self._count(succeeded=succeeded)

    def _note(self, error: Exception) -> None:
        self._last_failure = self._now()
        self._last_error = " ".join(str(error).split())[:_LONGEST_LINE] or type(error).__name__

    def _changed(self, old: BreakerState, new: BreakerState) -> None:
        self._epoch += 1
        self._trials = 0
        if new == OPEN:
            self._open_until = self._clock() + self._recovery_timeout
        for listener in self._on_change:
            try:
                listener(old, new)
            except Exception:
                # It would surface in some upload that has nothing to do with it.
                log.exception("breaker.listener_failed", old=old, new=new)


class _StateListener(pybreaker.CircuitBreakerListener):
    """Translates pybreaker's notification into names."""

    def __init__(self, changed: OnChange) -> None:
        self._changed = changed

    def state_change(
        self,
        cb: pybreaker.CircuitBreaker,
        old_state: pybreaker.CircuitBreakerState | None,
        new_state: pybreaker.CircuitBreakerState,
    ) -> None:
        old = old_state.name if old_state else CLOSED
        self._changed(_STATES[old], _STATES[new_state.name])


def _nothing() -> None:
    """A success, for pybreaker."""


def _fail() -> None:
    """A failure, for pybreaker."""
    raise _CountedFailure
