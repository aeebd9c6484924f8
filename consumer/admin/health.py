"""What the probes ask, as they see it; `consumer.app` answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Health(Protocol):
    """The state of the process, each answer a list of reasons for a reader at night.

    Answers come from memory and at once: a probe that waits for a dependency turns that
    dependency's outage into our restart.
    """

    def alive(self) -> Sequence[str]:
        """Why a restart would help (the poll loop stands still); empty: it would not."""
        ...

    def ready(self) -> Sequence[str]:
        """Why no work is done (nothing assigned, producer unusable, draining); empty: it is."""
        ...

    def degraded(self) -> Sequence[str]:
        """Each worry: what is not as it should be though work goes on or waits by itself."""
        ...
