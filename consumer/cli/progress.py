"""Progress bars on standard error: for people, while that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from consumer.cli.manner import manner
from consumer.cli.printable import printable
from consumer.operations.progress import Advance, Progress, silent

_STEPS = 1_000  # of a bar whose end is known only later


@contextmanager
def bar(title: str, total: int, *, quiet: bool = False) -> Iterator[Advance]:
    """A bar of so many steps; nothing is shown if `quiet`, or where nobody looks or wants one."""
    if quiet or manner().quiet or not sys.stderr.isatty():
        yield silent
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress as Bars

    # While a bar is there Rich has what is written to standard output appear above it, on the
    # bar's terminal: where standard output leads to a file it would never come there.
    aside = sys.stdout.isatty()
    console = Console(stderr=True)
    with Bars(console=console, transient=True, redirect_stdout=aside) as bars:
        task = bars.add_task(escape(printable(title)), total=total)
        yield lambda more: bars.advance(task, more)


@contextmanager
def reading_bar(title: str = "reading", *, quiet: bool = False) -> Iterator[Progress]:
    """A bar for work that finds out while it goes on how much there is to do."""
    with bar(title, _STEPS, quiet=quiet) as advance:
        so_far = [0]

        def move(done: int, total: int) -> None:
            step = _STEPS * done // total if total else _STEPS
            advance(step - so_far[0])
            so_far[0] = step

        yield move


@contextmanager
def stages(*, quiet: bool) -> Iterator[Stages]:
    """A bar for each stage of work, one after the other."""
    shown = Stages(quiet=quiet)
    try:
        yield shown
    finally:
        shown.end()


class Stages:
    """Shows one bar at a time."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._bar: AbstractContextManager[Advance] | None = None
        self._advance: Advance = silent
        self._stage, self._done = "", 0

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show how much of this stage is done."""
        if stage != self._stage or done < self._done:
            self.end()
            self._bar = bar(stage, total, quiet=self._quiet)
            self._advance = self._bar.__enter__()
            self._stage = stage
        self._advance(done - self._done)
        self._done = done

    def end(self) -> None:
        """Take the bar away."""
        bar, self._bar, self._advance = self._bar, None, silent
        self._stage, self._done = "", 0
        if bar is not None:
            bar.__exit__(None, None, None)
