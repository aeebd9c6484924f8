"""How commands speak: tables and colours to people, JSON lines to scripts, errors to stderr.

Texts come from events and servers, so they are never taken for markup. Control characters, with
which a title could take over a terminal, are shown escaped.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

import orjson

from consumer.cli.manner import manner
from consumer.cli.printable import MAX_LINE
from consumer.cli.printable import printable as printable
from consumer.cli.tables.column import Column, column_of, whole_cell

_LONGEST_ESCAPE = 10  # characters of a control character that is shown escaped


def json_line(value: object) -> None:
    """One JSON object on one line of standard output, at once."""
    sys.stdout.write(orjson.dumps(value, default=str).decode() + "\n")
    sys.stdout.flush()


def line(text: str) -> None:
    """One line of standard output."""
    sys.stdout.write(printable(text, MAX_LINE) + "\n")


def whole(text: str) -> None:
    """A text of many lines on standard output, however long they are."""
    for part in text.split("\n"):
        sys.stdout.write(printable(part, len(part) * _LONGEST_ESCAPE) + "\n")


def columns(cells: Iterable[str]) -> None:
    """One tab-separated line of standard output, at once: for lines that come one by one."""
    sys.stdout.write("\t".join(printable(cell) for cell in cells) + "\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """A remark beside the output, on standard error; not with ``--quiet``."""
    if not manner().quiet:
        sys.stderr.write(printable(text, MAX_LINE) + "\n")


def planned_only(refused: Sequence[str] = (), *, told: bool = True) -> None:
    """What ends a plan that was not carried out.

    Args:
        refused: why ``--yes`` would refuse it as things are; then it is not said that it does it.
        told: whether to say that nothing was changed, too.
    """
    for problem in refused:
        note(f"as things are, --yes would refuse: {problem}")
    if told:
        note(f"nothing was changed{'' if refused else '; --yes does it'}")


def error(text: str) -> None:
    """What went wrong, on standard error; may have several lines."""
    shown = "\n".join(printable(part, MAX_LINE) for part in text.split("\n"))
    sys.stderr.write(f"error: {shown}\n")


def is_drawn() -> bool:
    """Whether tables are drawn for somebody at a terminal."""
    return sys.stdout.isatty()


def has_to_fit() -> bool:
    """Whether tables have the room that a terminal has, and no more."""
    return is_drawn() and not manner().wide


def table(
    columns: Sequence[str | Column], rows: Iterable[Sequence[object]], *, title: str = ""
) -> None:
    """A table: drawn on a terminal, tab-separated lines with a heading elsewhere.

    Args:
        columns: what each is; a heading alone stands for a text, and such columns are the less
            important the further they are to the right.
        rows: their cells.
        title: what it is about, where a command shows several.
    """
    every = [column_of(each, position) for position, each in enumerate(columns)]
    if is_drawn():
        _draw(every, list(rows), title)
        return
    if title:
        sys.stdout.write(f"{printable(title)}:\n")
    sys.stdout.write("\t".join(each.name for each in every) + "\n")
    for row in rows:
        cells = (whole_cell(column, cell) for column, cell in zip(every, row, strict=True))
        sys.stdout.write("\t".join(cells) + "\n")


def say_what_was_cut() -> None:
    """Say how to see the rest, where a table of this call did not have room for all of it."""
    if manner().has_cut:
        note("not all of it fits; --wide shows every column and whole texts")


def _draw(columns: Sequence[Column], rows: Sequence[Sequence[object]], title: str) -> None:
    # Only where a table is drawn: it would be a third of the time of a short command.
    from rich.console import Console

    from consumer.cli.tables.drawing import draw

    how = manner()
    if title or how.has_drawn:
        sys.stdout.write("\n")  # sections stand apart
    how.has_drawn = True
    sys.stdout.flush()
    cut = draw(columns, rows, title=printable(title), console=Console(), manner=how)
    how.has_cut = how.has_cut or cut
