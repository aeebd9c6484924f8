"""Documents that were stored, and that others took away with their whole workspace. Pure.

A workspace that is emptied, deleted, restored or made anew in AnythingLLM loses what this service
had stored there, and no event will come for it by itself. So people have to be told how much that
is: what was listed before and is not any more. Each instance tells of the documents of its own
partitions: of those it knows that no event removed them.

A document is lost no longer once an event about it was worked, or a listing shows it again. Nobody
is told for ever: some documents are in no topic any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from consumer.model.names import Identity, Slug

TOLD_SECONDS = 24 * 3600.0  # after that, only `audit` tells


class LostDocuments:
    """See the module's docstring.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._suspected: dict[Slug, frozenset[Identity]] = {}
        self._lost: dict[Slug, set[Identity]] = {}
        self._until: dict[Slug, float] = {}

    def suspect(self, slug: Slug, listed_before: Iterable[Identity]) -> None:
        """Note that a workspace is another one, or was emptied; the next listing says the rest."""
        self._suspected[slug] = self._suspected.get(slug, frozenset()) | frozenset(listed_before)

    def listed(self, slug: Slug, there: Iterable[Identity]) -> int:
        """Note what a listing shows.

        Returns:
            How many documents were found to be lost with this listing.
        """
        suspected = self._suspected.pop(slug, frozenset())
        if not suspected and slug not in self._lost:
            return 0
        there = frozenset(there)
        new = suspected - there
        left = (self._lost.pop(slug, set()) - there) | new
        if left:
            self._lost[slug] = left
        if new:
            self._until[slug] = self._clock() + TOLD_SECONDS
        return len(new)

    def worked(self, slug: Slug, identity: Identity) -> None:
        """Note that an event about a document is worked: whatever it says holds from now on."""
        if (lost := self._lost.get(slug)) is not None:
            lost.discard(identity)
            if not lost:
                del self._lost[slug]

    @property
    def counts(self) -> dict[Slug, int]:
        """How many each workspace lost lately and has not got back."""
        now = self._clock()
        return {slug: len(lost) for slug, lost in self._lost.items() if now < self._until[slug]}
