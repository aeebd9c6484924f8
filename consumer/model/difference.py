"""The difference between what is wanted of a document and what is stored of it. Pure.

It is the one rule for everybody who uploads, removes, or judges:

1. Chunks are compared by digest as a multiset, never by id or position. Ids are positional
   upstream, so a chunk that is inserted at the start renames all that follow, and the same text may
   stand in a document more than once.
2. A stored unit is kept when all its chunks are wanted and none of them is covered already. Where
   packs overlap, those are kept that hold each text once, if there are any
   (`consumer.model.fitting`).
3. A pack that can't be kept counts as not stored: its wanted chunks are uploaded on their own
   before it is removed. While something is missing, it *lends* what nothing else holds, and stays.
   So what is stored is never said to be stored where it is about to go.
4. Units are looked at in the order of their locations, larger ones first, whatever order they were
   listed in. So a second decision, also one in another process, keeps the same copy.
5. A location is one unit, however often it is listed: AnythingLLM 1.16 lists a document twice that
   was embedded twice, and removing "the second one" removes it.
6. Of equal texts the chunk that was uploaded counts as stored first. What is there more than once
   (`consumer.model.copies`) counts once, also where the other one was chosen before (`beside`). If
   it were kept for another chunk with that text, a later removal of doubles would remove a text
   that is wanted.
7. Units of a newer version are never stale.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic

from consumer.model.copies import (
    ComparableUnit,
    UnitT,
    chunks_of,
    doubles_in,
    each_chunk_of,
    place_of,
)
from consumer.model.fitting import fitting
from consumer.model.version import DocumentVersion


@dataclass(frozen=True, slots=True)
class Cover(Generic[UnitT]):
    """Which stored units hold what is wanted.

    Args:
        covered: the digests that `kept` holds, with how often.
        kept: the units that stay, by location.
        left: all other units, by location.
        lenders: those of them that hold what is wanted and not covered (rule 3), by location.
        lent: the digests of that, with how often.
    """

    covered: Counter[str]
    kept: tuple[UnitT, ...]
    left: tuple[UnitT, ...]
    lenders: tuple[UnitT, ...]
    lent: Counter[str]


@dataclass(frozen=True, slots=True)
class Difference(Generic[UnitT]):
    """What is to be done; chunks are named by their position among the wanted ones.

    Args:
        unchanged: positions of chunks that are stored.
        missing: positions of chunks that are not.
        lent: those of `missing` that are stored in stale units.
        kept: the units that hold the unchanged chunks.
        stale: the units to remove once nothing is missing any more.
    """

    unchanged: tuple[int, ...]
    missing: tuple[int, ...]
    lent: tuple[int, ...]
    kept: tuple[UnitT, ...]
    stale: tuple[UnitT, ...]


def anybody(unit: ComparableUnit) -> bool:
    """Any unit may lend."""
    return True


def cover(
    wanted: Iterable[str],
    stored: Iterable[UnitT],
    *,
    beside: Iterable[ComparableUnit] = (),
    may_lend: Callable[[UnitT], bool] = anybody,
) -> Cover[UnitT]:
    """Choose the units that stay (module docstring).

    Args:
        wanted: digests, each as often as it is wanted.
        stored: the units of one identity in one workspace.
        beside: others of it that stay, for something else.
        may_lend: whether a unit that holds a text may be relied on. Asked where it matters.
    """
    by_location = {unit.location: unit for unit in stored}
    units = sorted(by_location.values(), key=place_of)
    wanting, stays = Counter(wanted), tuple(beside)
    doubles, copied = doubles_in(units), {chunks_of(unit) for unit in stays if unit.chunk_ids}
    once = [u for u in units if u.location not in doubles and chunks_of(u) not in copied]
    known = {chunk for unit in stays for chunk in each_chunk_of(unit)}
    kept = fitting(wanting, once, known)
    covered = Counter(digest for unit in kept for digest in unit.digests)
    is_kept = {unit.location for unit in kept}
    others = [unit for unit in once if unit.location not in is_kept]
    lenders, lent = _lenders(wanting - covered, others, (*stays, *kept), may_lend)
    left = (unit for unit in units if unit.location not in is_kept)
    return Cover(covered, _by_location(kept), _by_location(left), _by_location(lenders), lent)


def _lenders(
    missing: Counter[str],
    units: Iterable[UnitT],
    stays: Iterable[ComparableUnit],
    may_lend: Callable[[UnitT], bool],
) -> tuple[list[UnitT], Counter[str]]:
    """The units that have to stay for what is missing otherwise, and what they lend (rule 3)."""
    lenders, lent = list[UnitT](), Counter[str]()
    if not missing:
        return lenders, lent
    known = {chunk for unit in stays for chunk in each_chunk_of(unit)}
    for unit in units:
        chunks = set(each_chunk_of(unit))
        held = Counter(chunk[1] for chunk in chunks - known) if chunks else Counter(unit.digests)
        more = {each: min(count, missing[each] - lent[each]) for each, count in held.items()}
        if any(count > 0 for count in more.values()) and may_lend(unit):
            lenders.append(unit)
            lent.update(more)
            known |= chunks
    return lenders, lent


def cover_in_turn(
    wanted: Iterable[str], groups: Sequence[Sequence[UnitT]], *, there: Sequence[UnitT] = ()
) -> tuple[list[UnitT], Counter[str]]:
    """Choose what stays of several groups: from the first one what it has, and so on.

    Args:
        wanted: digests, each as often as it is wanted.
        groups: of units of one identity in one workspace.
        there: others of it that stay anyway: what they hold need not be chosen.

    Returns:
        The units that stay, lenders as well, and what is missing all the same.
    """
    doubles = doubles_in(there)
    once = [unit for unit in there if unit.location not in doubles]
    missing, stays = Counter(wanted), list[UnitT]()
    missing -= _lenders(missing, once, (), anybody)[1]
    for is_lending in (False, True):  # whatever can be kept goes before whatever has to lend
        for group in groups:
            if not missing:
                return stays, missing
            chosen = {unit.location for unit in stays}
            others = [unit for unit in group if unit.location not in chosen]
            found = cover(missing.elements(), others, beside=[*there, *stays])
            stays += found.kept
            missing -= found.covered
            if is_lending:
                stays += found.lenders
                missing -= found.lent
    return stays, missing


def count_held(wanted: Iterable[str], stored: Iterable[ComparableUnit]) -> int:
    """How many of the wanted chunks are there, also in packs that hold something else as well.

    Such a pack stays where a new chunk of its document was refused.

    Args:
        wanted: digests, each as often as it is wanted.
        stored: the units of one identity in one workspace.
    """
    found = cover(wanted, stored)
    return found.covered.total() + found.lent.total()


def _by_location(units: Iterable[UnitT]) -> tuple[UnitT, ...]:
    return tuple(sorted(units, key=lambda unit: unit.location))


def difference(
    wanted: Sequence[str],
    stored: Iterable[UnitT],
    version: DocumentVersion,
    *,
    ids: Sequence[str] = (),
    may_lend: Callable[[UnitT], bool] = anybody,
) -> Difference[UnitT]:
    """Compare a document with what is stored of it.

    Args:
        wanted: the digests of its chunks, in order.
        stored: the units of its identity in the workspace.
        version: of the document.
        ids: the ids of its chunks, each by `consumer.model.marker.hash_of_ids`, in order. Without
            them any of equal texts counts as the stored one.
        may_lend: as in `cover`.
    """
    found = cover(wanted, stored, may_lend=may_lend)
    every = range(len(wanted))
    unchanged, missing = _shared_out(every, found.covered, found.kept, wanted, ids)
    lent, _ = _shared_out(missing, found.lent, found.lenders, wanted, ids)
    stale = tuple(unit for unit in found.left if not unit.version.newer_than(version))
    return Difference(tuple(unchanged), tuple(missing), tuple(lent), found.kept, stale)


def _shared_out(
    positions: Sequence[int],
    there: Counter[str],
    units: Iterable[ComparableUnit],
    wanted: Sequence[str],
    ids: Sequence[str],
) -> tuple[list[int], list[int]]:
    """Which positions have a text that is there, those first whose own chunk it is (rule 6).

    If another one of equal texts counted as stored, the chunk itself would be uploaded once more
    and be a double of what stands for the other one.
    """
    left, named = Counter(there), {chunk[1:] for unit in units for chunk in each_chunk_of(unit)}
    have, lack = list[int](), list[int]()
    others_last = sorted(positions, key=lambda n: not ids or (wanted[n], ids[n]) not in named)
    for position in others_last:
        if left[wanted[position]] > 0:
            left[wanted[position]] -= 1
            have.append(position)
        else:
            lack.append(position)
    return sorted(have), sorted(lack)
