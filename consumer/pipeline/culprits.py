"""Culprits: the chunks that were given up of late. They are not packed with others again.

An event that is published again brings its refused chunk again. In a pack it would have all of its
siblings uploaded twice each time: in the pack, and each on its own once that is split.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

MOST_KNOWN = 10_000  # texts, by 32 bytes of each, about 1 MB; the longest unused go first


class Culprits:
    """See the module's docstring. It knows them by text, for as long as the process lives.

    Not by digest: a new title would make all of them unknown.
    """

    def __init__(self, most: int = MOST_KNOWN) -> None:
        self._most = most
        self._known: OrderedDict[bytes, None] = OrderedDict()

    def note(self, content: str) -> None:
        """Note the text of a chunk that was given up."""
        hashed = _hash(content)
        self._known[hashed] = None
        self._known.move_to_end(hashed)
        if len(self._known) > self._most:
            self._known.popitem(last=False)

    def __contains__(self, content: str) -> bool:
        """Whether a chunk with this text was given up."""
        return bool(self._known) and _hash(content) in self._known


def _hash(content: str) -> bytes:
    return hashlib.sha256(content.encode(errors="surrogatepass")).digest()
