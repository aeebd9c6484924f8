"""``dlq park``: putting dead letters aside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated

import typer

from consumer.cli import output
from consumer.cli.common import (
    CommandFailed,
    ConfigOption,
    ExitCode,
    JsonOption,
    ask_kafka,
    end,
    kafka_for,
    settings_for,
)
from consumer.cli.dlq.letters_shown import DRAWN_AT_MOST, as_object, show_table
from consumer.cli.dlq.options import (
    EventsArgument,
    Filters,
    checked_events,
    filtered,
)
from consumer.cli.dlq.reading import missing_names, read, selected
from consumer.cli.progress import reading_bar

if TYPE_CHECKING:
    from consumer.contract.received_letter import Letter
    from consumer.operations.letters.parking import ParkingPlan
    from consumer.operations.letters.reading import Letters
    from consumer.operations.ports import KafkaAccess
    from consumer.settings import Settings


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
    left = len(plan.letters)
    if yes:
        left = ask_kafka(_park(settings, kafka, plan, letters, as_json=as_json))
    if missing:
        raise CommandFailed(f"there is no dead letter {', '.join(missing)}; see `dlq list --all`")
    if not yes:
        for letter in plan.letters if as_json else ():
            output.json_line({**as_object(letter, letters), "outcome": "planned"})
        if plan.letters and not as_json:
            output.planned_only()
        end(ExitCode.FOUND if plan.letters else ExitCode.DONE)
    elif left:
        raise CommandFailed(f"{left} of {len(plan.letters)} could not be parked")


def _standing_for(wanted: Sequence[Letter], letters: Letters) -> tuple[Letter, ...]:
    """The letters without older ones of an event whose newest is wanted: its name means that."""
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
    """Park the planned letters; gives how many could not be parked."""
    from consumer.operations.letters.parking import Became, park

    outcomes: Counter[str] = Counter()
    with reading_bar("parking", quiet=as_json) as move:
        if plan.letters:
            async with aclosing(park(settings, kafka, plan.letters, progress=move)) as parked:
                async for letter, became in parked:
                    outcomes[became] += 1
                    if as_json:
                        output.json_line({**as_object(letter, letters), "outcome": became})
                    elif became is not Became.PARKED:
                        output.note(f"{letter.event}: {became}")
    if not as_json:
        output.line(f"{outcomes[Became.PARKED]} parked")
    return outcomes.total() - outcomes[Became.PARKED]


def _show_plan(plan: ParkingPlan, letters: Letters, missing: Sequence[str]) -> None:
    for letter, why in plan.left:
        output.note(f"{letter.event} is left alone: {why}")
    if plan.letters:
        show_table(plan.letters[:DRAWN_AT_MOST], letters)
        more = len(plan.letters) - DRAWN_AT_MOST
        if more > 0:
            output.note(f"and {more:,} more")
    if not missing:
        output.line(f"{len(plan.letters):,} to park")
