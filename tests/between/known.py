"""Cells of the matrix that are not right yet, each with the kind of trouble it belongs to."""

from __future__ import annotations

import re

from tests.between.cell import Cell

NOT_YET = (
    (
        r"answers-40[13]-removal-(once|lasts)",
        "one refusal of a removal is not one for good; README: a dead letter at once",
    ),
)


def not_yet(cell: Cell) -> str | None:
    """Why a cell is not right yet; None where it has to be."""
    for pattern, reason in NOT_YET:
        if re.fullmatch(pattern, str(cell)):
            return reason
    return None
