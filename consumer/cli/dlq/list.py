"""``dlq list | park``: which dead letters there are, and putting some aside."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from consumer.cli import output
from consumer.cli.common import (
    CommandFailed,
    ConfigOption,
    ExitCode,
    JsonOption,
    end,
    kafka_for,
    settings_for,
)
from consumer.cli.dlq.selecting import (
    EventsArgument,
    Filters,
    asked,
    checked_events,
    filtered,
    reading_bar,
)

if TYPE_CHECKING:
    from consumer.contract.received_letter import Letter
    from consumer.operations.letters.parking import ParkingPlan
    from consumer.operations.letters.reading import Letters
    from consumer.operations.letters.selection import Selection
    from consumer.operations.ports import KafkaAccess
    from consumer.settings import Settings

_COLUMNS = (
    "event", "place", "failed", "reason", "workspace", "document", "replays", "standing", "cause"
)  # fmt: skip
_NOT_DRAWN = {"event"}
_DRAWN_AT_MOST = 50

AllOption = Annotated[
    bool, typer.Option("--all", help="Not only open ones: everything there ever was.")
]
ParkedOption = Annotated[
    bool, typer.Option("--parked", help="Those on the parked topic that still stand as parked.")
]


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
        limit = _DRAWN_AT_MOST if sys.stdout.isatty() and not as_json else 0
    shown = chosen[: limit or None]
    for letter in shown if as_json else ():
        output.json_line(as_object(letter, letters))
    if not as_json:
        show_table(shown, letters)
        output.note(_counted(letters, len(shown), len(chosen)))


@filtered
def park(
    context: typer.Context,
    filters: Filters,
    events: EventsArgument = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it; without this only say what would be done.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put open dead letters aside: says which, and does it with --yes.

    A copy goes to the parked topic, byte for byte, and the letter is not open any more.
    `dlq list --parked` shows them, `dlq replay --from parked` brings them back.
    Letters of others can be parked as well. Nothing is ever deleted.

    Exit 0: nothing is left to park. 3: something is. 1: it failed.
    With --json each letter is a line with its `outcome`.

    Example: anythingllm-consumer dlq park --reason invalid --until 30d --yes
    """
    from consumer.operations.letters.parking import plan_parking

    settings = settings_for(config, needs_anythingllm=False, quiet_kafka=True)
    names = checked_events(events)
    selection = filters.selection(names)
    kafka = kafka_for(context, settings)
    letters = read(settings, kafka, as_json=as_json)
    wanted = selected(letters, selection, all_=bool(names))
    missing = missing_names(names, letters)
    plan = plan_parking(letters, _standing_for(wanted, letters))
    if not as_json:
        _show_plan(plan, letters, missing)
    left = (
        asked(_park(settings, kafka, plan, letters, as_json=as_json)) if yes else len(plan.letters)
    )
    if missing:
        raise CommandFailed(f"there is no dead letter {', '.join(missing)}; see `dlq list --all`")
    if not yes:
        for letter in plan.letters if as_json else ():
            output.json_line({**as_object(letter, letters), "outcome": "planned"})
        if plan.letters and not as_json:
            output.note("nothing was changed; --yes does it")
        end(ExitCode.FOUND if plan.letters else ExitCode.DONE)
    elif left:
        raise CommandFailed(f"{left} of {len(plan.letters)} could not be parked")


# -- the work --------------------------------------------------------------------------------------


def read(settings: Settings, kafka: KafkaAccess, *, as_json: bool = False) -> Letters:
    """All letters, with a bar for people; what should be known about them is noted."""
    from consumer.operations.letters.reading import read_letters

    with reading_bar(silent=as_json) as told:
        letters = asked(read_letters(settings, kafka, progress=told))
    for each in letters.notes:
        output.note(each)
    if letters.reach.cut:
        oldest = when(letters.reach.oldest) if letters.reach.oldest else "none is left"
        output.note(
            f"the results topic has lost its beginning (oldest: {oldest}): "
            "what was resolved before that may look open"
        )
    return letters


def selected(
    letters: Letters, selection: Selection, *, all_: bool = False, parked: bool = False
) -> tuple[Letter, ...]:
    """Newest first: the open ones that are meant, or of all, or of the parked ones."""
    from consumer.operations.letters.standing import Standing

    if parked:
        chosen = letters.parked if all_ else letters.standing(Standing.PARKED, parked=True)
    else:
        chosen = letters.letters if all_ else letters.open
    return tuple(each for each in chosen if selection.matches(each))


def missing_names(names: Sequence[str], letters: Letters) -> list[str]:
    """Names that no letter has."""
    from consumer.operations.letters.selection import is_named

    every = (*letters.letters, *letters.parked)
    return [name for name in names if not any(is_named(each, name) for each in every)]


def _standing_for(wanted: Sequence[Letter], letters: Letters) -> tuple[Letter, ...]:
    """Without older letters of an event whose newest is wanted: who names an event means it."""
    from consumer.operations.letters.standing import Standing

    newest = {each.event for each in wanted if letters.of(each) is not Standing.REPLACED}
    return tuple(
        each
        for each in wanted
        if letters.of(each) is not Standing.REPLACED or each.event not in newest
    )


async def _park(
    settings: Settings, kafka: KafkaAccess, plan: ParkingPlan, letters: Letters, *, as_json: bool
) -> int:
    """Park; how many could not be."""
    from consumer.operations.letters.parking import Became, park

    outcomes: Counter[str] = Counter()
    with reading_bar("parking", silent=as_json) as told:
        if plan.letters:
            async for letter, became in park(settings, kafka, plan.letters, progress=told):
                outcomes[became] += 1
                if as_json:
                    output.json_line({**as_object(letter, letters), "outcome": became})
                elif became is not Became.PARKED:
                    output.note(f"{letter.event}: {became}")
    if not as_json:
        output.line(f"{outcomes[Became.PARKED]} parked")
    return outcomes.total() - outcomes[Became.PARKED]


# -- what people and scripts see -------------------------------------------------------------------


def as_object(letter: Letter, letters: Letters) -> dict[str, object]:
    """A letter for scripts: everything but its payload."""
    replays = letters.standings.replays_of(letter)
    return {
        "event": letter.event,
        "standing": letters.of(letter),
        "at": place_object(letter.at),
        "foreign": not letter.is_ours,
        "reason": letter.reason,
        "message": letter.message,
        "stage": letter.stage,
        "identity": letter.identity,
        "document_id": letter.document_id,
        "workspace": letter.workspace,
        "technology": letter.technology,
        "attempts": letter.attempts,
        "failed_chunks": letter.failed_chunks,
        "failed_chunk_ids": letter.failed_chunk_ids,
        "http_status": letter.http_status,
        "first_failed_at": when(letter.first_failed_at or letter.failed_at),
        "failed_at": when(letter.failed_at),
        "original": {
            **place_object(letter.origin.at),
            "timestamp": when(letter.origin.timestamp),
        },
        "replays": letter.origin.replays,
        "replayed": [{**place_object(at), "status": status} for at, status in replays.items()],
        "last_status": letters.standings.last_status_of(letter),
        "trace_id": letter.trace_id,
        "group": letter.group,
        "tombstone": letter.tombstone,
        "by_reference": letter.by_reference,
        "bytes": letter.size,
    }


def place_object(at: object) -> dict[str, object]:
    """Coordinates for scripts."""
    return {name: getattr(at, name) for name in ("topic", "partition", "offset")}


def when(instant: datetime) -> str:
    """An instant as it is everywhere in our output."""
    return instant.isoformat(timespec="seconds").replace("+00:00", "Z")


def show_table(chosen: Sequence[Letter], letters: Letters) -> None:
    """Letters for people; nothing where there are none."""
    rows = [
        (
            each.event,
            f"{each.at.partition}@{each.at.offset}",
            when(each.failed_at),
            each.reason,
            each.workspace or "-",
            each.document_id or each.identity or "-",
            each.origin.replays,
            letters.of(each),
            each.message or "-",
        )
        for each in chosen
    ]
    if not rows:
        return
    # On a terminal only what tells letters apart: nine columns fit nowhere.
    drawn = sys.stdout.isatty()
    kept = [
        number
        for number, name in enumerate(_COLUMNS)
        if not drawn or (name not in _NOT_DRAWN and not _says_nothing(rows, number))
    ]
    output.table(
        [_COLUMNS[number] for number in kept], [[row[number] for number in kept] for row in rows]
    )


def _says_nothing(rows: Sequence[Sequence[object]], number: int) -> bool:
    return {row[number] for row in rows} in ({"open"}, {0})


def _counted(letters: Letters, shown: int, meant: int) -> str:
    """How many are shown, and how all letters stand."""
    standing = Counter(letters.of(each).value for each in letters.letters)
    standing.pop("replaced", None)
    every = ", ".join(f"{count:,} {name}" for name, count in standing.most_common())
    of = f" of {meant:,} (--limit 0: all)" if shown < meant else ""
    return f"{shown:,}{of} shown; events with dead letters: {every or 'none'}"


def _show_plan(plan: ParkingPlan, letters: Letters, missing: Sequence[str]) -> None:
    for letter, why in plan.left:
        output.note(f"{letter.event} is left alone: {why}")
    if plan.letters:
        show_table(plan.letters[:_DRAWN_AT_MOST], letters)
        more = len(plan.letters) - _DRAWN_AT_MOST
        if more > 0:
            output.note(f"and {more:,} more")
    if not missing:
        output.line(f"{len(plan.letters):,} to park")
