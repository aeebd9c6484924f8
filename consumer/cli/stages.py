"""Progress of commands that do one thing after the other: a bar for each, while it lasts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from consumer.cli import output


class Stages:
    """Shows one bar at a time; call it with what is being done, how much is done, and of how much.

    Made by `stages`.
    """

    def __init__(self) -> None:
        self._bar: AbstractContextManager[Callable[[int], None]] | None = None
        self._advance: Callable[[int], None] | None = None
        self._stage, self._done = "", 0

    def __call__(self, stage: str, done: int, total: int) -> None:
        """So much of this stage is done."""
        if stage != self._stage or done < self._done:
            self.end()
            self._bar = output.progress(stage, total)
            self._advance = self._bar.__enter__()
            self._stage = stage
        if self._advance is not None:
            self._advance(done - self._done)
        self._done = done

    def end(self) -> None:
        """Take the bar away."""
        bar, self._bar, self._advance = self._bar, None, None
        self._stage, self._done = "", 0
        if bar is not None:
            bar.__exit__(None, None, None)


@contextmanager
def stages(*, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """What operations are given to tell their progress to; nothing is shown where `quiet`."""
    if quiet:
        yield lambda stage, done, total: None
        return
    shown = Stages()
    try:
        yield shown
    finally:
        shown.end()
