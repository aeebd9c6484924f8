"""Whether the group can still be counting us in: decided by our own clock alone.

A process that stood still (SIGSTOP, a frozen container, a stalled machine) goes on where it was,
sure of partitions that have been somebody else's for long: aiokafka notices with its next
heartbeat, after the first publishes and uploads. The lease runs out before the group's patience
does, so whoever asks it first thing after standing still gets the right answer.
"""

from __future__ import annotations

from collections.abc import Callable

# Of the session timeout. The group counts from our last heartbeat, up to a tenth of it ago.
_SHARE = 0.8


class Lease:
    """Renewed while the event loop turns; over when it stood still too long.

    Args:
        session_timeout: seconds of silence after which the group gives our partitions away.
        clock: monotonic seconds, which go on while the process is stopped.
    """

    def __init__(self, session_timeout: float, clock: Callable[[], float]) -> None:
        self._length = session_timeout * _SHARE
        self._clock = clock
        self._renewed = clock()

    @property
    def over(self) -> bool:
        """True when it was not renewed in time; stays so until `begin`."""
        return self._clock() - self._renewed > self._length

    @property
    def renewal_interval(self) -> float:
        """Seconds between two renewals."""
        return min(self._length / 8, 1.0)

    def renew(self) -> bool:
        """Count from now on; False when it was over already, and nothing is renewed."""
        if self.over:
            return False
        self._renewed = self._clock()
        return True

    def begin(self) -> float:
        """Begin anew; seconds since the last renewal."""
        stood_still = self._clock() - self._renewed
        self._renewed = self._clock()
        return stood_still
