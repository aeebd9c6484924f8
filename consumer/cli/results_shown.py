"""``results``: what people and scripts see of results."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import orjson

from consumer.cli import output
from consumer.cli.causes import short_cause
from consumer.cli.manner import manner
from consumer.cli.progress import Stages
from consumer.cli.tables.column import Column, Meaning, column_of
from consumer.cli.times import when

if TYPE_CHECKING:
    from consumer.model.record import Coordinates
    from consumer.operations.results.reading import FoundResult, ReadSoFar

_COLUMNS = (
    Column("completed", Meaning.TIME, 5),
    column_of("status", 1),
    column_of("workspace", 2),
    column_of("document", 3),
    column_of("stored", 4),
    Column("failed", Meaning.NUMBER, 1),
    column_of("trace", 6),
    # Before the workspace: who looks for what failed wants to know why.
    Column("errors", Meaning.TEXT, 6),
)
# The other forms have them: eight columns fit nowhere.
_NOT_DRAWN = {"failed", "trace"}
_AT = [index for index, each in enumerate(_COLUMNS) if each.name not in _NOT_DRAWN]
DRAWN = tuple(_COLUMNS[index] for index in _AT)
_PAGE = 50
# A row that is found early is seen, though its page may never be full.
_ROW_WAITS_SECONDS = 1.0
# A bar that comes and goes at once would only flicker.
_BAR_AFTER_SECONDS = 1.0
_MAX_SKIPPED = 20
_REPETITIONS = {"repeat": "a repeat: the first one counts", "first": "it counts; repeated above"}


class ShownResults:
    """Shows results: the JSON of each for scripts, lines as they come, or a table for people.

    A table comes in pages: its columns can be measured only when rows are there.

    Args:
        as_json: for scripts.
        drawn: as tables, for a person who waits for them.
        so_far: how far reading has come.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        *,
        as_json: bool,
        drawn: bool,
        so_far: ReadSoFar,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.count = 0
        self._as_json = as_json
        self._drawn = drawn
        self._so_far = so_far
        self._clock = clock
        self._began = clock()
        # On one terminal a bar and lines that come one by one would overwrite each other.
        self._bar = Stages(quiet=sys.stdout.isatty() and not drawn)
        self._page: list[list[object]] = []
        self._page_began = 0.0
        self._skipped = 0

    def __call__(self, found: FoundResult) -> None:
        """Show a result."""
        self.count += 1
        if self._as_json:
            output.json_line(_fields(found))
        elif self._drawn:
            self._page_began = self._page_began if self._page else self._clock()
            *cells, why = _cells(found)[1:]
            why = short_cause(why, found.result.document_id) if output.has_to_fit() else why
            self._page.append([found.result.completed_at or "-", *cells, why])
        else:
            if self.count == 1:
                output.columns(each.name for each in _COLUMNS)
            output.columns(_cells(found))

    def look(self) -> None:
        """Note that reading goes on: what is due is shown."""
        now = self._clock()
        if len(self._page) >= _PAGE or (
            self._page and now - self._page_began >= _ROW_WAITS_SECONDS
        ):
            self._turn()
        if self._so_far.total is not None and now - self._began >= _BAR_AFTER_SECONDS:
            self._bar("reading", self._so_far.done, self._so_far.total)

    def skipped(self, at: Coordinates, why: str) -> None:
        """Tell of a record that is no result."""
        self._skipped += 1
        if self._skipped <= _MAX_SKIPPED:
            self._bar.end()
            output.note(f"skipped {at}: {why}")

    def end(self) -> None:
        """Show what is left; nothing more will come."""
        self._turn()
        self._bar.end()
        if self._skipped > _MAX_SKIPPED:
            output.note(f"and {self._skipped - _MAX_SKIPPED} more records that are no results")
        self._skipped = 0

    def _turn(self) -> None:
        page, self._page = self._page, []
        if page:
            self._bar.end()
            if manner().wide:
                output.table(_COLUMNS, page)
            else:
                output.table(DRAWN, [[row[index] for index in _AT] for row in page])
            sys.stdout.flush()


def how_far(show: ShownResults, so_far: ReadSoFar, *, oldest_first: bool) -> str:
    """What a person is told who ends it early."""
    told = f"interrupted: {show.count:,} result{'' if show.count == 1 else 's'} shown"
    if so_far.total is None:
        return told
    told += f", {so_far.done:,} of {so_far.total:,} read"
    if oldest_first or so_far.given is None:
        return told
    # Rounded up: what is shown twice disturbs less than what is never shown.
    back_to = when(datetime.fromtimestamp(so_far.given // 1_000 + 1, UTC))
    return f"{told}, back to {back_to}; `--until {back_to}` goes on there"


def _fields(found: FoundResult) -> object:
    # Read and written again, so that it is one line whoever wrote it.
    fields = orjson.loads(found.record.value or b"")
    if found.repetition is not None:
        fields["repetition"] = found.repetition
    return fields


def _cells(found: FoundResult) -> list[str]:
    result = found.result
    completed = result.completed_at
    return [
        completed.isoformat(timespec="seconds") if completed else "-",
        result.status,
        result.workspace_slug or "-",
        result.document_id or result.identity or "-",
        f"{result.successful_uploads}/{result.total_chunks}",
        str(result.failed_uploads),
        result.trace_id or "-",
        _remarks(found) or "-",
    ]


def _remarks(found: FoundResult) -> str:
    result = found.result
    errors = "; ".join(result.errors[:2])
    why = ": ".join(filter(None, [result.reason, errors]))
    mark = _REPETITIONS[found.repetition] if found.repetition is not None else ""
    return "; ".join(filter(None, [mark, why]))
