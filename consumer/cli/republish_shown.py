"""``audit --republish``: what people and scripts see of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from consumer.cli import output
from consumer.cli.common import operator_here
from consumer.cli.progress import bar
from consumer.cli.tables.column import Column, Meaning

if TYPE_CHECKING:
    from consumer.kafka.groups import Member
    from consumer.operations.republish.plan import LostDocument, NotPublished
    from consumer.operations.republish.republish import Republish, RepublishLook, RepublishOutcome

_MAX_LISTED = 20

_WORKSPACES = (
    Column("workspace", Meaning.NAME, 9),
    Column("to publish again", Meaning.NUMBER, 8),
    Column("left", Meaning.NUMBER, 7),
)
_DOCUMENTS = (Column("workspace", Meaning.NAME, 7), Column("document", Meaning.NAME, 9))
_WHY = Column("left because", Meaning.TEXT, 8)


@dataclass(frozen=True, slots=True)
class RepublishWish:
    """What an operator asks for.

    Args:
        yes: do it.
        include_removed: also what somebody may have removed.
        rate: events a second at most.
    """

    yes: bool
    include_removed: bool
    rate: float | None


@dataclass(frozen=True, slots=True)
class RepublishSeen:
    """What was planned, and done where it was asked for."""

    look: RepublishLook
    outcome: RepublishOutcome | None

    @property
    def published(self) -> int:
        """How many events were published."""
        return self.outcome.published if self.outcome is not None else 0

    @property
    def left(self) -> tuple[tuple[LostDocument, NotPublished], ...]:
        """What is left, with why."""
        return (*self.look.plan.left, *(self.outcome.left if self.outcome is not None else ()))


async def republished(
    republish: Republish, look: RepublishLook, wish: RepublishWish, *, as_json: bool
) -> RepublishSeen:
    """Show the plan, and carry it out where that is wished."""
    import asyncio
    import random

    from consumer.operations.republish.republish import RepublishTell

    if not as_json:
        _show_plan(look)
    planned = len(look.plan.published)
    if not wish.yes:
        output.planned_only(look.refused, told=bool(planned) and not as_json)
    if not wish.yes or not planned:
        return RepublishSeen(look, None)
    if not look.members:
        output.note("the service does not run: what is published waits until it does")
    done = 0
    with bar("publishing", planned, quiet=as_json) as advance:

        def passed(more: int) -> None:
            nonlocal done
            done += more
            advance(more)

        tell = RepublishTell(_waiting, passed)
        try:
            outcome = await republish.carry_out(
                look, tell, operator=operator_here(), rate=wish.rate, rng=random.Random()
            )
        except asyncio.CancelledError:
            output.note(
                f"interrupted after {done:,} of {planned:,}; run it again: it does the rest"
            )
            raise
    seen = RepublishSeen(look, outcome)
    if not as_json:
        _show_outcome(outcome)
    return seen


def republish_object(seen: RepublishSeen) -> dict[str, Any]:
    """What scripts get beside the totals of the audit."""
    counts = Counter(why.name.lower() for _, why in seen.left)
    return {
        "republish": {
            "run": seen.outcome.run if seen.outcome is not None else None,
            "to_publish": len(seen.look.plan.published),
            "published": seen.published,
            "left": dict(counts),
            "left_documents": [
                {"workspace": lost.slug, "identity": lost.identity, "because": why.name.lower()}
                for lost, why in seen.left
            ],
            "forgotten": [
                {"workspace": each.slug, "identity": each.identity} for each in seen.look.forgotten
            ],
            "refused": list(seen.look.refused),
            "instances": seen.look.members,
        }
    }


def _show_plan(look: RepublishLook) -> None:
    plan = look.plan
    if not (plan.published or plan.left or look.forgotten):
        output.note("nothing is lost")
        return
    slugs = sorted({each.slug for each in plan.published} | {lost.slug for lost, _ in plan.left})
    to_publish = Counter(each.slug for each in plan.published)
    left = Counter(lost.slug for lost, _ in plan.left)
    rows = [(slug, to_publish[slug], left[slug]) for slug in slugs]
    output.table(_WORKSPACES, rows, title="lost documents")
    _show_left(plan.left)
    if look.forgotten:
        title = "stored once, and their events are no longer in the topic: publish them anew"
        named = [(each.slug, each.identity) for each in look.forgotten[:_MAX_LISTED]]
        output.table(_DOCUMENTS, named, title=title)
        _more(len(look.forgotten))


def _show_left(left: tuple[tuple[LostDocument, NotPublished], ...]) -> None:
    if left:
        rows = [(lost.slug, lost.identity, why.value) for lost, why in left[:_MAX_LISTED]]
        output.table((*_DOCUMENTS, _WHY), rows, title="left as they are")
        _more(len(left))


def _show_outcome(outcome: RepublishOutcome) -> None:
    _show_left(outcome.left)
    output.line(f"run {outcome.run}: {outcome.published:,} events published again")
    output.note("the service works them like any other; `audit` says when all is stored")


def _more(count: int) -> None:
    if count > _MAX_LISTED:
        output.note(f"{count - _MAX_LISTED:,} more; --json names all")


def _waiting(members: tuple[Member, ...]) -> None:
    from consumer.operations.replay.replay import holders_of

    output.note(
        f"another run, or a replay, is at work: {holders_of(members)}; if it was killed, Kafka "
        "notices within KAFKA_SESSION_TIMEOUT_SECONDS: waiting that long"
    )
