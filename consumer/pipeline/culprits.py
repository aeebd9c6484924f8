"""Culprits: the chunks that were given up of late. They are not packed with others again.

An event that is published again brings its refused chunk again. In a pack it would have all of its
siblings uploaded twice each time: in the pack, and each on its own once that is split.
"""

from __future__ import annotations

from collections import OrderedDict

MOST_KNOWN = 10_000  # digests, about 1 MB; the longest unused go first


class Culprits:
    """See the module's docstring. It knows them by digest, for as long as the process lives."""

    def __init__(self, most: int = MOST_KNOWN) -> None:
        self._most = most
        self._known: OrderedDict[str, None] = OrderedDict()

    def note(self, digest: str) -> None:
        """Note a chunk that was given up."""
        self._known[digest] = None
        self._known.move_to_end(digest)
        if len(self._known) > self._most:
            self._known.popitem(last=False)

    def __contains__(self, digest: str) -> bool:
        """Whether a chunk with this digest was given up."""
        return digest in self._known
