"""What is wanted of a document against what is stored of it: the one rule for everybody. Pure.

1. Chunks are compared by digest as a multiset, never by id or position. Ids are positional
   upstream, so a chunk that is inserted at the start renames all that follow, and the same text may
   stand in a document more than once.
2. A stored unit is kept when all its chunks are wanted and none of them is covered already. Of
   equal units one is kept. A pack that holds something unwanted counts as not stored: its wanted
   chunks are uploaded on their own before it is removed.
3. Units are looked at in the order of their locations, whatever order they were listed in, those
   of more chunks first. So a second decision, also one in another process, keeps the same copy. If
   two processes kept different copies, they would remove both. A small pack kept first would make
   one that holds its texts and others count as not stored, and those be uploaded once more. Where
   packs overlap so that something stays uncovered, those of newer events are tried first: what was
   uploaded last for a document fits together, and packs of former ones that came late do not.
4. A location is one unit, however often it is listed: AnythingLLM 1.16 lists a document twice that
   was embedded twice, and removing "the second one" removes it.
5. Of equal texts the chunk that was uploaded counts as stored first. Units with the same ids and
   texts are doubles, of whichever versions: the newest one counts, the others hold nothing, also
   where that one was chosen before (`beside`). If one were kept for another chunk with that text, a
   later removal of doubles would remove a text that is wanted. For the same reason a unit of which
   every chunk is in kept ones of its version as well holds nothing: a pack came late, after its
   chunks were uploaded on their own.
6. Units of a newer version are never stale.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from consumer.model.names import Location
from consumer.model.version import DocumentVersion


class ComparableUnit(Protocol):
    """A stored unit, as far as deciding needs it: a `StoredUnit`, or a row of an index."""

    @property
    def location(self) -> Location:
        """AnythingLLM's handle."""
        ...

    @property
    def version(self) -> DocumentVersion:
        """The version of the document it was stored with."""
        ...

    @property
    def digests(self) -> Sequence[str]:
        """The digests of its chunks."""
        ...

    @property
    def chunk_ids(self) -> str:
        """Hashes of the ids of its chunks (`consumer.model.marker.hash_of_ids`)."""
        ...


UnitT = TypeVar("UnitT", bound=ComparableUnit)


@dataclass(frozen=True, slots=True)
class Cover(Generic[UnitT]):
    """Which stored units hold what is wanted.

    Args:
        covered: the digests that `kept` holds, with how often.
        kept: the units that stay, by location.
        left: all other units, by location.
    """

    covered: Counter[str]
    kept: tuple[UnitT, ...]
    left: tuple[UnitT, ...]


@dataclass(frozen=True, slots=True)
class Difference(Generic[UnitT]):
    """What is to be done; chunks are named by their position among the wanted ones.

    Args:
        unchanged: positions of chunks that are stored.
        missing: positions of chunks that are not.
        kept: the units that hold the unchanged chunks.
        stale: the units to remove once nothing is missing any more.
    """

    unchanged: tuple[int, ...]
    missing: tuple[int, ...]
    kept: tuple[UnitT, ...]
    stale: tuple[UnitT, ...]


def cover(
    wanted: Iterable[str],
    stored: Iterable[UnitT],
    *,
    beside: Iterable[ComparableUnit] = (),
) -> Cover[UnitT]:
    """Choose the units that stay (module docstring).

    Args:
        wanted: digests, each as often as it is wanted.
        stored: the units of one identity in one workspace.
        beside: others of it that stay, for something else.
    """
    by_location = {unit.location: unit for unit in stored}
    larger_first = sorted(by_location.values(), key=_place_in_cover)
    wanting, stays = Counter(wanted), tuple(beside)
    found = _cover(wanting, larger_first, stays)
    if found.covered == wanting or all(len(unit.digests) <= 1 for unit in larger_first):
        return found
    newer_first = sorted(larger_first, key=_date_and_place, reverse=True)
    other = _cover(wanting, newer_first, stays)
    return other if other.covered.total() > found.covered.total() else found


def _cover(
    wanted: Counter[str], stored: Sequence[UnitT], beside: Sequence[ComparableUnit]
) -> Cover[UnitT]:
    """Choose in this order."""
    wanting = Counter(wanted)
    covered: Counter[str] = Counter()
    kept: list[UnitT] = []
    left: list[UnitT] = []
    doubles = doubles_in(stored)
    stays = {_chunks_of(unit) for unit in beside if unit.chunk_ids}
    # Chunks of units that stay.
    known = {(unit.version, *chunk) for unit in beside for chunk in _each_chunk_of(unit)}
    for unit in stored:
        chunks = {(unit.version, *chunk) for chunk in _each_chunk_of(unit)}
        is_copy = unit.location in doubles or _chunks_of(unit) in stays
        is_double = is_copy or (bool(chunks) and chunks <= known)
        held = Counter(() if is_double else unit.digests)
        if held and all(wanting[digest] >= count for digest, count in held.items()):
            wanting.subtract(held)
            covered.update(held)
            kept.append(unit)
            known |= chunks
        else:
            left.append(unit)
    return Cover(covered, _by_location(kept), _by_location(left))


def count_held(wanted: Iterable[str], stored: Iterable[ComparableUnit]) -> int:
    """How many of the wanted chunks are there, also in packs that hold something else as well.

    Such a pack stays where a new chunk of its document was refused.

    Args:
        wanted: digests, each as often as it is wanted.
        stored: the units of one identity in one workspace.
    """
    by_location = {unit.location: unit for unit in stored}
    more = superfluous_in(by_location.values())
    there = (unit.digests for unit in by_location.values() if unit.location not in more)
    return (Counter(wanted) & Counter(digest for each in there for digest in each)).total()


def _by_location(units: Iterable[UnitT]) -> tuple[UnitT, ...]:
    return tuple(sorted(units, key=lambda unit: unit.location))


def _place_in_cover(unit: ComparableUnit) -> tuple[int, Location]:
    return -len(unit.digests), unit.location


def is_stored_if_listed(location: Location) -> bool:
    """Every listed unit is stored."""
    return True


def doubles_in(
    stored: Iterable[ComparableUnit], is_proven: Callable[[Location], bool] = is_stored_if_listed
) -> frozenset[Location]:
    """The locations of units that are there once more (rule 5).

    Args:
        stored: the units of one identity in one workspace.
        is_proven: whether a listed unit is known to be stored. One that is not goes before one
            that is.
    """
    copies: dict[object, list[ComparableUnit]] = {}
    for unit in sorted(stored, key=lambda unit: unit.location):
        if unit.chunk_ids:
            copies.setdefault(_chunks_of(unit), []).append(unit)
    return frozenset(
        unit.location
        for each in copies.values()
        if len(each) > 1
        for unit in each
        if unit is not _newest([one for one in each if is_proven(one.location)] or each)
    )


def superfluous_in(
    stored: Iterable[ComparableUnit], is_proven: Callable[[Location], bool] = is_stored_if_listed
) -> frozenset[Location]:
    """The locations of doubles, and of what others hold as well (rule 5); as `doubles_in`."""
    units = list(stored)
    doubles = doubles_in(units, is_proven)
    once = (unit for unit in units if unit.location not in doubles)
    return doubles | contained_in_others(once, is_proven)


def contained_in_others(
    stored: Iterable[ComparableUnit], is_proven: Callable[[Location], bool] = is_stored_if_listed
) -> frozenset[Location]:
    """The locations of units of which every chunk is in others of the same version, that stay.

    A pack that came late, after its chunks were uploaded on their own or in another pack, or these
    beside it. What is not known to be stored stands for no other; else the larger one stays.

    Args:
        stored: the units of one identity in one workspace, without doubles.
        is_proven: as in `doubles_in`.
    """
    held: dict[DocumentVersion, set[tuple[str, str]]] = {}
    contained: set[Location] = set()
    larger_first = sorted(stored, key=_place_in_cover)
    for unit in sorted(larger_first, key=lambda unit: not is_proven(unit.location)):
        there = held.setdefault(unit.version, set())
        chunks = set(_each_chunk_of(unit))
        if chunks and chunks <= there:
            contained.add(unit.location)
        elif is_proven(unit.location):
            there |= chunks
    return frozenset(contained)


def _each_chunk_of(unit: ComparableUnit) -> Iterable[tuple[str, str]]:
    return zip(unit.digests, unit.chunk_ids.split(), strict=False)


def chosen_blindly(
    goes: Iterable[UnitT], stays: Iterable[UnitT], is_proven: Callable[[Location], bool]
) -> tuple[UnitT, ...]:
    """Units that would go for another copy of the same event's, of which no more is proven.

    Where vectors were refused without a word, one of the two may hold nothing.
    """
    left = [(content_of(unit), is_proven(unit.location)) for unit in stays]
    seen = {content for content, is_seen in left if is_seen}
    hoped = {content for content, _ in left} - seen
    return tuple(
        unit for unit in goes if content_of(unit) in hoped and not is_proven(unit.location)
    )


def content_of(unit: ComparableUnit) -> tuple[object, ...]:
    """What tells a unit from others of its document, wherever it is stored."""
    return unit.version, tuple(unit.digests), unit.chunk_ids


def _chunks_of(unit: ComparableUnit) -> tuple[object, ...]:
    """What doubles have in common."""
    return unit.chunk_ids, tuple(unit.digests)


def _newest(copies: Sequence[ComparableUnit]) -> ComparableUnit:
    """The copy of the newest event, the same one everywhere; the first where several have it.

    In one partition that is the last event, whatever its date: a tombstone lies between it and one
    of a later date. Otherwise it would have been superseded.
    """
    last: dict[int, ComparableUnit] = {}
    for unit in copies:
        partition = -1 if unit.version.partition is None else unit.version.partition
        last[partition] = max(last.get(partition, unit), unit, key=_place_and_date)
    return max(last.items(), key=lambda one: (one[1].version.instant, one[0]))[1]


def _date_and_place(unit: ComparableUnit) -> tuple[datetime, int]:
    return unit.version.instant, unit.version.offset or 0


def _place_and_date(unit: ComparableUnit) -> tuple[int, datetime]:
    return unit.version.offset or 0, unit.version.instant


def difference(
    wanted: Sequence[str],
    stored: Iterable[UnitT],
    version: DocumentVersion,
    *,
    ids: Sequence[str] = (),
) -> Difference[UnitT]:
    """Compare a document with what is stored of it.

    Args:
        wanted: the digests of its chunks, in order.
        stored: the units of its identity in the workspace.
        version: of the document.
        ids: the ids of its chunks, each by `consumer.model.marker.hash_of_ids`, in order. Without
            them any of equal texts counts as the stored one.
    """
    found = cover(wanted, stored)
    named = {chunk for unit in found.kept for chunk in _each_chunk_of(unit)}
    there = Counter(found.covered)
    unchanged, missing = [], []
    others_last = sorted(
        range(len(wanted)), key=lambda each: not ids or (wanted[each], ids[each]) not in named
    )
    for position in others_last:
        if there[wanted[position]] > 0:
            there[wanted[position]] -= 1
            unchanged.append(position)
        else:
            missing.append(position)
    stale = tuple(unit for unit in found.left if not unit.version.newer_than(version))
    return Difference(tuple(sorted(unchanged)), tuple(sorted(missing)), found.kept, stale)
