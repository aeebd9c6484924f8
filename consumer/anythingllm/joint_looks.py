"""One search for many chunks of a document, where only a search proves that a chunk is stored.

A search for one chunk's text shows its neighbours as well, and the chunks of a document are near
each other: they have a title and a subject in common. So a chunk that was uploaded is not looked
for at once but when some more of its document are there, and whatever marker a search shows is
proven. Not being shown proves nothing about the others: each of them is looked for by its own text.

The database may refuse all of them, so not many are uploaded before the first look, and never more
than `MOST_UNSEEN` without one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakValueDictionary

from consumer.anythingllm.models import VectorHit
from consumer.anythingllm.proof import Sight, StorageProof
from consumer.anythingllm.vector_databases import VectorDatabase
from consumer.model.marker import Marker
from consumer.model.names import Slug, TraceId

TOGETHER = 8  # chunks of a document for which one search is made
MOST_UNSEEN = 100  # of a document: each would be a row without vectors if the database refuses them
LOOK_SECONDS = 2.0  # between two searches of a document for what may not be visible yet
_HITS_EACH = 10  # asked for at first for each chunk that is looked for
_MOST_AT_ONCE = 300  # hits of a first search: about 500 kB


class Sought:
    """A unit that was uploaded and is to be found; forgotten with the upload that holds it.

    Args:
        slug: the workspace.
        marker: of the unit.
        siblings: all of its document that are sought.
    """

    def __init__(self, slug: Slug, marker: Marker, siblings: _Siblings) -> None:
        self.slug = slug
        self.marker = marker.encode()
        self.is_seen = False
        self.siblings = siblings


class _Siblings:
    """The units of one document that are sought; those that were seen are no longer among them."""

    def __init__(self) -> None:
        self.unseen: WeakValueDictionary[str, Sought] = WeakValueDictionary()
        self.since_look = 0
        self.looked_at = float("-inf")


class JointLooks:
    """See the module's docstring.

    Args:
        proof: searches.
        clock: monotonic seconds.
    """

    def __init__(self, proof: StorageProof, *, clock: Callable[[], float]) -> None:
        self._proof = proof
        self._clock = clock
        # A document that nobody works on any more takes no memory.
        self._documents: WeakValueDictionary[Any, _Siblings] = WeakValueDictionary()

    def seek(self, slug: Slug, marker: Marker) -> Sought:
        """Note that a unit was uploaded and is to be found."""
        document = slug, marker.document_id, marker.version
        siblings = self._documents.get(document)
        if siblings is None:
            siblings = self._documents[document] = _Siblings()
        sought = Sought(slug, marker, siblings)
        siblings.unseen[sought.marker] = sought
        siblings.since_look += 1
        return sought

    def is_due(self, sought: Sought) -> bool:
        """Whether enough of its document were uploaded for a search."""
        return sought.siblings.since_look >= TOGETHER or self.is_crowded(sought)

    def is_crowded(self, sought: Sought) -> bool:
        """Whether nothing more of its document is to be uploaded before a search."""
        return len(sought.siblings.unseen) > MOST_UNSEEN

    def rest(self, sought: Sought) -> float:
        """Seconds until its document may be looked for again, where it may not be visible yet."""
        return sought.siblings.looked_at + LOOK_SECONDS - self._clock()

    def seen(self, sought: Sought) -> None:
        """Note that nobody needs to look for it any more."""
        sought.is_seen = True
        sought.siblings.unseen.pop(sought.marker, None)

    async def sight(
        self,
        sought: Sought,
        *,
        text: str,
        database: VectorDatabase,
        trace_id: TraceId | None,
        is_exact: bool = False,
    ) -> Sight:
        """What searches for its text say of it; siblings that they show are noted as seen.

        Hits are compared by their source: some databases give back another text than they got.

        Args:
            sought: what is looked for.
            text: of the unit, not blank.
            database: knows how many hits there can be, and what they are worth.
            trace_id: of the event.
            is_exact: see `StorageProof.near`.

        Raises:
            AnythingLLMError: nobody can say.
        """
        siblings = sought.siblings
        siblings.since_look, siblings.looked_at = 0, self._clock()

        def saw(hit: VectorHit) -> None:
            if hit.doc_source == sought.marker:
                self.seen(sought)
            elif (sibling := siblings.unseen.get(hit.doc_source)) is not None:
                self.seen(sibling)

        return await self._proof.near(
            sought.slug,
            text,
            lambda: sought.is_seen,
            saw,
            database=database,
            trace_id=trace_id,
            top=min(_HITS_EACH * len(siblings.unseen), _MOST_AT_ONCE),
            is_exact=is_exact,
        )
