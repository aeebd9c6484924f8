"""One search for many chunks of a document, where only a search proves that a chunk is stored.

A search for one chunk's text shows its neighbours as well, and the chunks of a document are near
each other: they have a title and a subject in common. So a chunk that was uploaded is not looked
for at once but when some more of its document are there, and whatever marker a search shows is
proven, unless the hit is of another copy (`hit_ids`). Not being shown proves nothing about the
others: each of them is looked for by its own text.

The database may refuse all of them, so not many are uploaded before the first look, and never more
than `MOST_UNSEEN` without one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

import structlog

from consumer.anythingllm.blocked_search import AGAIN_SECONDS, BlockedSearches
from consumer.anythingllm.database_control import DatabaseControl
from consumer.anythingllm.errors import (
    AnythingLLMError,
    AnythingLLMForbiddenError,
    AnythingLLMPendingError,
    AnythingLLMProtocolError,
    AnythingLLMServerError,
    AnythingLLMTimeoutError,
    is_about_the_query,
)
from consumer.anythingllm.hit_ids import HitIds
from consumer.anythingllm.models import VectorHit
from consumer.anythingllm.proof import Sight, StorageProof
from consumer.anythingllm.transport import Check
from consumer.anythingllm.vector_databases import VectorDatabase
from consumer.anythingllm.vouching import Vouching
from consumer.model.fault import Fault
from consumer.model.marker import Marker
from consumer.model.names import Location, Slug, TraceId

log = structlog.get_logger(__name__)

TOGETHER = 8  # chunks of a document for which one search is made
MOST_UNSEEN = 100  # of a document: each would be a row without vectors if the database refuses them
LOOK_SECONDS = 2.0  # between two searches of a document for what may not be visible yet
_OF_THE_SEARCH = (
    AnythingLLMForbiddenError,
    AnythingLLMServerError,
    AnythingLLMTimeoutError,
    AnythingLLMProtocolError,
)
_HITS_EACH = 10  # asked for at first for each chunk that is looked for
_MOST_AT_ONCE = 300  # hits of a first search: about 500 kB


class Sought:
    """A unit that was uploaded and is to be found; forgotten with the upload that holds it.

    Args:
        slug: the workspace.
        marker: of the unit; it says which document it is of.
        location: its file's, as it was uploaded last.
        siblings: all of its document that are sought.
    """

    def __init__(self, slug: Slug, marker: Marker, location: Location, siblings: _Siblings) -> None:
        self.slug = slug
        self.marker = marker.encode()
        self.document_id = marker.document_id
        self.location = location
        self.is_seen = False
        self.siblings = siblings


@dataclass(frozen=True, slots=True)
class Looked:
    """What is looked for: a unit as it was uploaded last.

    Args:
        text: of the unit, not blank.
        sent_at: monotonic seconds.
        trace_id: of the event.
        check: called before a test document is sent; what it raises gets out.
    """

    text: str
    sent_at: float
    trace_id: TraceId | None
    check: Check


class _Siblings:
    """The units of one document that are sought; those that were seen are no longer among them."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.blocked = BlockedSearches[str](clock)
        self.unseen: WeakValueDictionary[str, Sought] = WeakValueDictionary()
        self.since_look = 0
        self.looked_at = float("-inf")


class JointLooks:
    """See the module's docstring.

    Args:
        proof: searches.
        control: says whether the vector database keeps anything; hears what was found.
        vouching: hears what was found.
        hit_ids: tell which copy was found.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        proof: StorageProof,
        control: DatabaseControl,
        vouching: Vouching,
        hit_ids: HitIds,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._proof = proof
        self._control = control
        self._vouching = vouching
        self._hit_ids = hit_ids
        self._clock = clock
        # A document that nobody works on any more takes no memory.
        self._documents: WeakValueDictionary[Any, _Siblings] = WeakValueDictionary()

    def seek(self, slug: Slug, marker: Marker, location: Location) -> Sought:
        """Note that a unit was uploaded and is to be found."""
        document = slug, marker.document_id, marker.version
        siblings = self._documents.get(document)
        if siblings is None:
            siblings = self._documents[document] = _Siblings(self._clock)
        sought = Sought(slug, marker, location, siblings)
        siblings.unseen[sought.marker] = sought
        siblings.since_look += 1
        return sought

    def is_due(self, sought: Sought) -> bool:
        """Whether enough of its document were uploaded for a search."""
        return sought.siblings.since_look >= TOGETHER or self.is_crowded(sought)

    def is_crowded(self, sought: Sought) -> bool:
        """Whether nothing more of its document is to be uploaded before a search."""
        return len(sought.siblings.unseen) > MOST_UNSEEN

    async def is_found(
        self, sought: Sought, what: Looked, database: VectorDatabase, *, is_late: bool
    ) -> bool:
        """Whether a search has found it, or never can: then its file has to do as a proof.

        Args:
            sought: who is looked for.
            what: how it was uploaded.
            database: what it is in.
            is_late: whether a search surely finds it by now, if it is stored.

        Raises:
            AnythingLLMError: nobody can say.
        """
        if not sought.is_seen:
            if not is_late and self._clock() < sought.siblings.looked_at + LOOK_SECONDS:
                return False
            sight = await self._sight(sought, what, database)
            if sight is Sight.MISSING and is_late:
                sight = await self._sight(sought, what, database, is_exact=True)
            if sight is Sight.MISSING:
                return False
            if sight is Sight.HIDDEN:
                # That it was not found says nothing, so others have to be found meanwhile.
                await self._control.passes(sought.slug, what.sent_at, what.trace_id, what.check)
                _seen(sought)
                self._vouching.note(sought.location)
                log.warning(
                    "chunk.not_provable",
                    workspace=sought.slug,
                    document_id=sought.document_id,
                    location=sought.location,
                )
                return True
        self._control.found(what.sent_at)
        self._vouching.note(sought.location)
        return True

    async def _sight(
        self, sought: Sought, what: Looked, database: VectorDatabase, *, is_exact: bool = False
    ) -> Sight:
        siblings = sought.siblings
        siblings.since_look, siblings.looked_at = 0, self._clock()

        def saw(hit: VectorHit) -> None:
            # Some databases give back another text than they got.
            is_it = hit.doc_source == sought.marker
            found = sought if is_it else siblings.unseen.get(hit.doc_source)
            if found is not None and self._hit_ids.may_be_of(hit, found.location, database):
                _seen(found)

        try:
            sight = await self._proof.near(
                sought.slug,
                what.text,
                lambda: sought.is_seen,
                saw,
                database=database,
                trace_id=what.trace_id,
                top=min(_HITS_EACH * len(siblings.unseen), _MOST_AT_ONCE),
                is_exact=is_exact,
            )
        except AnythingLLMError as error:
            if not (isinstance(error, _OF_THE_SEARCH) or is_about_the_query(error)):
                raise
            # Searching says nothing of the text. It may be the database, and then nothing more is
            # to be uploaded.
            await self._control.passes(sought.slug, what.sent_at, what.trace_id, what.check)
            error.fault = Fault.THEIRS
            if siblings.blocked.failed(sought.marker, error):
                return Sight.HIDDEN
            raise AnythingLLMPendingError(
                f"what was stored at {sought.location} can't be searched for, while other texts"
                f" can: {error.message}; it is searched for again",
                retry_after=AGAIN_SECONDS,
            ) from error
        siblings.blocked.passed(sought.marker)
        return sight


def _seen(sought: Sought) -> None:
    """Nobody needs to look for it any more."""
    sought.is_seen = True
    sought.siblings.unseen.pop(sought.marker, None)
