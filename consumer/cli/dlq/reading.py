"""Dead letters as `dlq` commands read and choose them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from consumer.cli import output
from consumer.cli.common import ask_kafka
from consumer.cli.progress import reading_bar
from consumer.cli.times import when

if TYPE_CHECKING:
    from consumer.contract.received_letter import Letter
    from consumer.operations.letters.reading import Letters
    from consumer.operations.letters.selection import Selection
    from consumer.operations.ports import KafkaAccess
    from consumer.settings import Settings


def read(settings: Settings, kafka: KafkaAccess, *, as_json: bool = False) -> Letters:
    """All letters, with a bar for people; notes say what should be known about them."""
    from consumer.operations.letters.reading import read_letters

    with reading_bar(quiet=as_json) as move:
        letters = ask_kafka(read_letters(settings, kafka, progress=move))
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
    """The letters that are meant, newest first.

    Args:
        letters: from `read`.
        selection: which ones.
        all_: not only those that stand as open, or as parked.
        parked: of the parked topic instead of the dead-letter topic.
    """
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
