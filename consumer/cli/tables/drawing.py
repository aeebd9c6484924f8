"""Draws tables on a terminal: one line a row, names whole, states in colour.

What a column is decides how its cells may be shown (`column.py`), and `layout.py` which columns
there is room for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from consumer.cli.instants import Instant, forms
from consumer.cli.manner import Manner
from consumer.cli.printable import MAX_LINE, printable
from consumer.cli.tables.colours import style_of
from consumer.cli.tables.column import Column, Meaning, text_of
from consumer.cli.tables.layout import GAP, Extent, laid_out, width_of_names

_LEAST_TEXT = 24  # cells of a text below which it says nothing
_NOTHING = frozenset({"", "-"})
_CUT = frozenset({Meaning.STATE, Meaning.TEXT, Meaning.UNTOLD})
_GRADUAL = _CUT | {Meaning.FACT}


@dataclass(frozen=True, slots=True)
class _Cell:
    """What a cell shows, in full and where that does not fit."""

    full: str
    short: str
    full_width: int
    short_width: int


def draw(
    columns: Sequence[Column],
    rows: Sequence[Sequence[object]],
    *,
    title: str,
    console: Console,
    manner: Manner,
) -> bool:
    """Draw a table.

    Args:
        columns: of the table.
        rows: their cells; an `Instant` or a datetime is shown by the reader's clock.
        title: a line above it; "" for none.
        console: where to.
        manner: how.

    Returns:
        Whether something was left out or cut.
    """
    room = None if manner.wide else console.width
    at = [number for number, each in enumerate(columns) if _is_drawn(each, rows, number, manner)]
    drawn = [columns[number] for number in at]
    cells = [[_cell(row[number], manner) for number in at] for row in rows]
    widths = laid_out([_extent(each, n, cells, room) for n, each in enumerate(drawn)], room)
    ellipsis = "..." if console.options.ascii_only else "…"
    lines = [Text(title, "bold")] if title else []
    lines.append(_line(drawn, [_whole(each.name) for each in drawn], widths, ellipsis, "bold"))
    for row in cells:
        lines += _lines(drawn, row, widths, ellipsis, console)
    if not manner.wide:
        lines += _advice(columns, rows, console)
    # Neither wrapped nor cropped: a line that is too long is the terminal's to break.
    console.print(Text("\n").join(lines), soft_wrap=True)
    return None in widths or _is_cut(drawn, cells, widths)


def _is_drawn(
    column: Column, rows: Sequence[Sequence[object]], number: int, manner: Manner
) -> bool:
    """Whether it is drawn as a column, if there is room."""
    if manner.wide:
        return True
    if column.meaning is Meaning.ADVICE:
        return False
    return number == 0 or any(text_of(row[number]) not in _NOTHING for row in rows)


def _whole(text: str) -> _Cell:
    return _Cell(text, text, cell_len(text), cell_len(text))


def _cell(value: object, manner: Manner) -> _Cell:
    at = value.at if isinstance(value, Instant) else value
    if not isinstance(at, datetime):
        return _whole(printable(text_of(value), MAX_LINE))
    full, short = forms(at, manner.clock(), manner.zone)
    return _Cell(full, short, cell_len(full), cell_len(short))


def _extent(
    column: Column, number: int, rows: Sequence[Sequence[_Cell]], room: int | None
) -> Extent:
    """How wide a column would be, and how narrow it may become."""
    heading, cells = cell_len(column.name), [row[number] for row in rows]
    wide = [each.full_width for each in cells]
    if column.meaning is Meaning.NAME:
        full = max(width_of_names(wide, room), heading)
        return Extent(column.importance, full, full)
    full = max([heading, *wide])
    if column.meaning not in _GRADUAL:
        return Extent(column.importance, full, max([heading, *(c.short_width for c in cells)]))
    least = max(heading, min(full, _LEAST_TEXT))
    if column.meaning is Meaning.UNTOLD:
        # A text without a blank may be a name.
        least = max([least, *(each.full_width for each in cells if " " not in each.full)])
    return Extent(column.importance, full, least, gradual=True)


def _lines(
    columns: Sequence[Column],
    cells: Sequence[_Cell],
    widths: Sequence[int | None],
    ellipsis: str,
    console: Console,
) -> Iterator[Text]:
    """A row: one line, unless its last column holds facts, which are folded."""
    last, width = cells[-1], widths[-1]
    if columns[-1].meaning is not Meaning.FACT or width is None or last.full_width <= width:
        yield _line(columns, cells, widths, ellipsis)
        return
    for n, part in enumerate(Text(last.full).wrap(console, width)):
        part.rstrip()
        before = cells[:-1] if n == 0 else [_whole("")] * (len(cells) - 1)
        folded = _Cell(part.plain, part.plain, width, width)
        yield _line(columns, [*before, folded], widths, ellipsis)


def _line(
    columns: Sequence[Column],
    cells: Sequence[_Cell],
    widths: Sequence[int | None],
    ellipsis: str,
    heading: str = "",
) -> Text:
    """A line of cells; a heading has a style of its own."""
    line = Text()
    behind = 0  # blanks that are owed: none at the end of a line
    for column, cell, width in zip(columns, cells, widths, strict=True):
        if width is None:
            continue
        shown = _fitted(column, cell, width, ellipsis)
        blanks = max(width - cell_len(shown), 0)
        before, after = (blanks, 0) if column.meaning is Meaning.NUMBER else (0, blanks)
        style = style_of(shown) if column.meaning is Meaning.STATE else ""
        line.append(" " * (behind + before))
        line.append(shown, heading or style)
        behind = after + GAP
    line.rstrip()
    return line


def _fitted(column: Column, cell: _Cell, width: int, ellipsis: str) -> str:
    if cell.full_width <= width or column.meaning is Meaning.NAME:
        return cell.full
    if cell.short_width <= width:
        return cell.short
    return set_cell_size(cell.full, width - len(ellipsis)).rstrip() + ellipsis


def _is_cut(
    columns: Sequence[Column], cells: Sequence[Sequence[_Cell]], widths: Sequence[int | None]
) -> bool:
    texts = [(n, w) for n, w in enumerate(widths) if w and columns[n].meaning in _CUT]
    return any(row[number].full_width > width for row in cells for number, width in texts)


def _advice(
    columns: Sequence[Column], rows: Sequence[Sequence[object]], console: Console
) -> Iterator[Text]:
    """What can be done, each thing once, with what it is for."""
    names = [each.name for each in columns]
    for number, column in enumerate(columns):
        if column.meaning is not Meaning.ADVICE:
            continue
        told: dict[tuple[str, str], dict[str, None]] = {}
        for row in rows:
            if advice := text_of(row[number]):
                before = text_of(row[names.index(column.after)]) if column.after else ""
                told.setdefault((before, advice), {})[text_of(row[names.index(column.by)])] = None
        if told:
            yield Text(f"{column.name}:", "bold")
        for (before, advice), subjects in told.items():
            first, *more = filter(None, (before, advice))
            yield from _paragraph(f"{', '.join(subjects)}: {first}", "  ", console)
            for text in more:
                yield from _paragraph(text, "    ", console)


def _paragraph(text: str, indent: str, console: Console) -> Iterator[Text]:
    """A text on as many lines as it takes; those after the first stand further in."""
    for part in Text(printable(text, MAX_LINE)).wrap(console, max(console.width - 4, 20)):
        part.rstrip()
        yield Text(indent) + part
        indent = "    "
