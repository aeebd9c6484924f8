"""What people and scripts see of a replay: its plan, its progress, its end."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from consumer.cli import output
from consumer.cli.common import CommandFailed, ExitCode
from consumer.cli.progress import bar, reading_bar
from consumer.operations.progress import Advance, Progress, silent

if TYPE_CHECKING:
    from consumer.kafka.groups import Member
    from consumer.operations.replay.execution import Tell
    from consumer.operations.replay.plan import ReplayPlan
    from consumer.operations.replay.planning import ReplayLook
    from consumer.operations.replay.run import ReplayRun
    from consumer.settings import Settings

T = TypeVar("T")

_CAUSES_SHOWN = 10


@dataclass(slots=True)
class ReplayView:
    """What a person sees of a run, and what is known of the run when it ends early."""

    reading: Progress
    read: Callable[[], None]  # closes the bar of the reading
    replaying: Callable[[int], Advance]  # opens the bar of the replaying
    quiet: bool
    run: ReplayRun | None = None
    advance: Advance = silent

    def tell(self) -> Tell:
        """The same as the operation takes it."""
        from consumer.operations.replay.execution import Tell

        return Tell(self.reading, self.waiting, self.began, self.done)

    def waiting(self, members: tuple[Member, ...]) -> None:
        """Say who is at work, and why it is waited for."""
        from consumer.operations.replay.replay import holders_of

        output.note(
            f"another replay is at work: {holders_of(members)}; if it was killed, Kafka notices "
            "within KAFKA_SESSION_TIMEOUT_SECONDS: waiting that long"
        )

    def began(self, run: ReplayRun, look: ReplayLook) -> None:
        """Say what the run will do, and how it is resumed."""
        self.run = run
        self.read()
        show_plan(look, as_json=self.quiet)
        output.note(f"run {run.id}: {look.plan.to_do:,} letters; should it end early, {_how(run)}")
        self.advance = self.replaying(look.plan.to_do)

    def done(self, more: int) -> None:
        """Move the bar."""
        self.advance(more)

    def carry_out(self, work: Callable[[], T]) -> T:
        """Carry the run out and give its outcome.

        Raises:
            CommandFailed: it failed; says how to resume.
            typer.Exit: it was interrupted.
        """
        try:
            return work()
        except KeyboardInterrupt:
            how = _how(self.run) if self.run else "nothing was changed"
            output.note(f"interrupted; {how}")
            raise typer.Exit(int(ExitCode.INTERRUPTED)) from None
        except CommandFailed as error:
            if self.run is None:
                raise
            raise CommandFailed(f"{error}\n{_how(self.run)}", error.code) from None
        finally:
            self.read()  # where nothing was to do it is there yet, and would stand below the table


def _how(run: ReplayRun) -> str:
    return f"resume it with: `dlq replay --resume {run.id}`"


@contextmanager
def replay_view(settings: Settings, *, as_json: bool) -> Iterator[ReplayView]:
    """Shows a run while it lasts.

    Args:
        settings: how to log.
        as_json: for scripts: no bars.
    """
    with ExitStack() as stack, ExitStack() as first:
        reading = first.enter_context(reading_bar(quiet=as_json))

        def replaying(total: int) -> Advance:
            if as_json:
                return silent
            _log_above_the_bar(settings)
            return stack.enter_context(bar("replaying", total))

        yield ReplayView(reading, first.close, replaying, as_json)


class _AboveTheBar:
    """Writes lines to the bar's terminal, each in the bar's place; the bar is drawn again below."""

    def write(self, line: bytes) -> int:
        os.write(sys.stderr.fileno(), b"\r\x1b[2K" + line)
        return len(line)


def _log_above_the_bar(settings: Settings) -> None:
    from consumer.telemetry.logs import format_for, set_up_logging

    if sys.stderr.isatty():
        set_up_logging(
            level=settings.log.level,
            format=format_for(settings.log.format, is_terminal=True),
            secrets=settings.secrets(),
            sink=_AboveTheBar(),
            colors=True,
        )


def show_plan(look: ReplayLook, *, as_json: bool) -> None:
    """Show a plan to people; with ``--json`` only the notes."""
    from consumer.operations.replay.verdict import ReplayVerdict

    for each in look.plan.notes:
        output.note(each)
    if not look.members and look.plan.to_do:
        output.note("the service does not run: replays wait until it does")
    if as_json:
        return
    plan = look.plan
    # Letters that a newer one of their event replaces are no news to anybody.
    no_row = {ReplayVerdict.REPLAY, ReplayVerdict.REPLACED, ReplayVerdict.HOPELESS}
    rows = [("to replay", len(plan.replayed))]
    rows += [(f"  {reason}", count) for reason, count in plan.reasons.items()]
    if plan.by_reference:
        rows += [
            ("  by reference", plan.by_reference),
            ("    original still there", plan.originals_there),
        ]
    if hopeless := plan.counts.get(ReplayVerdict.HOPELESS):
        rows.append((ReplayVerdict.HOPELESS.value, hopeless))
    rows += [(each.value, count) for each, count in plan.counts.items() if each not in no_row]
    output.table(("letters", "number"), rows)
    _show_outlook(plan)
    if plan.counts.get(ReplayVerdict.FOREIGN):
        output.note("foreign: letters that others wrote; with --force they are replayed as well")
    causes = list(plan.causes.items())
    if causes:
        output.table(("cause", "to replay"), causes[:_CAUSES_SHOWN])
        if len(causes) > _CAUSES_SHOWN:
            output.note(f"{len(causes) - _CAUSES_SHOWN:,} more causes; `dlq stats` shows all")


def _show_outlook(plan: ReplayPlan) -> None:
    """What replaying can help, and what it can't: why, and how many letters that is said of."""
    if plan.helps:
        output.table(("it can help", "letters"), list(plan.helps.items()))
    if plan.hopeless:
        output.table(("it can't help", "letters"), list(plan.hopeless.items()))


def summary(state: str, look: ReplayLook) -> dict[str, Any]:
    """The one object of ``--json``, as it is before anything was done."""
    return {
        "run": None,
        "state": state,
        "selected": 0,
        "published": 0,
        "parked": 0,
        "skipped": 0,
        "skipped_because": {},
        "plan": look.plan.as_object(),
        "refused": list(look.refused),
        "instances": look.members,
    }
