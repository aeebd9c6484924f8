"""How doubted workspaces fared with test documents: evidence for or against a chunk.

When a chunk fails although the embedder takes its text, its workspace has to prove itself with a
test document before the next attempt. Failed proofs count as much as good ones. Without them a
server on which nine uploads of ten fail would look like one that fails a single chunk.
"""

from __future__ import annotations

from consumer.model.fault import Failure
from consumer.model.names import Slug
from consumer.resilience.blame import Tally


class WorkspaceProofs:
    """Memory goes by the workspaces that were ever doubted."""

    def __init__(self) -> None:
        self._tallies: dict[Slug, Tally] = {}
        self._due: set[Slug] = set()
        self._noted: dict[Slug, Failure] = {}

    def demand(self, slug: Slug) -> None:
        """Distrust the workspace: its next success is a proof."""
        self._tallies.setdefault(slug, Tally())
        self._due.add(slug)

    def failed(self, slug: Slug, failure: Failure) -> None:
        """Note that it could not be prepared. All documents that shared the try note it."""
        tally = self._tallies.get(slug)
        if tally is not None and self._noted.get(slug) is not failure:
            self._noted[slug] = failure
            self._tallies[slug] = tally.with_one(failed=True)

    def well(self, slug: Slug) -> None:
        """Note that it was prepared."""
        if slug in self._due:
            self._due.discard(slug)
            self._tallies[slug] = self._tallies[slug].with_one(failed=False)

    def of(self, slug: Slug) -> Tally:
        """All so far."""
        return self._tallies.get(slug, Tally())
