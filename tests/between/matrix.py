"""Every behaviour with every operation: which cells there are, and a table of what came of them.

``python -m tests.between.matrix PATTERN`` plays the cells whose names the pattern is found in.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterable, Iterator, Sequence

import structlog

from tests.between.behaviours import BEHAVIOURS, Behaviour, Only, Restarts
from tests.between.cell import Cell, Figures, played
from tests.between.operations import OPERATIONS
from tests.virtual.loop import virtually

_BODIES_WITH_TEXT = ("upload", "embedding", "search")

SAMPLE = re.compile(
    r"gives-up-524|answers-502|answers-(401|520)-done|says-html-done"
    r"|blocks-phrase-(200|403)|refuses-delete-405|drops-.*|resets-(answer|request)"
    r"|spoils-cut-short|restarts-(refused|502)|server-restarts-502"
)
"""The behaviours that `make test-all` plays: of each way those that are told apart somewhere."""


def cells() -> Iterator[Cell]:
    """All cells that mean something: a firewall reads no listing, and only removals are DELETE."""
    for behaviour in BEHAVIOURS.values():
        for operation in _operations(behaviour):
            for lasts in _spans(behaviour):
                yield Cell(behaviour.name, operation, lasts)


def in_sample(cell: Cell) -> bool:
    """Whether `make test-all` plays it."""
    return SAMPLE.fullmatch(cell.behaviour) is not None


def is_quick(cell: Cell) -> bool:
    """Whether `make test` plays it: what lasts costs more than all the rest."""
    return in_sample(cell) and not cell.lasts


def play(cell: Cell) -> Figures:
    """Play a cell on a virtual loop of its own."""
    made: list[Figures] = []

    @virtually
    async def run() -> None:
        made.append(await played(cell))

    run()
    return made[0]


def table(rows: Iterable[tuple[Cell, Figures]]) -> str:
    """The figures, a line a cell."""
    head = (
        f"{'behaviour':26} {'operation':10} {'span':5} {'struck':>6} {'settled':>8} {'others':>7}"
    )
    lines = [f"{head} {'again':>5} letters, and what is wrong"]
    for cell, figures in rows:
        span = "lasts" if cell.lasts else "once"
        lines.append(
            f"{cell.behaviour:26} {cell.operation:10} {span:5} {figures.struck:6}"
            f" {_seconds(figures.settled):>8} {_seconds(figures.others):>7} {figures.repeats:5}"
            f" {', '.join(figures.letters) or '-'}"
            + (f"  WRONG: {'; '.join(figures.wrong)}" if figures.wrong else "")
        )
    return "\n".join(lines)


def _operations(behaviour: Behaviour) -> Sequence[str]:
    match behaviour.only:
        case Only.PHRASE:
            return _BODIES_WITH_TEXT
        case Only.DELETE_BODY:
            return ("removal",)
    return tuple(name for name in OPERATIONS if name != "everything")


def _spans(behaviour: Behaviour) -> Sequence[bool]:
    if behaviour.lasts:
        return (True,)
    return (False,) if isinstance(behaviour.way, Restarts) else (False, True)


def _seconds(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.1f}"


def main(pattern: str = "") -> int:
    """0 where all of them are right."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    chosen = [cell for cell in cells() if re.search(pattern, str(cell))]
    rows = [(cell, play(cell)) for cell in chosen]
    wrong = sum(bool(figures.wrong) for _, figures in rows)
    print(table(rows), f"{len(rows)} cells, {wrong} of them wrong", sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
