"""What is stored of a document more than once, whatever of it is wanted. Pure.

1. Units with the same ids and texts are doubles, of whichever versions: the newest one counts.
2. A chunk of one version is the same one in whichever packs it is: a pack came late, after its
   chunks were uploaded in others or on their own. Those units stay of which each chunk is there
   once, if there are any (`consumer.model.exact_cover`). Of others only those go of which every
   chunk is in one that stays: where packs overlap so that each holds something alone, all stay.
3. Units are looked at in the order of their locations, larger ones first, whatever order they were
   listed in. If two processes kept different copies, they would remove both.
4. One that is listed and not known to be stored stands for no other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Protocol, TypeVar

from consumer.model.exact_cover import exact_cover
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


def is_stored_if_listed(location: Location) -> bool:
    """Every listed unit is stored."""
    return True


def doubles_in(
    stored: Iterable[ComparableUnit], is_proven: Callable[[Location], bool] = is_stored_if_listed
) -> frozenset[Location]:
    """The locations of units that are there once more (rule 1).

    Args:
        stored: the units of one identity in one workspace.
        is_proven: whether a listed unit is known to be stored. One that is not goes before one
            that is.
    """
    copies: dict[object, list[ComparableUnit]] = {}
    for unit in sorted(stored, key=lambda unit: unit.location):
        if unit.chunk_ids:
            copies.setdefault(chunks_of(unit), []).append(unit)
    return frozenset(
        unit.location
        for each in copies.values()
        if len(each) > 1
        for unit in each
        if unit is not _newest([one for one in each if is_proven(one.location)] or each)
    )


def superfluous_in(
    stored: Iterable[ComparableUnit], is_proven: Callable[[Location], bool] = is_stored_if_listed
) -> tuple[frozenset[Location], bool]:
    """The locations of doubles, and of what others hold as well (rule 2); as `doubles_in`.

    Returns:
        Them, and whether some stay only because nobody has seen what others hold.
    """
    units = list(stored)
    doubles = doubles_in(units, is_proven)
    once = [unit for unit in units if unit.location not in doubles]
    contained = contained_in_others(once, is_proven)
    return doubles | contained, not contained and bool(contained_in_others(once))


def contained_in_others(
    stored: Iterable[ComparableUnit], is_proven: Callable[[Location], bool] = is_stored_if_listed
) -> frozenset[Location]:
    """The locations of units of which every chunk is in others of the same version, that stay.

    Args:
        stored: the units of one identity in one workspace, without doubles.
        is_proven: as in `doubles_in`.
    """
    numbers: dict[object, int] = {}  # of chunks: to look one up a hundred times has to be cheap
    units = [
        (unit, frozenset(numbers.setdefault(each, len(numbers)) for each in each_chunk_of(unit)))
        for unit in sorted(stored, key=place_of)
    ]
    there = Counter(chunk for _, chunks in units for chunk in chunks)
    if all(count == 1 for count in there.values()):
        return frozenset()  # as a rule
    proven = [each for each in units if is_proven(each[0].location)]
    once = Counter({chunk for _, chunks in proven for chunk in chunks})
    taken = exact_cover([Counter(chunks) for _, chunks in proven], once, once)
    stays = {unit.location for (unit, _), is_taken in zip(proven, taken, strict=True) if is_taken}
    held = {chunk for unit, chunks in proven if unit.location in stays for chunk in chunks}
    contained: set[Location] = set()
    for unit, chunks in units:
        if unit.location in stays or not chunks:
            continue
        if chunks <= held:
            contained.add(unit.location)
        elif is_proven(unit.location):
            held |= chunks
    return frozenset(contained)


def chosen_blindly(
    goes: Iterable[UnitT], stays: Iterable[UnitT], is_proven: Callable[[Location], bool]
) -> tuple[UnitT, ...]:
    """Units that would go for other copies of their chunks, of which no more is proven.

    Where vectors were refused without a word, one of the two may hold nothing.
    """
    seen: set[object] = set()
    hoped: set[object] = set()
    for unit in stays:
        (seen if is_proven(unit.location) else hoped).update(each_chunk_of(unit))
    hoped -= seen
    return tuple(
        unit
        for unit in goes
        if not hoped.isdisjoint(each_chunk_of(unit)) and not is_proven(unit.location)
    )


def content_of(unit: ComparableUnit) -> tuple[object, ...]:
    """What tells a unit from others of its document, wherever it is stored."""
    return unit.version, tuple(unit.digests), unit.chunk_ids


def chunks_of(unit: ComparableUnit) -> tuple[object, ...]:
    """What doubles have in common."""
    return unit.chunk_ids, tuple(unit.digests)


def each_chunk_of(unit: ComparableUnit) -> Iterable[tuple[DocumentVersion, str, str]]:
    """What tells each chunk from all others of its document; nothing where ids are not known."""
    return (
        (unit.version, *each) for each in zip(unit.digests, unit.chunk_ids.split(), strict=False)
    )


def place_of(unit: ComparableUnit) -> tuple[int, Location]:
    """The order in which units are looked at (rule 3)."""
    return -len(unit.digests), unit.location


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


def _place_and_date(unit: ComparableUnit) -> tuple[int, datetime]:
    return unit.version.offset or 0, unit.version.instant
