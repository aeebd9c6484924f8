"""Cells of the matrix that are not right yet, each with the kind of trouble it belongs to."""

from __future__ import annotations

import re

from tests.between.cell import Cell

_ANY_OTHER_STATUS = (
    "204|400|405|406|407|409|410|411|412|414|415|417|418|421|423|425|426|428|431|451|494|495|497"
    "|499|500|501|505|507|508|511|520|521|522|523|525|526|527|530|598"
)
NOT_YET = (
    (
        rf"answers-(401|403|{_ANY_OTHER_STATUS})-upload-lasts",
        "kinds 2 and 4: what all uploads share is no document's fault",
    ),
    (
        r"answers-40[13]-done-upload-(once|lasts)",
        "kind 1: a proxy's 401 and 403 say nothing about the effect",
    ),
    (
        r"spoils-(large|unreadable)-header-upload-(once|lasts)",
        "kind 1: an answer with such a header says nothing about the effect",
    ),
    (
        r"answers-40[13]-removal-(once|lasts)",
        "kind 5: one refusal of a removal is not one for good",
    ),
    (
        r"blocks-phrase-(200|502|503)-(upload|embedding|search)-lasts",
        "kind 4: a firewall that blocks one document",
    ),
    (
        r"(refuses-delete-\d+|drops-delete-body)-removal-lasts",
        "kind 5: a proxy that takes no body with a DELETE",
    ),
)


def not_yet(cell: Cell) -> str | None:
    """Why a cell is not right yet; None where it has to be."""
    for pattern, reason in NOT_YET:
        if re.fullmatch(pattern, str(cell)):
            return reason
    return None
