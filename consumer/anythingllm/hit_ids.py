"""Which file a hit of a search is of, where copies of a chunk have the same marker.

A marker says which chunk was found, not which of its copies. A copy that a request of minutes ago
has brought is found before any listing shows it, and beside it a row without vectors would count as
stored. On some vector databases (`VectorDatabase.names_files`) the ``id`` of a hit tells: it is the
one in its file's name. Vectors that come from AnythingLLM's cache have none.

That is so on 1.16. Of a test document there is one file only, so its hits show whether it still is:
if not, ids are not believed, or nothing would ever be found again.
"""

from __future__ import annotations

from collections.abc import Iterable

from consumer.anythingllm.models import VectorHit
from consumer.anythingllm.vector_databases import VectorDatabase
from consumer.model.names import Location
from consumer.telemetry.library_log import library_logger

log = library_logger(__name__)


class HitIds:
    """See the module's docstring; one for a server."""

    def __init__(self) -> None:
        self._is_wrong = False

    def note_only(self, hits: Iterable[VectorHit], source: str, location: Location) -> None:
        """Note what a search has found where only one file was ever made of a source."""
        named = [hit for hit in hits if hit.doc_source == source and hit.id]
        if not self._is_wrong and any(not _names(hit, location) for hit in named):
            self._is_wrong = True
            log.info("vector_database.hits_name_no_files", location=location)

    def tell(self, hit: VectorHit, database: VectorDatabase) -> bool:
        """Whether it can be said of which file a hit is."""
        return database.names_files and not self._is_wrong and bool(hit.id)

    def may_be_of(self, hit: VectorHit, location: Location, database: VectorDatabase) -> bool:
        """Whether a hit may be of a file; its marker says so."""
        return not self.tell(hit, database) or _names(hit, location)


def _names(hit: VectorHit, location: Location) -> bool:
    return location.endswith(f"-{hit.id}.json")
