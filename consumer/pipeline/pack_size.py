"""The pack size: how many chunks go into one AnythingLLM document now.

Where it is not set, chunks are packed while there is a backlog: packs begin once all places of the
in-flight limit are taken, and end when less than half of them are. Between the two nothing changes,
or each document that is done would turn it over.
"""

from __future__ import annotations

from collections.abc import Callable

from consumer.model.packing import AUTO_CHUNKS

_ENOUGH = 0.5  # of the places


def packs_now(taken: float, *, packed_before: bool) -> bool:
    """Whether chunks are packed: a pure function.

    Args:
        taken: share of the in-flight places that documents in work have, 0 to 1.
        packed_before: whether they were packed when this was asked last.
    """
    return taken >= 1 or (packed_before and taken >= _ENOUGH)


class PackSize:
    """See the module's docstring.

    Args:
        fixed: chunks of a pack; None: by the backlog.
        taken: share of the in-flight places that documents in work have.
    """

    def __init__(self, fixed: int | None, taken: Callable[[], float]) -> None:
        self._fixed = fixed
        self._taken = taken
        self._packs = False

    def now(self) -> int:
        """Chunks of a pack, at most."""
        if self._fixed is not None:
            return self._fixed
        self._packs = packs_now(self._taken(), packed_before=self._packs)
        return AUTO_CHUNKS if self._packs else 1

    @property
    def at_rest(self) -> int:
        """Chunks of a pack where all that is stored is packed anew: as in a backlog, if not set."""
        return AUTO_CHUNKS if self._fixed is None else self._fixed
