"""What `dlq` commands ask Kafka: a bar while it lasts, failures as a line."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from consumer.cli import output
from consumer.cli.common import CommandFailed
from consumer.cli.times import when

if TYPE_CHECKING:
    from consumer.contract.received_letter import Letter
    from consumer.operations.letters.reading import Letters
    from consumer.operations.letters.selection import Selection
    from consumer.operations.ports import KafkaAccess
    from consumer.settings import Settings

T = TypeVar("T")

_STEPS = 1_000  # of a bar whose end is known only later


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


def asked(work: Coroutine[Any, Any, T]) -> T:
    """What the work gives; Kafka's failures become a line.

    Raises:
        CommandFailed: Kafka can't be reached or refuses.
    """
    import asyncio

    from consumer.kafka.connection import KafkaUnavailableError

    try:
        return asyncio.run(work)
    except KafkaUnavailableError as error:
        raise CommandFailed(f"Kafka: {error}") from None


@contextmanager
def reading_bar(title: str = "reading", *, silent: bool = False) -> Iterator[Callable[..., None]]:
    """A progress bar for `consumer.operations.progress.Progress`: done, and how many in all."""
    if silent:
        yield lambda done, total: None
        return
    with output.progress(title, _STEPS) as advance:
        so_far = [0]

        def told(done: int, total: int) -> None:
            step = _STEPS * done // total if total else _STEPS
            advance(step - so_far[0])
            so_far[0] = step

        yield told
