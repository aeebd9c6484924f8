"""Which replay is the first of its run in a workspace: before that one the listing is read anew.

Who publishes a document once more has seen that it is not stored, or that it failed. Our picture of
the workspace may be minutes older and say that all of it is there: the document would be called
stored, and be as lost as before. One look a run is enough, because a run looks before it begins.
"""

from __future__ import annotations

from collections import OrderedDict

from consumer.model.names import Slug

_MOST = 10_000  # remembered; one that is forgotten costs a listing


class FirstOfRuns:
    """See the module's docstring."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        # The longest unused first. Runs may come in turns: the replay topic has partitions.
        self._looked: OrderedDict[tuple[Slug, str], None] = OrderedDict()

    def is_first(self, slug: Slug, run: str) -> bool:
        """Whether nobody has looked at the workspace for this run."""
        if (slug, run) in self._looked:
            self._looked.move_to_end((slug, run))
            return False
        return True

    def looked(self, slug: Slug, run: str) -> None:
        """Note that the listing was read."""
        self._looked[slug, run] = None
        if len(self._looked) > self._most:
            self._looked.popitem(last=False)
