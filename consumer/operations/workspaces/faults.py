"""What is wrong with what AnythingLLM holds for us, from its listings: pure.

Rules:

1. Only what the listings prove is found. A listing may show less than everything, so what is
   concluded from an *absence* (of vectors, of rows) says so by its kind.
2. A document is judged only when all of it is settled. Until then an upload without an answer
   may take effect, and its service may be about to put right what looks wrong.
3. An identity with units of several versions is normal: unchanged chunks keep their marker. An
   older unit is *stale* only when the newest version has a unit of its own for every chunk.
4. The same text may stand in a document more than once. AnythingLLM 1.16 then holds it more than
   once, and after an upload that failed halfway even twice under one chunk id. Equal units are a
   *double* only when every chunk of their version has a unit of its own, or when the document has
   more chunks stored than its newest version has. Otherwise they are a *possible double*.
5. Of doubles the one with the lowest location stays. The service keeps the same one
   (`consumer.model.copies`): if the two kept different copies, they would remove both. What is in
   another unit of the same version as well is a double of its chunks there, and goes. Packs that
   overlap in another way are *possible doubles*: several units would have to be found for one to
   go, and the service sees to that.
6. Foreign documents (no marker of ours, or one of a newer format) are never found fault with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from consumer.model.copies import contained_in_others, each_chunk_of, place_of
from consumer.model.identity import IdentityTemplate
from consumer.model.listing import ListedFile, ListedRow, Listing, age_of, by_identity, newest_of
from consumer.model.marker import Marker, StoredUnit
from consumer.model.names import Location, Slug
from consumer.model.version import DocumentVersion
from consumer.operations.workspaces.finding import FindingKind, WorkspaceFinding, found

SENTINEL_SECONDS = 600.0  # a test document this old belongs to a process that is gone


def examine(
    listing: Listing,
    vectors: Mapping[str, int] | None,
    *,
    identity: IdentityTemplate,
    settled: float,
) -> list[WorkspaceFinding]:
    """Everything that one workspace's listing and vectors prove.

    Args:
        listing: its rows.
        vectors: for each ``docSource`` of ours, how many whole sets of vectors there are; None
            where they could not be listed. Then no finding is about them.
        identity: makes the identities of markers.
        settled: seconds after which nothing that is under way can take effect any more.
    """
    findings = [*_old_sentinels(listing), *_listed_twice(listing, settled)]
    for units in by_identity(listing.rows, identity).values():
        if all(unit.age is not None and unit.age > settled for unit in units):
            findings += _Units(listing.slug, units).findings()
    if vectors is not None:
        superfluous = {each.location for each in findings if each.kind is FindingKind.DOUBLE}
        findings += _vectors_gone(listing, vectors, settled, superfluous)
        findings += _vectors_without_row(listing, vectors)
    return findings


def too_young(listing: Listing, settled: float) -> int:
    """How many chunks of ours are in rows that rule 2 keeps from being judged.

    Args:
        listing: a workspace's rows.
        settled: see `examine`.
    """
    rows = {row.location: row for row in listing.rows if age_of(row) <= settled}
    return sum(len(row.marker.chunks) for row in rows.values() if row.marker is not None)


def _old_sentinels(listing: Listing) -> Iterator[WorkspaceFinding]:
    seen = {row.location: row for row in listing.rows if row.sentinel}
    for row in seen.values():
        if row.age is not None and row.age > SENTINEL_SECONDS:
            text = f"a test document, {row.age / 60:.0f} minutes old, was left behind"
            yield about(row, FindingKind.OLD_SENTINEL, listing.slug, text)


def _listed_twice(listing: Listing, settled: float) -> Iterator[WorkspaceFinding]:
    rows: dict[Location, list[ListedRow]] = {}
    for row in listing.rows:
        if row.marker is not None:
            rows.setdefault(row.location, []).append(row)
    for same in rows.values():
        if len(same) > 1 and all(age_of(row) > settled for row in same):
            text = f"{name_of(same[0])} is listed {len(same)} times: one file, embedded again"
            yield about(same[0], FindingKind.LISTED_TWICE, listing.slug, text)


def _vectors_gone(
    listing: Listing, vectors: Mapping[str, int], settled: float, superfluous: set[Location | None]
) -> Iterator[WorkspaceFinding]:
    for source, rows in _by_source(listing.rows).items():
        if (there := vectors.get(source, 0)) >= len(rows):
            continue
        share = "" if len(rows) == 1 else f" ({there} of {len(rows)} copies have them)"
        for location in sorted({row.location for row in rows} - superfluous):
            of_file = [row for row in rows if row.location == location]
            if all(age_of(row) > settled for row in of_file):
                text = f"{name_of(of_file[0])} is listed but can't be found{share}"
                yield about(of_file[0], FindingKind.VECTORS_GONE, listing.slug, text)


def _vectors_without_row(
    listing: Listing, vectors: Mapping[str, int]
) -> Iterator[WorkspaceFinding]:
    rows = _by_source(listing.rows, sentinels=True)
    for source, there in vectors.items():
        if there > (listed := len(rows.get(source, ()))):
            text = f"a text is found {there} times but listed {listed} times"
            yield found(FindingKind.VECTORS_WITHOUT_ROW, listing.slug, text, source=source)


def _by_source(rows: Iterable[ListedRow], *, sentinels: bool = False) -> dict[str, list[ListedRow]]:
    grouped: dict[str, list[ListedRow]] = {}
    for row in rows:
        if row.marker is not None or (sentinels and row.sentinel):
            grouped.setdefault(row.source, []).append(row)
    return grouped


class _Units:
    """The settled units of one identity in one workspace, and what is wrong with them.

    Args:
        slug: of the workspace.
        rows: one a location, in the order of locations.
    """

    def __init__(self, slug: Slug, rows: Sequence[ListedRow]) -> None:
        self._slug = slug
        self._pairs = [(row, row.marker) for row in rows if row.marker is not None]
        self._newest = newest_of(rows)
        self._surplus = 0
        self._ids: dict[tuple[str, DocumentVersion], set[str]] = {}
        for _, marker in self._pairs:
            ids = self._ids.setdefault((marker.document_id, marker.version), set())
            ids.update(mark.id for mark in marker.chunks)

    def findings(self) -> Iterator[WorkspaceFinding]:
        current, whole = [], self._is_whole(self._newest)
        for row, marker in self._pairs:
            if whole and self._newest.version.newer_than(marker.version):
                text = f"{name_of(row)} is of an older version than the one that is stored whole"
                yield about(row, FindingKind.STALE, self._slug, text)
            else:
                current.append((row, marker))
        stored = sum(len(marker.chunks) for _, marker in current)
        self._surplus = stored - self._newest.total_chunks
        groups: dict[object, list[tuple[ListedRow, Marker]]] = {}
        for row, marker in current:
            key = (marker.document_id, tuple((mark.id, mark.digest) for mark in marker.chunks))
            groups.setdefault(key, []).append((row, marker))
        for same in groups.values():
            yield from self._doubles(same)
        yield from self._also_in_packs([same[0] for same in groups.values()])

    def _doubles(self, same: Sequence[tuple[ListedRow, Marker]]) -> Iterator[WorkspaceFinding]:
        kept, marker = same[0]
        is_equal = all(other == marker for _, other in same)
        for row, _ in same[1:]:
            surplus = self._surplus >= len(marker.chunks) > 0
            if is_equal and (surplus or self._is_whole(marker)):
                self._surplus -= len(marker.chunks)
                text = f"{name_of(row)} is stored twice"
                yield about(row, FindingKind.DOUBLE, self._slug, text, keeps=kept.location)
            elif is_equal or surplus:
                text = f"{name_of(row)} may be stored twice"
                yield about(row, FindingKind.POSSIBLE_DOUBLE, self._slug, text, keeps=kept.location)

    def _also_in_packs(
        self, units: Iterable[tuple[ListedRow, Marker]]
    ) -> Iterator[WorkspaceFinding]:
        """Those of which chunks are in others of the same version as well."""
        rows: dict[str, dict[Location, ListedRow]] = {}
        stored: dict[str, list[StoredUnit]] = {}
        for row, marker in units:
            rows.setdefault(marker.document_id, {})[row.location] = row
            stored.setdefault(marker.document_id, []).append(StoredUnit(row.location, marker))
        for document_id, each in stored.items():
            if all(len(unit.marker.chunks) <= 1 for unit in each):
                continue
            for unit, keeps, is_all in _overlapping(each):
                row, count = rows[document_id][unit.location], len(unit.digests)
                if is_all and self._surplus >= count:
                    self._surplus -= count
                    text = f"{name_of(row)} is also stored in a pack"
                    yield about(row, FindingKind.DOUBLE, self._slug, text, keeps=keeps)
                else:
                    text = f"{name_of(row)} is in part stored in another pack as well"
                    yield about(row, FindingKind.POSSIBLE_DOUBLE, self._slug, text, keeps=keeps)

    def _is_whole(self, marker: Marker) -> bool:
        """Whether every chunk of that marker's version has a unit of its own."""
        return len(self._ids[marker.document_id, marker.version]) == marker.total_chunks


def _overlapping(stored: Sequence[StoredUnit]) -> Iterator[tuple[StoredUnit, Location, bool]]:
    """Units that hold what another one holds, with its location; whether it holds all of that."""
    contained = contained_in_others(stored)
    holders: dict[object, Location] = {}
    for unit in sorted(stored, key=lambda unit: (unit.location in contained, place_of(unit))):
        chunks = list(each_chunk_of(unit))
        others = [holders[each] for each in chunks if each in holders]
        if others:
            yield unit, others[0], len(others) == len(chunks) and len({*others}) == 1
        for chunk in chunks:
            holders.setdefault(chunk, unit.location)


def name_of(thing: ListedRow | ListedFile) -> str:
    """What it is called towards people."""
    if thing.marker is None:
        return "a test document"
    ids = ", ".join(mark.id for mark in thing.marker.chunks[:3])
    return f"chunk {ids} of document {thing.marker.document_id}"


def about(
    thing: ListedRow | ListedFile,
    kind: FindingKind,
    workspace: Slug | None,
    text: str,
    *,
    keeps: Location | None = None,
) -> WorkspaceFinding:
    """A finding about a row or file."""
    marker = thing.marker
    return found(
        kind,
        workspace,
        text,
        location=thing.location,
        document_id=marker.document_id if marker else None,
        chunk_ids=tuple(mark.id for mark in marker.chunks) if marker else (),
        keeps=keeps,
        source=thing.source,
    )
