"""``dlq list``: which dead letters there are."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from consumer.cli import output
from consumer.cli.common import (
    ConfigOption,
    JsonOption,
    kafka_for,
    settings_for,
)
from consumer.cli.dlq.letters_shown import DRAWN_AT_MOST, as_object, show_table
from consumer.cli.dlq.options import (
    AllOption,
    Filters,
    ParkedOption,
    filtered,
)
from consumer.cli.dlq.reading import read, selected

if TYPE_CHECKING:
    from consumer.operations.letters.reading import Letters


@filtered
def list_(
    context: typer.Context,
    filters: Filters,
    all_: AllOption = False,
    parked: ParkedOption = False,
    limit: Annotated[
        int | None,
        typer.Option(
            help="Show at most so many; 0: all. On a terminal 50 unless told.",
            min=0,
            show_default=False,
        ),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List open dead letters, newest first. Changes nothing.

    Open: somebody has to look at it. No later result of its event is good.
    No newer version of its document is stored or deleted.
    No replay of it is under way, and it is not parked.

    With --json each letter is a line; README, "Dead letters", has the fields.

    Example: anythingllm-consumer dlq list --reason rejected --since 2d
    """
    settings = settings_for(config, needs_anythingllm=False, quiet_kafka=True)
    selection = filters.selection()
    letters = read(settings, kafka_for(context, settings), as_json=as_json)
    chosen = selected(letters, selection, all_=all_, parked=parked)
    if limit is None:
        limit = DRAWN_AT_MOST if sys.stdout.isatty() and not as_json else 0
    shown = chosen[: limit or None]
    for letter in shown if as_json else ():
        output.json_line(as_object(letter, letters))
    if not as_json:
        show_table(shown, letters)
        output.note(_counted(letters, len(shown), len(chosen)))


def _counted(letters: Letters, shown: int, meant: int) -> str:
    """How many are shown, and how all letters stand."""
    standing = Counter(letters.of(each).value for each in letters.letters)
    standing.pop("replaced", None)
    every = ", ".join(f"{count:,} {name}" for name, count in standing.most_common())
    of = f" of {meant:,} (--limit 0: all)" if shown < meant else ""
    return f"{shown:,}{of} shown; events with dead letters: {every or 'none'}"
