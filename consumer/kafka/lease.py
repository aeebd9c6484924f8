"""Whether the group can still be counting us in: proven by its answers, decided by our own clock.

There are two ways to lose the partitions without notice:

- The process stood still (SIGSTOP, a frozen container, a stalled machine) and goes on where it was,
  sure of partitions that another member has had for long.
- The network is gone. The process runs and uploads (AnythingLLM is elsewhere), but its heartbeats
  reach no broker. aiokafka 0.14 goes on counting itself in until a broker says otherwise.

So only an answer of the group's coordinator renews the lease, and it counts from when that answer
was *asked* for: the group's session timeout begins no earlier. The lease runs out before that
timeout does, so a check of it gives the right answer even before any task of ours has run.
"""

from __future__ import annotations

from collections.abc import Callable

# Of the session timeout. Clocks differ a little, and the last write must still arrive.
_SHARE = 0.8


class Lease:
    """Renewed by the group's answers; over when there was none for too long.

    Args:
        session_timeout: seconds of silence after which the group gives our partitions away.
        clock: monotonic seconds, which go on while the process is stopped.
    """

    def __init__(self, session_timeout: float, clock: Callable[[], float]) -> None:
        self._length = session_timeout * _SHARE
        self._clock = clock
        self._heard = self._turned = clock()

    @property
    def over(self) -> bool:
        """True when no answer came in time; stays so until `begin`."""
        return self._clock() - self._heard > self._length

    @property
    def unheard_seconds(self) -> float:
        """Seconds since the group last proved that it counts us in."""
        return self._clock() - self._heard

    @property
    def turn_interval(self) -> float:
        """Seconds between two calls of `turn`."""
        return min(self._length / 8, 1.0)

    def heard(self, asked_at: float) -> None:
        """Renew the lease, unless it is over already: then its assignment has ended.

        Args:
            asked_at: when the request went out that the group has answered.
        """
        if not self.over:
            self._heard = max(self._heard, asked_at)

    def turn(self) -> float:
        """Note that the process runs; seconds since this was last noted."""
        stood_still = self._clock() - self._turned
        self._turned = self._clock()
        return stood_still

    def begin(self) -> None:
        """Begin anew with an assignment that has just come in.

        It counts from when the process was last known to run. The answer may have waited for as
        long as the process stood still, and then the lease is over before it begins.
        """
        self._heard = self._turned
