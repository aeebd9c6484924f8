"""``dlq replay``: dead letters back on the road."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

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
    operator_here,
    settings_for,
    wrong_usage,
)
from consumer.cli.dlq.options import EventsArgument, Filters, checked_events, filtered
from consumer.cli.dlq.replay_shown import replay_view, show_plan, summary
from consumer.cli.files import read_events
from consumer.cli.progress import reading_bar

if TYPE_CHECKING:
    from consumer.operations.ports import KafkaAccess
    from consumer.operations.replay.execution import RunOutcome
    from consumer.operations.replay.planning import ReplayRequest
    from consumer.settings import Settings

T = TypeVar("T")

_PARKED = "parked"


@filtered
def replay(
    context: typer.Context,
    filters: Filters,
    events: EventsArgument = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it; without this only say what would be done.")
    ] = False,
    rate: Annotated[
        float | None,
        typer.Option("--rate", metavar="N", min=0.001, help="Replay at most N letters a second."),
    ] = None,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="parked",
            help="Bring parked letters back instead of replaying open ones.",
        ),
    ] = None,
    from_file: Annotated[
        str | None,
        typer.Option(
            "--from-file",
            metavar="FILE",
            help="Replay letters of a file that `dlq export` wrote; - is standard input.",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Foreign letters, too: whoever wrote them.")
    ] = False,
    include_hopeless: Annotated[
        bool,
        typer.Option(
            "--include-hopeless",
            help="Letters, too, that replaying can't help, as far as is known.",
        ),
    ] = False,
    despite_missing_results: Annotated[
        bool,
        typer.Option(
            "--despite-missing-results",
            help="Also where the results topic does not reach back far enough to tell which "
            "letters are stale.",
        ),
    ] = False,
    resume: Annotated[
        str | None,
        typer.Option("--resume", metavar="RUN", help="Go on with a run that was interrupted."),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Replay open dead letters: says what it would do, and does it with --yes.

    The original is published again, to the replay topic. The service works it
    like any other event; chunks that are stored are not uploaded again.

    Left alone are letters that are resolved, stale (a newer version is stored
    or deleted), in flight (replayed, no result yet) or parked. One that came
    back REPLAY_MAX_REPLAYS times is parked instead.

    Left as well is what replaying can't help, with the reason: events that
    would be refused again without asking anybody, by the settings given here
    (they have to be the service's), and letters by reference whose original
    has expired or is too large for the replay topic.

    A run can be stopped at any moment, and goes on with --resume RUN. One run
    at a time. Each record is a line of the log on standard error.

    Exit 0: replayed; without --yes: no letter is open. 3: nothing was
    replayed; without --yes: letters are open. 1: it failed. 130: interrupted.
    Where a run ended early it says how to resume.

    Example: anythingllm-consumer dlq replay --reason rejected --workspace docs --yes
    """
    if from_ not in (None, _PARKED):
        raise wrong_usage(f"--from {from_!r}: only {_PARKED} is possible")
    names = checked_events(events)
    if resume is not None and (filters != Filters() or names or from_ or force or include_hopeless):
        raise wrong_usage(
            "--resume takes its letters from the run: leave filters, --from, --force out"
        )
    settings = settings_for(config, needs_anythingllm=False, quiet_kafka=True)
    kafka = kafka_for(context, settings)
    with _lines_of(from_file) as (lines, path):
        from consumer.operations.replay.planning import ReplayRequest

        request = ReplayRequest(
            selection=filters.selection(names),
            from_parked=from_ == _PARKED,
            force=force,
            include_hopeless=include_hopeless,
            despite_missing_results=despite_missing_results,
            rate=rate,
            lines=lines,
            path=path,
        )
        if resume is not None:
            _resume(settings, kafka, resume, request, as_json=as_json)
        elif yes:
            _replay(settings, kafka, request, as_json=as_json)
        else:
            _plan(settings, kafka, request, as_json=as_json)


# -- the work --------------------------------------------------------------------------------------


def _plan(settings: Settings, kafka: KafkaAccess, request: ReplayRequest, *, as_json: bool) -> None:
    from consumer.operations.replay.replay import plan_replay
    from consumer.operations.replay.verdict import ReplayVerdict

    with reading_bar(quiet=as_json) as reading:
        look = _answered(plan_replay(settings, kafka, request, reading))
    show_plan(look, as_json=as_json)
    to_do = look.plan.to_do
    if as_json:
        output.json_line(summary("planned" if to_do else "nothing to do", look))
    output.planned_only(look.refused, told=bool(to_do) and not as_json)
    # As `dlq list` has it: also what this leaves alone.
    left = (ReplayVerdict.HOPELESS, ReplayVerdict.FOREIGN, ReplayVerdict.UNREADABLE)
    is_open = to_do or any(look.plan.counts.get(each) for each in left)
    end(ExitCode.FOUND if is_open else ExitCode.DONE)


def _replay(
    settings: Settings, kafka: KafkaAccess, request: ReplayRequest, *, as_json: bool
) -> None:
    import random

    from consumer.operations.replay.replay import start_replay

    with replay_view(settings, as_json=as_json) as view:
        work = start_replay(
            settings, kafka, request, view.tell(), operator=operator_here(), rng=random.Random()
        )
        _finish(view.carry_out(lambda: _answered(work)), as_json=as_json)


def _resume(
    settings: Settings, kafka: KafkaAccess, id: str, request: ReplayRequest, *, as_json: bool
) -> None:
    import random
    from dataclasses import replace

    from consumer.operations.replay.replay import file_of_run, resume_replay

    with _lines_of(_path_of(ask_kafka(file_of_run(settings, kafka, id)), request)) as (lines, path):
        if request.lines is None:
            request = replace(request, lines=lines, path=path)
        with replay_view(settings, as_json=as_json) as view:
            work = resume_replay(
                settings,
                kafka,
                id,
                request,
                view.tell(),
                operator=operator_here(),
                rng=random.Random(),
            )
            _finish(view.carry_out(lambda: _answered(work)), as_json=as_json)


def _path_of(file: Any, request: ReplayRequest) -> str | None:
    """The file that a run takes its letters from, where it was not given again."""
    if file is None or request.lines is not None:
        return None
    if file.path == "-":
        raise wrong_usage(
            "this run's letters came from standard input: give them again, --from-file -"
        )
    return str(file.path)


def _finish(replayed: RunOutcome, *, as_json: bool) -> None:
    run, progress = replayed.run, replayed.progress
    if run is None:
        show_plan(replayed.look, as_json=as_json)
    if as_json:
        said = summary("nothing to do" if run is None else "done", replayed.look)
        said |= {
            "run": run.id if run else None,
            "selected": run.selected if run else 0,
            "published": progress.published,
            "parked": progress.parked,
            "skipped": progress.all_skipped,
            "skipped_because": dict(progress.skipped),
        }
        output.json_line(said)
    else:
        _show_end(replayed)
    # Whoever wanted letters replayed and got none has to be told, also as a script.
    end(ExitCode.DONE if progress.published or progress.parked else ExitCode.FOUND)


def _show_end(replayed: RunOutcome) -> None:
    run, progress = replayed.run, replayed.progress
    for why, count in progress.skipped.items():
        output.note(f"{count:,} skipped: {why}")
    if run is not None:
        output.line(f"run {run.id}: {progress.published:,} replayed, {progress.parked:,} parked")
    if progress.published:
        output.note("`dlq runs` shows how they fare")
    elif not progress.parked:
        output.note("nothing was replayed")


def _answered(work: Coroutine[Any, Any, T]) -> T:
    """Run work on a replay; a reason why it can't be done becomes a line."""
    from consumer.cli.files import UnreadableError
    from consumer.operations.replay.execution import ReplayStopped
    from consumer.operations.replay.replay import ReplayRefused
    from consumer.operations.replay.sources import WrongFileError

    try:
        return ask_kafka(work)
    except ReplayRefused as error:
        code = ExitCode.WRONG_USAGE if error.usage else ExitCode.FAILED
        raise CommandFailed(str(error), code) from None
    except ReplayStopped as error:
        raise CommandFailed(str(error)) from None
    except (WrongFileError, UnreadableError) as error:
        raise wrong_usage(str(error)) from None


@contextmanager
def _lines_of(path: str | None) -> Iterator[tuple[Callable[[], Iterator[bytes]] | None, str]]:
    """The lines of a file, as often as they are asked for; standard input is kept in a file."""
    if path is None:
        yield None, ""
        return
    if path != "-":
        absolute = str(Path(path).absolute())
        yield (lambda: (each.value for each in read_events([absolute]))), absolute
        return
    with NamedTemporaryFile(suffix=".ndjson") as kept:
        shutil.copyfileobj(sys.stdin.buffer, kept)
        kept.flush()
        yield (lambda: (each.value for each in read_events([kept.name]))), path
