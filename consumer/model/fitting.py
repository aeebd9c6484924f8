"""Fitting: which stored units together hold what is wanted, each text as often. Pure.

1. A unit fits when all that it holds is wanted.
2. As a rule all that fit are taken. Where some hold the same texts, and no others hold any of them,
   as many as are wanted are taken, the first ones.
3. Of others what is in others as well is left out, and an exact cover chooses
   (`consumer.model.exact_cover`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Sequence

from consumer.model.copies import ComparableUnit, UnitT, contained_in_others, each_chunk_of
from consumer.model.exact_cover import exact_cover
from consumer.model.names import Location
from consumer.model.version import DocumentVersion


def fitting(wanted: Counter[str], units: Iterable[UnitT], known: Collection[object]) -> list[UnitT]:
    """The units that are kept.

    Args:
        wanted: digests, each as often as it is wanted.
        units: of one document, no doubles among them, in the order in which they are chosen.
        known: chunks that others hold, which stay.
    """
    within = [unit for unit in units if unit.digests and _is_within(unit.digests, wanted)]
    there = Counter(digest for unit in within for digest in unit.digests)
    chunks = Counter(chunk for unit in within for chunk in each_chunk_of(unit))
    if there <= wanted and not any(chunk in known or chunks[chunk] > 1 for chunk in chunks):
        return within  # as a rule
    alike, others = _alike(wanted, within, {c for c, n in chunks.items() if n > 1 or c in known})
    taken = {unit.location for unit in _first_of(alike, wanted)}
    if others:
        taken |= _covering(wanted, others, known)
    return [unit for unit in within if unit.location in taken]


def _covering(
    wanted: Counter[str], units: Sequence[UnitT], known: Collection[object]
) -> set[Location]:
    """The locations of those that hold each text once; of units that overlap.

    What is in others as well is left out first, as whoever does not know what is wanted would do.
    Where that leaves something uncovered it may be the others that are to go: a pack that came late
    has a text as well that stays in another pack, for another chunk.
    """
    contained = contained_in_others(units)
    chosen = _fitting_together(
        wanted, [unit for unit in units if unit.location not in contained], known
    )
    if contained and _texts_in(chosen) < (wanted & _texts_in(units)):
        every = _fitting_together(wanted, units, known)
        chosen = max(chosen, every, key=lambda some: _texts_in(some).total())
    return {unit.location for unit in chosen}


def _texts_in(units: Iterable[ComparableUnit]) -> Counter[str]:
    return Counter(digest for unit in units for digest in unit.digests)


def _fitting_together(
    wanted: Counter[str], units: Sequence[UnitT], known: Collection[object]
) -> list[UnitT]:
    chunks = {chunk for unit in units for chunk in each_chunk_of(unit)}
    # Of equal chunks only one counts, so no more texts can be had than there are different ones.
    unnamed = Counter(digest for unit in units if not unit.chunk_ids for digest in unit.digests)
    need = wanted & (Counter(chunk[1] for chunk in chunks if chunk not in known) + unnamed)
    room = Counter[Hashable](wanted)
    room.update(chunk for chunk in chunks if chunk not in known)
    items = [Counter[Hashable]((*unit.digests, *each_chunk_of(unit))) for unit in units]
    taken = exact_cover(items, room, Counter[Hashable](need))
    return [unit for unit, is_taken in zip(units, taken, strict=True) if is_taken]


def _alike(
    wanted: Counter[str], units: Sequence[UnitT], shared: set[tuple[DocumentVersion, str, str]]
) -> tuple[list[UnitT], list[UnitT]]:
    """Units whose texts are in no unit that holds others as well, and all other units.

    Args:
        wanted: digests, each as often as it is wanted.
        units: in the order in which they are chosen.
        shared: chunks that others hold, too.
    """
    of: dict[str, tuple[str, ...]] = {}
    for unit in units:
        texts = tuple(sorted(unit.digests)) if len(unit.digests) > 1 else tuple(unit.digests)
        is_plain = _are_plain(texts, wanted) and shared.isdisjoint(each_chunk_of(unit))
        for digest in texts:
            if not is_plain or of.setdefault(digest, texts) != texts:
                of[digest] = ()
    alike, others = list[UnitT](), list[UnitT]()
    for unit in units:
        (alike if all(of[digest] for digest in unit.digests) else others).append(unit)
    return alike, others


def _first_of(alike: Iterable[UnitT], wanted: Counter[str]) -> Iterable[UnitT]:
    """Of units with the same texts as many as are wanted, the first ones.

    `exact_cover` would choose the same ones, at many times the cost: where each of 20,000 chunks
    was there twice, under other ids, nothing else went on for more than a second.
    """
    taken = Counter[str]()
    for unit in alike:
        text = min(unit.digests)  # in whatever order; the others are there as often
        if taken[text] < wanted[text]:
            taken[text] += 1
            yield unit


def _are_plain(texts: Sequence[str], wanted: Counter[str]) -> bool:
    """Whether no text is there twice, and each is wanted as often as the others."""
    if len(texts) == 1:
        return True
    return len(set(texts)) == len(texts) and len({wanted[text] for text in texts}) == 1


def _is_within(digests: Sequence[str], wanted: Counter[str]) -> bool:
    if len(digests) == 1:
        return wanted[digests[0]] > 0
    return all(wanted[digest] >= count for digest, count in Counter(digests).items())
