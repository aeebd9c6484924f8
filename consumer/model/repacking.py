"""Repacking: what is stored of a document, cut anew as it would be cut today. Pure.

1. Only a document of which every chunk is stored is cut anew: of others the next event decides.
2. A stored unit that holds what one of today's packs would hold stays, also one that would go as a
   mere copy: whoever was stopped in between goes on. All others go, once what they hold is stored
   in today's packs.
3. Of a text that stands in the document more than once, a unit stays only with the ids of the pack
   itself. Else the chunk would be uploaded once more beside its own copy, which stands for another
   one of these texts, and would go as a double.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from consumer.model.copies import ComparableUnit, UnitT
from consumer.model.difference import Difference
from consumer.model.names import Location
from consumer.model.version import DocumentVersion


def repacked(
    found: Difference[UnitT],
    today: Sequence[Sequence[int]],
    version: DocumentVersion,
    *,
    wanted: Sequence[str],
    ids: Sequence[str],
) -> Difference[UnitT]:
    """The same difference, in which what is packed in another way than today is stale (rules).

    Args:
        found: by `consumer.model.difference.difference`.
        today: the packs of the whole document, as positions.
        version: of the document.
        wanted: the digests of its chunks, in order.
        ids: the ids of its chunks, each by `consumer.model.marker.hash_of_ids`, in order.

    Returns:
        A difference whose `missing` are all `lent`, by stale units.
    """
    if found.missing or any(unit.version.newer_than(version) for unit in found.kept):
        return found
    often = {digest for digest, count in Counter(wanted).items() if count > 1}
    stored = (*found.kept, *found.stale)
    there: dict[object, list[UnitT]] = {}
    for unit in reversed(stored):
        there.setdefault(_held_by(unit, often), []).append(unit)
    unchanged: set[int] = set()
    stays: set[Location] = set()
    for pack in today:
        key = frozenset((wanted[n], ids[n] if wanted[n] in often else "") for n in pack)
        if same := there.get(key):
            unchanged.update(pack)
            stays.add(same.pop().location)
    moved = tuple(n for n in range(len(wanted)) if n not in unchanged)
    return Difference(
        unchanged=tuple(sorted(unchanged)),
        missing=moved,
        lent=moved,
        kept=tuple(unit for unit in stored if unit.location in stays),
        stale=tuple(unit for unit in stored if unit.location not in stays),
    )


def _held_by(unit: ComparableUnit, often: set[str]) -> object:
    """What a unit holds, to be compared with what a pack would hold; packs hold no text twice."""
    ids = unit.chunk_ids.split() or [""] * len(unit.digests)
    held = [(d, id if d in often else "") for d, id in zip(unit.digests, ids, strict=False)]
    return frozenset(held) if len(set(held)) == len(unit.digests) else unit.location
