"""What the columns of our tables are: how important each is, and what is in it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from types import MappingProxyType

from consumer.cli.instants import when
from consumer.cli.printable import MAX_CELL, MAX_LINE, printable


class Meaning(Enum):
    """What is in a column, and so how it may be shown on a terminal. Elsewhere all is whole."""

    TEXT = auto()  # cut where it does not fit
    NAME = auto()  # copied by people: never cut
    NUMBER = auto()  # to the right, never cut
    TIME = auto()  # by the clock of the reader; where that does not fit, how long ago
    STATE = auto()  # a text whose colour says whether it is good, doubtful or bad
    ADVICE = auto()  # no column: each different text is told once, below the table
    FACT = auto()  # folded into as many lines as it takes: for tables of names and values
    UNTOLD = auto()  # nobody said: cut like a text, but not where it could be a name


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Args:
        name: its heading.
        meaning: what is in it.
        importance: 1 to 9; where a line is too short, columns of a small one go first.
        by: of advice: the heading of the column that says what it is for.
        after: of advice: the heading of a column whose whole text is told before it.
    """

    name: str
    meaning: Meaning = Meaning.TEXT
    importance: int = 5
    by: str = ""
    after: str = ""


FACTS = (Column("what", Meaning.NAME, 9), Column("value", Meaning.FACT, 8))
"""A table of names and values, as of one thing that is looked at."""


# What a heading means where nothing else is said: one word for one thing, in tables as well.
_USUAL = MappingProxyType(
    {
        each.name: each
        for each in (
            Column("document", Meaning.NAME, 8),
            Column("identity", Meaning.NAME, 8),
            Column("run", Meaning.NAME, 8),
            Column("topic", Meaning.NAME, 8),
            Column("status", Meaning.STATE, 9),
            Column("standing", Meaning.STATE, 7),
            Column("state", Meaning.STATE, 8),
            Column("number", Meaning.NUMBER, 8),
            Column("stored", Meaning.NUMBER, 6),
            Column("workspace", Meaning.NAME, 4),
            Column("server", Meaning.NAME, 4),
            Column("trace", Meaning.NAME, 2),
        )
    }
)


def column_of(given: str | Column, position: int) -> Column:
    """What a column is; by its heading alone the less important the further it is to the right."""
    if isinstance(given, Column):
        return given
    return _USUAL.get(given) or Column(given, Meaning.UNTOLD, max(7 - position, 1))


def text_of(value: object) -> str:
    """What is in a cell, as it came."""
    if isinstance(value, datetime):
        return when(value)
    return "" if value is None else str(value)


def whole_cell(column: Column, value: object) -> str:
    """What is in a cell, on one line and without control characters; a name is not shortened."""
    return printable(text_of(value), MAX_LINE if column.meaning is Meaning.NAME else MAX_CELL)
