"""What a workspace has of one document, as it is shown to people: pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from consumer.model.difference import count_held
from consumer.model.document import Chunk, ProcessedDocument
from consumer.model.identity import IdentityTemplate
from consumer.model.listing import ListedRow, Listing, by_identity, newest_of
from consumer.model.marker import StoredUnit, digests_of, mark
from consumer.model.names import Identity, ServerName, Slug
from consumer.model.version import DocumentVersion
from consumer.operations.workspaces.faults import examine

_LOOKED_FOR = 3  # chunks of a document
_LONGEST = 1_000  # characters of a chunk; AnythingLLM 1.16 embeds longer ones in pieces of that
_EVER = float("-inf")


@dataclass(frozen=True, slots=True)
class Searched:
    """How searches for some chunks by their own text went.

    Args:
        checked: how many chunks were searched for.
        found: how many of them a search found.
        why_not: why no more could be searched for.
    """

    checked: int = 0
    found: int = 0
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """What a workspace has of a document.

    Args:
        workspace: its slug.
        identity: of the document.
        document_ids: the ids under which its chunks are stored.
        stored: how many chunks are stored, in all.
        total: how many chunks there should be: as many as the newest event has or, where none is
            known, as many as the newest stored version had.
        covered: how many of these are stored; None where no event is known to compare with.
        version: the newest that is stored; None where nothing is.
        versions: how many versions the chunks come from. Unchanged chunks keep their version.
        surplus: how many stored chunks the newest event does not have, or not that often.
        findings: what looks wrong, a line each.
        searched: whether searches find it.
        server: which one of several has it; None where there is one only.
    """

    workspace: Slug
    identity: Identity
    document_ids: tuple[str, ...]
    stored: int
    total: int
    covered: int | None
    version: DocumentVersion | None
    versions: int
    surplus: int
    findings: tuple[str, ...] = ()
    searched: Searched = field(default_factory=Searched)
    server: ServerName | None = None

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return self.workspace if self.server is None else f"{self.workspace} on {self.server}"

    @property
    def is_complete(self) -> bool:
        """Whether every chunk of the newest event is stored, and no other."""
        return self.covered == self.total and not self.surplus

    @property
    def text(self) -> str:
        """The numbers in one line, for people."""
        if self.covered is None:
            text = f"{self.place}: {self.stored} chunks stored, of a version with {self.total}"
        else:
            text = f"{self.place}: {self.covered} of {self.total} chunks stored"
        if self.surplus:
            text += f", and {self.surplus} that its newest event does not have, or not that often"
        if self.searched.checked:
            searched = self.searched
            text += f"; {searched.found} of {searched.checked} looked for are found by a search"
        return text


def held_of(
    listing: Listing, template: IdentityTemplate, newest: dict[Identity, ProcessedDocument]
) -> Iterator[Held]:
    """What a workspace has of each identity among these rows.

    Args:
        listing: the rows of the document, no others.
        template: makes identities.
        newest: by identity, the newest event that belongs into this workspace.
    """
    of_rows = by_identity(listing.rows, template)
    # A person sees the state as it is, however young its rows may be.
    found = examine(listing, None, identity=template, settled=_EVER)
    wrong = {each.location: each.text for each in found}
    for identity in dict.fromkeys((*newest, *of_rows)):
        rows, document = of_rows.get(identity, []), newest.get(identity)
        texts = tuple(wrong[row.location] for row in rows if row.location in wrong)
        yield _held(listing.slug, identity, rows, document, texts)


def _held(
    slug: Slug,
    identity: Identity,
    rows: Sequence[ListedRow],
    document: ProcessedDocument | None,
    findings: tuple[str, ...],
) -> Held:
    units = units_of(rows)
    newest = newest_of(rows) if units else None
    covered, surplus = None, 0
    total = newest.total_chunks if newest else 0
    if document is not None:
        covered, total = count_held(digests_of(document), units), len(document.chunks)
        surplus = sum(len(unit.digests) for unit in units) - covered
    return Held(
        workspace=slug,
        identity=identity,
        document_ids=tuple(dict.fromkeys(unit.marker.document_id for unit in units)),
        stored=sum(len(unit.digests) for unit in units),
        total=total,
        covered=covered,
        version=newest.version if newest else None,
        versions=len({unit.version for unit in units}),
        surplus=surplus,
        findings=findings,
    )


def units_of(rows: Sequence[ListedRow]) -> list[StoredUnit]:
    """The rows with a marker of ours, as units."""
    return [StoredUnit(row.location, row.marker) for row in rows if row.marker is not None]


def looked_for(
    document: ProcessedDocument, rows: Sequence[ListedRow]
) -> list[tuple[str, frozenset[str]]]:
    """Some stored chunks, spread over a document, and what searches for them should find.

    Args:
        document: the newest event.
        rows: of its identity.

    Returns:
        For each chunk the text to search for, and the ``docSource`` of the units that hold it.
    """
    holders: dict[str, set[str]] = {}
    for row in rows:
        for each in row.marker.chunks if row.marker else ():
            holders.setdefault(each.digest, set()).add(row.source)
    chunks = [chunk for chunk in document.chunks if mark(chunk, document).digest in holders]
    return [
        (chunk.content[:_LONGEST], frozenset(holders[mark(chunk, document).digest]))
        for chunk in _spread(chunks)
    ]


def _spread(chunks: Sequence[Chunk]) -> list[Chunk]:
    """The first, the last, and what lies evenly between them."""
    if len(chunks) <= _LOOKED_FOR:
        return list(chunks)
    step = (len(chunks) - 1) / (_LOOKED_FOR - 1)
    return [chunks[round(number * step)] for number in range(_LOOKED_FOR)]
