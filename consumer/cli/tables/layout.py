"""Which columns of a table fit into a line, and how wide each becomes. Pure.

Rules:

1. A row is one line. The columns come in by their importance, of equals the one furthest to the
   left first, each if its narrowest form still fits; the most important one is always there.
2. Names that people copy are never cut: such a column is whole or it is not there.
3. What is left of the line goes to the columns in the order of their importance.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

GAP = 2  # cells between two columns
_SPILLING = 0.6  # of a line: a name that is longer does not decide for all others


@dataclass(frozen=True, slots=True)
class Extent:
    """How wide a column would be, in cells of a terminal.

    Args:
        importance: columns of a great one come first.
        full: for everything in it, its heading as well.
        least: in its narrowest form that still says something; `full` where there is no other.
        gradual: every width from `least` on is of use; otherwise only these two.
    """

    importance: int
    full: int
    least: int
    gradual: bool = False


def laid_out(extents: Sequence[Extent], room: int | None) -> tuple[int | None, ...]:
    """The width of each column; None where it is left out.

    >>> laid_out([Extent(9, 10, 10), Extent(1, 30, 30), Extent(5, 40, 12, gradual=True)], 40)
    (10, None, 28)

    Args:
        extents: of the columns, from left to right.
        room: cells of the line; None where a line may be of any length.
    """
    if room is None:
        return tuple(each.full for each in extents)
    kept = _kept(extents, room)
    widths = {number: extents[number].least for number in kept}
    spare = room - _width(widths.values())
    for number in kept:
        wanted = extents[number].full - widths[number]
        given = min(wanted, max(spare, 0)) if extents[number].gradual else wanted
        if given <= spare:
            widths[number] += given
            spare -= given
    return tuple(widths.get(number) for number in range(len(extents)))


def _kept(extents: Sequence[Extent], room: int) -> list[int]:
    """The columns that there is room for, the most important one first."""
    kept: list[int] = []
    for number in _by_importance(extents):
        widths = (extents[each].least for each in (*kept, number))
        if not kept or _width(widths) <= room:
            kept.append(number)
    return kept


def _by_importance(extents: Sequence[Extent]) -> list[int]:
    return sorted(range(len(extents)), key=lambda number: (-extents[number].importance, number))


def _width(widths: Iterable[int]) -> int:
    every = list(widths)
    return sum(every) + GAP * (len(every) - 1)


def width_of_names(lengths: Iterable[int], room: int | None) -> int:
    """How wide a column of names has to be; 0 without any.

    A name of extraordinary length, as a whole URL may be one, makes its own row longer than the
    line, and takes no column away from the rows of all others. Where all are so long, the shortest
    of them decides.

    Args:
        lengths: of the names, in cells.
        room: cells of the line; None where a line may be of any length.
    """
    every = list(lengths)
    if room is None or not every:
        return max(every, default=0)
    usual = [each for each in every if each <= room * _SPILLING]
    return max(usual) if usual else min(every)
