"""A workspace's listing: its rows, its files, and which documents they make up. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from consumer.model.identity import IdentityTemplate
from consumer.model.marker import Marker
from consumer.model.names import Identity, Location, Slug

FILE_STORE = Slug("*")
"""Where a listing is asked for: the files of every workspace. No workspace has this slug."""

LONGEST_LISTING = 536_870_888
"""Characters of the longest string of Node 20 (V8), as which AnythingLLM 1.16 builds a listing."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A workspace's listing, read to its end.

    Args:
        workspace_id: AnythingLLM's number of the workspace. Another number under the same slug is
            another workspace. None where there is no workspace.
        rows: how many rows it has, ours and those of others.
        etag: names this state of the listing, to ask whether it has changed; None where the server
            names none.
        size: bytes of the listing.
    """

    workspace_id: int | None
    rows: int
    etag: str | None
    size: int = 0


@dataclass(frozen=True, slots=True)
class ListedRow:
    """A row of a workspace's listing.

    Args:
        location: AnythingLLM's handle.
        source: ``docSource`` verbatim.
        age: seconds since the row was made, by the server's clock; None where unknown.
        marker: ours, or None.
        sentinel: whether it is a test document that proves a workspace ready.
    """

    location: Location
    source: str
    age: float | None
    marker: Marker | None
    sentinel: bool


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file of ours in AnythingLLM's store; as `ListedRow`.

    Args:
        embedded: whether it was ever embedded (``cached``).
    """

    location: Location
    source: str
    marker: Marker | None
    sentinel: bool
    embedded: bool


@dataclass(frozen=True, slots=True)
class Listing:
    """A workspace's rows at one time, by the server's clock."""

    slug: Slug
    rows: tuple[ListedRow, ...]
    at: datetime


def by_identity(
    rows: Iterable[ListedRow], identity: IdentityTemplate
) -> dict[Identity, list[ListedRow]]:
    """Our units by the identity of their document, each location once, in order of location.

    A location that is listed twice is as young as its younger row.
    """
    units: dict[Location, ListedRow] = {}
    for row in rows:
        if row.marker is not None:
            other = units.get(row.location)
            units[row.location] = row if other is None else min(row, other, key=age_of)
    documents: dict[Identity, list[ListedRow]] = {}
    for _, row in sorted(units.items()):
        if (marker := row.marker) is not None:
            documents.setdefault(identity.of_marker(marker), []).append(row)
    return documents


def age_of(row: ListedRow) -> float:
    """Seconds since the row was made; below zero, and so young, where that is not known."""
    return -1.0 if row.age is None else row.age


def newest_of(rows: Iterable[ListedRow]) -> Marker:
    """The marker of the newest version among rows, at least one of which is ours."""
    markers = (row.marker for row in rows if row.marker is not None)
    return max(markers, key=lambda marker: (marker.version.instant, marker.version.offset or 0))
