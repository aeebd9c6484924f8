"""How commands speak: tables and colours to people, JSON lines to scripts, errors to stderr.

Texts come from events and servers, so they are never taken for markup. Control characters, with
which a title could take over a terminal, are shown escaped.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

import orjson

from consumer.telemetry.scrub import Scrubber

_MAX_CELL = 400
_MAX_LINE = 2_000
_LONGEST_ESCAPE = 10  # characters of a control character that is shown escaped


def json_line(value: object) -> None:
    """One JSON object on one line of standard output, at once."""
    sys.stdout.write(orjson.dumps(value, default=str).decode() + "\n")
    sys.stdout.flush()


def line(text: str) -> None:
    """One line of standard output."""
    sys.stdout.write(printable(text, _MAX_LINE) + "\n")


def whole(text: str) -> None:
    """A text of many lines on standard output, however long they are."""
    for part in text.split("\n"):
        sys.stdout.write(printable(part, len(part) * _LONGEST_ESCAPE) + "\n")


def columns(cells: Iterable[str]) -> None:
    """One tab-separated line of standard output, at once: for lines that come one by one."""
    sys.stdout.write("\t".join(printable(cell) for cell in cells) + "\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """A remark beside the output, on standard error."""
    sys.stderr.write(printable(text, _MAX_LINE) + "\n")


def error(text: str) -> None:
    """What went wrong, on standard error; may have several lines."""
    shown = "\n".join(printable(part, _MAX_LINE) for part in text.split("\n"))
    sys.stderr.write(f"error: {shown}\n")


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "") -> None:
    """A table: drawn on a terminal, tab-separated lines with a heading elsewhere."""
    cells = [[printable("" if cell is None else str(cell)) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _draw(columns, cells, title)
        return
    for row in [columns, *cells]:
        sys.stdout.write("\t".join(row) + "\n")


def printable(text: str, limit: int = _MAX_CELL) -> str:
    """A text as one short line without control characters."""
    plain = text.replace("\r", "\\r").replace("\n", "\\n").replace("\t", "\\t")
    return Scrubber().text(plain, limit)


def _draw(columns: Sequence[str], cells: Sequence[Sequence[str]], title: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=title or None)
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in cells:
        drawn.add_row(*(Text(cell) for cell in row))
    Console().print(drawn)
