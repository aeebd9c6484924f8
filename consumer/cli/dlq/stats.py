"""``dlq stats``: dead letters counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from consumer.cli import output
from consumer.cli.common import ConfigOption, JsonOption, kafka_for, settings_for
from consumer.cli.dlq.options import AllOption, Filters, ParkedOption, filtered
from consumer.cli.dlq.reading import read, selected
from consumer.cli.tables.column import Column, Meaning
from consumer.cli.times import when

if TYPE_CHECKING:
    from consumer.operations.letters.reading import Letters
    from consumer.operations.letters.stats import LetterStats

_DAYS = 30
_BAR = 50
_DAY, _BARS = Column("day", Meaning.NAME, 9), Column("", Meaning.TEXT, 7)
_LETTERS = Column("letters", Meaning.NUMBER, 9)
_KINDS = ("reason", "cause", "workspace", "technology", "standing")


@filtered
def stats(
    context: typer.Context,
    filters: Filters,
    all_: AllOption = False,
    parked: ParkedOption = False,
    top: Annotated[int, typer.Option(help="Show so many of each kind; 0: all.", min=0)] = 10,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Count open dead letters by reason, cause, workspace, technology and day. Changes nothing.

    A cause is a message in which ids and numbers are `#`.

    With --json one object has everything.

    Example: anythingllm-consumer dlq stats --since 7d
    """
    from consumer.operations.letters.stats import stats_of

    selection = filters.selection()
    settings = settings_for(config, needs_anythingllm=False, quiet_kafka=True)
    letters = read(settings, kafka_for(context, settings), as_json=as_json)
    chosen = selected(letters, selection, all_=all_, parked=parked)
    counted = stats_of((each, letters.of(each)) for each in chosen)
    if as_json:
        output.json_line(_object(counted, letters, top))
        return
    for kind in _KINDS:
        _table(counted, kind, top)
    _plot(counted)
    output.line(f"{counted.letters:,} dead letters, {counted.bytes:,} bytes")


def _object(counted: LetterStats, letters: Letters, top: int) -> dict[str, object]:
    reach = letters.reach
    return {
        "letters": counted.letters,
        "bytes": counted.bytes,
        **{kind: dict(getattr(counted, kind).most_common(top or None)) for kind in _KINDS},
        "day": dict(sorted(counted.day.items())),
        "results": {
            "records": reach.records,
            "cut": reach.cut,
            "oldest": when(reach.oldest) if reach.oldest else None,
            "unreadable": reach.unreadable,
        },
    }


def _table(counted: LetterStats, kind: str, top: int) -> None:
    counts = getattr(counted, kind).most_common()
    shown = counts[: top or None]
    if not shown or (kind == "standing" and len(counts) == 1):
        return
    output.table(
        (Column(kind, Meaning.TEXT, 8), _LETTERS), [(name, f"{count}") for name, count in shown]
    )
    if len(counts) > len(shown):
        output.note(f"{len(counts) - len(shown):,} more of {kind}; --top 0 shows all")


def _plot(counted: LetterStats) -> None:
    """A bar a day on a terminal, lines of day and number elsewhere."""
    days = counted.days(_DAYS)
    if not days:
        return
    if not output.is_drawn():
        output.table(("day", "letters"), days)
        return
    most = max(count for _, count in days) or 1
    # Never nothing for something: a single letter among thousands is worth a look.
    rows = [(day, f"{n:,}", "█" * max(round(_BAR * n / most), n > 0)) for day, n in days]
    output.table((_DAY, _LETTERS, _BARS), rows)
