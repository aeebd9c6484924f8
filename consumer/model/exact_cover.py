"""Exact cover: which of several overlapping units to take, so that nothing is there twice. Pure.

Units overlap where packs of one document were cut in different ways. The best choice among them can
take for ever to find, so these rules go as far as they go:

1. What is needed and only one unit has left: that unit is taken. A unit that would bring too much
   of something is left. Each may show more of its kind.
2. Then the first unit that is not decided is taken, unless rule 1 shows that something needed could
   not be had any more: then it is left for certain.
3. What can't be had is needed no longer, and at last whatever still fits is taken.

So nothing is taken too often, whatever overlaps; and where a choice holds all that is needed, it is
found unless several overlap in a knot that rule 1 can't see through.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT", bound=Hashable)


def exact_cover(
    units: Sequence[Mapping[ItemT, int]],
    room: Mapping[ItemT, int],
    need: Mapping[ItemT, int],
) -> list[bool]:
    """Choose units (module docstring).

    Args:
        units: what each holds, items with how often; those that come first are taken first.
        room: how often an item may be taken; one that is not there, not at all.
        need: how often it should be, at most as often as there is room.

    Returns:
        For each unit whether it is taken.
    """
    decided = _Decisions(units, room, need)
    decided.follow(item for unit in units for item in unit)
    for n in range(len(units)):
        if decided.is_open(n) and not decided.try_to_take(n):
            decided.leave(n)
    decided.take_what_fits()
    return decided.taken


class _Decisions(Generic[ItemT]):
    """What is decided so far; the arguments are those of `exact_cover`."""

    def __init__(
        self,
        units: Sequence[Mapping[ItemT, int]],
        room: Mapping[ItemT, int],
        need: Mapping[ItemT, int],
    ) -> None:
        self._units = units
        self._room = Counter(room)
        self._need = Counter(need)
        self._open = Counter[ItemT]()  # what undecided units hold
        self._most = Counter[ItemT]()  # of an item in one unit
        self._holders = defaultdict[ItemT, list[int]](list)
        self._is_taken: list[bool | None] = [None] * len(units)
        self._order: list[int] = []  # in which they were decided
        for n, unit in enumerate(units):
            self._open.update(unit)
            for item, count in unit.items():
                self._most[item] = max(count, self._most[item])
                self._holders[item].append(n)

    @property
    def taken(self) -> list[bool]:
        return [bool(each) for each in self._is_taken]

    def is_open(self, n: int) -> bool:
        return self._is_taken[n] is None

    def try_to_take(self, n: int) -> bool:
        """Take a unit, and what follows from that; or nothing, where something would be missing."""
        before = len(self._order)
        if self._fits(n):
            self._decide(n, is_taken=True)
            if self.follow(self._units[n], is_trial=True):
                return True
        while len(self._order) > before:
            self._undo(self._order.pop())
        return False

    def leave(self, n: int) -> None:
        self._decide(n, is_taken=False)
        self.follow(self._units[n])

    def take_what_fits(self) -> None:
        for n in range(len(self._units)):
            if not self._is_taken[n] and self._fits(n):
                self._undo(n)
                self._decide(n, is_taken=True)

    def follow(self, items: Iterable[ItemT], *, is_trial: bool = False) -> bool:
        """Decide what follows for these items (rule 1); False: something can't be had any more."""
        changed = dict.fromkeys(items)
        while changed:
            item = next(iter(changed))
            del changed[item]
            if self._need[item] > self._open[item]:
                if is_trial:
                    return False
                self._need[item] = self._open[item]
            is_last = 0 < self._need[item] == self._open[item]
            if is_last or self._room[item] < self._most[item]:
                for n in self._holders[item]:
                    if self.is_open(n) and (is_last or not self._fits(n)):
                        self._decide(n, is_taken=self._fits(n))
                        changed.update(dict.fromkeys(self._units[n]))
        return True

    def _fits(self, n: int) -> bool:
        return all(self._room[item] >= count for item, count in self._units[n].items())

    def _decide(self, n: int, *, is_taken: bool) -> None:
        self._is_taken[n] = is_taken
        self._order.append(n)
        self._open.subtract(self._units[n])
        if is_taken:
            self._room.subtract(self._units[n])
            self._need.subtract(self._units[n])

    def _undo(self, n: int) -> None:
        if self._is_taken[n]:
            self._room.update(self._units[n])
            self._need.update(self._units[n])
        self._open.update(self._units[n])
        self._is_taken[n] = None
