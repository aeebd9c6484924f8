"""Pages that a workspace stores under several identities: pure.

A publisher that gives a page a new id whenever it processes it makes a new document each time, and
searches find all of them (schemas/README.md, "Identity and key"). Among the stored units that looks
like several documents of one source, which may also be as it should be.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from consumer.model.identity import IdentityTemplate
from consumer.model.listing import Listing
from consumer.model.marker import Marker
from consumer.model.names import Identity
from consumer.operations.workspaces.finding import FindingKind, WorkspaceFinding, found


@dataclass(frozen=True, slots=True)
class Shared:
    """How many sources are stored under several identities.

    Args:
        sources: how many.
        documents: how many identities they are stored under.
        example: two document ids of one of them.
    """

    sources: int
    documents: int
    example: tuple[str, str]

    def __str__(self) -> str:
        one, other = self.example
        pages = "1 page is" if self.sources == 1 else f"{self.sources} pages are"
        return (
            f"{pages} stored under several ids, as {self.documents} documents, "
            f"such as {one} and {other}"
        )


class SharedSources:
    """Finds shared sources among the units of one workspace, given one by one.

    Args:
        identity: makes the identities of markers. Where it follows the source, no source is shared.
    """

    def __init__(self, identity: IdentityTemplate) -> None:
        self._identity = identity
        self._first: dict[str, tuple[Identity, str]] = {}  # with a document id
        self._others: dict[str, dict[Identity, str]] = {}  # document ids by identity

    def note(self, marker: Marker) -> None:
        """Look at a stored unit."""
        source = marker.source_url
        if not source or "source_url" in self._identity.template.placeholders:
            return
        name = self._identity.of_marker(marker)
        first, _ = self._first.setdefault(source, (name, marker.document_id))
        if first != name:
            self._others.setdefault(source, {})[name] = marker.document_id

    @property
    def found(self) -> Shared | None:
        """What was found so far; None for nothing."""
        if not self._others:
            return None
        source, others = min(self._others.items())
        documents = len(self._others) + sum(map(len, self._others.values()))
        return Shared(len(self._others), documents, (self._first[source][1], min(others.values())))


def shared_sources(listing: Listing, identity: IdentityTemplate) -> Iterator[WorkspaceFinding]:
    """The note about a workspace in which pages are stored under several identities."""
    sources = SharedSources(identity)
    for row in listing.rows:
        if row.marker is not None:
            sources.note(row.marker)
    if sources.found is not None:
        yield found(FindingKind.SHARED_SOURCE, listing.slug, str(sources.found))
