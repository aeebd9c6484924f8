"""Whatever stands in between: nothing lost, no double that stays, nobody blamed, nothing for ever.

Every behaviour meets every operation in virtual time, with default settings (`cell` plays it,
`matrix` says which there are). The figures of all that were played are printed at the end.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from tests.between.cell import Cell, Figures
from tests.between.matrix import cells, in_sample, is_quick, play, table
from tests.packing import UNPACKED_CELLS, packing_or

Rows = list[tuple[Cell, Figures]]


@pytest.fixture(scope="module")
def rows() -> Iterator[Rows]:
    """What was played; shown with ``-s``."""
    played: Rows = []
    yield played
    print("\n" + table(played))


@pytest.fixture(autouse=True)
def quiet() -> None:
    """Hundreds of days in small would write a book."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def _parameters() -> Iterator[Any]:
    for cell in cells():
        marks = (
            [] if is_quick(cell) else [pytest.mark.slow if in_sample(cell) else pytest.mark.release]
        )
        if packing_or("1") != "1" and (reason := UNPACKED_CELLS.get(str(cell))) is not None:
            marks.append(pytest.mark.skip(reason=f"with packs: {reason}"))
        yield pytest.param(cell, marks=marks, id=str(cell))


@pytest.mark.parametrize("cell", list(_parameters()))
def test_whatever_stands_in_between(cell: Cell, rows: Rows) -> None:
    """No loss, no double that stays, no unfair dead letter, nothing for ever, others unharmed."""
    figures = play(cell)
    rows.append((cell, figures))

    assert figures.struck, "it has met nothing"
    assert figures.wrong == []
