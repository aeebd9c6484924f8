"""Which documents workspaces hold, each alone and all together: pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from consumer.model.identity import IdentityTemplate
from consumer.model.listing import ListedFile, Listing, by_identity, newest_of
from consumer.model.marker import Marker
from consumer.model.names import Identity, Location, Slug
from consumer.operations.workspaces.faults import about, name_of
from consumer.operations.workspaces.finding import (
    FindingKind,
    WorkspaceFinding,
    found,
    unfinished,
    untouchable,
)
from consumer.operations.workspaces.second_name import first_name


@dataclass(frozen=True, slots=True)
class Holding:
    """A document that a workspace holds; the fields are those of its newest unit there."""

    workspace: Slug
    document_id: str
    technology: str
    instant: datetime


def holdings(listing: Listing, identity: IdentityTemplate) -> dict[Identity, Holding]:
    """Which documents a workspace holds, by identity."""
    held = {}
    for name, rows in by_identity(listing.rows, identity).items():
        newest = newest_of(rows)
        held[name] = Holding(
            listing.slug, newest.document_id, newest.technology, newest.version.instant
        )
    return held


def in_several(
    held: Iterable[Sequence[Holding]], route: Callable[[str], Slug | None]
) -> Iterator[WorkspaceFinding]:
    """Documents that are in several workspaces.

    Args:
        held: for each identity, the workspaces that hold it.
        route: from a technology to the slug where routing sends it today; None for nowhere.
    """
    for several in held:
        if len(several) < 2:
            continue
        target = route(max(several, key=lambda holding: holding.instant).technology)
        names = {holding.workspace for holding in several}
        for holding in several:
            where = ", ".join(sorted(names - {holding.workspace}))
            if target not in names:
                kind, text = (
                    FindingKind.ALSO_IN,
                    f"document {holding.document_id} is also in {where}",
                )
            elif target != holding.workspace:
                text = f"document {holding.document_id} is also in {target}, where routing leads"
                kind = FindingKind.MOVED
            else:
                continue
            yield found(kind, holding.workspace, text, document_id=holding.document_id)


def lacks(
    listing: Listing, marker: Marker, identity: IdentityTemplate, before: Collection[Location] = ()
) -> bool:
    """Whether a unit that was taken out of a workspace still belongs there.

    It does not where nothing is left of a document of several units: it was removed meanwhile. Nor
    where a copy of the unit is there that was not `before`, and its document is whole without it.
    """
    rows = by_identity(listing.rows, identity).get(identity.of_marker(marker), [])
    if not rows:
        return marker.total_chunks == len(marker.chunks)
    ids, stored, has_copy = {mark.id for mark in marker.chunks}, 0, False
    for row in rows:
        theirs = [mark.id for mark in row.marker.chunks] if row.marker else []
        stored += len(theirs)
        has_copy |= row.location not in before and not ids.isdisjoint(theirs)
    return not has_copy or stored < newest_of(rows).total_chunks


def orphan(file: ListedFile, *, findable_in: Slug | None) -> WorkspaceFinding:
    """A file of ours that no workspace lists.

    Args:
        file: the file.
        findable_in: the workspace where its text is found all the same. Something is wrong with
            that workspace's listing then, and the file stays.
    """
    text = f"the file of {name_of(file)} is in no workspace"
    finding = about(file, FindingKind.ORPHANED_FILE, None, text)
    if (first := first_name(file.location)) is not None:
        return unfinished(finding, first[1])
    if findable_in is None:
        return finding
    return untouchable(finding, f", but its text is found in {findable_in}")


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in a workspace, in numbers.

    Args:
        documents: identities of ours.
        chunks: chunks of ours, doubles included.
        foreign: documents that others put there.
        sentinels: test documents.
    """

    slug: Slug
    name: str
    documents: int
    chunks: int
    foreign: int
    sentinels: int


def contents(listing: Listing, name: str, identity: IdentityTemplate) -> Contents:
    """The numbers of a workspace's listing."""
    by_location = {row.location: row for row in listing.rows}
    kinds = Counter(
        "sentinel" if row.sentinel else "ours" if row.marker else "foreign"
        for row in by_location.values()
    )
    markers = (row.marker for row in by_location.values() if row.marker)
    return Contents(
        slug=listing.slug,
        name=name,
        documents=len(by_identity(listing.rows, identity)),
        chunks=sum(len(marker.chunks) for marker in markers),
        foreign=kinds["foreign"],
        sentinels=kinds["sentinel"],
    )
