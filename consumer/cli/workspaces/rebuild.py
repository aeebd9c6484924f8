"""``workspaces rebuild``: all documents of ours in a workspace made anew, from their events."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from consumer.cli import output
from consumer.cli.common import (
    CommandFailed,
    ConfigOption,
    ExitCode,
    JsonOption,
    anythingllm_failed,
    ask_kafka,
    check_slug,
    end,
    kafka_for,
    operator_here,
    settings_for,
)
from consumer.cli.progress import stages
from consumer.cli.workspaces.shown import about

if TYPE_CHECKING:
    from consumer.kafka.groups import Member
    from consumer.model.names import Slug
    from consumer.operations.ports import KafkaAccess
    from consumer.operations.progress import StageProgress
    from consumer.operations.rebuilding.rebuild_look import RebuildLook
    from consumer.operations.rebuilding.rebuild_plan import RebuildPlan
    from consumer.settings import Settings

_MOST_LISTED = 20  # documents of a kind, towards people


def rebuild(
    context: typer.Context,
    slug: Annotated[str, typer.Argument(metavar="SLUG", help="The workspace.")],
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it; without this only say what would be done.")
    ] = False,
    restart: Annotated[
        bool,
        typer.Option("--restart", help="Also what a rebuilding that was stopped has made anew."),
    ] = False,
    delete_workspace: Annotated[
        bool,
        typer.Option(
            "--delete-workspace",
            help="Delete the workspace and make it anew, while the service is stopped.",
        ),
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make all documents of a workspace anew: says what, and does it with --yes.

    For another embedding model, say, whose vectors are as long as before. The
    running service does the work: each document's newest event is published to
    the replay topic once more, a few at a time, and the service takes the
    document out of AnythingLLM and stores it anew.

    First it proves that every document that is stored has its newest event in
    the topic. One that has none is listed, and nothing is done. Where the vector
    database needs something else first, it says so and does nothing.

    Until it ends searches are incomplete: a few documents at a time are missing,
    and of those to come the vectors are the former ones. It says about how long.
    The workspace, its chats and its settings stay, and so do documents of others.

    Vectors of another length need --delete-workspace, which is quicker, too. All
    instances of the service have to be stopped. The events are published first,
    then the workspace is deleted and made anew, with its name and settings; its
    chats, threads and members go. Started again, the service stores everything.
    Where documents of others are in it, this is refused.

    May be interrupted and run again: it goes on with what is left, for 7 days.
    One at a time, and none beside `dlq replay` or `audit --republish`.

    Exit 0: all is made anew, or waits for the service. 3: something is left, or
    would be done. 1: it failed, or was refused.

    Example: anythingllm-consumer workspaces rebuild docs --yes
    """
    name, settings = check_slug(slug), settings_for(config, quiet_kafka=True, only_errors=True)
    wish = RebuildWish(yes, restart, delete_workspace)
    seen = _rebuilt(settings, kafka_for(context, settings), name, wish, as_json=as_json)
    if as_json:
        output.json_line(_as_object(name, seen))
    elif seen.after is not None:
        _show_end(seen.after)
    elif seen.waiting:
        output.line(f"{name} is empty, and {seen.waiting:,} events wait: start the service")
        output.note("`workspaces repair --yes` takes the former files out of AnythingLLM's store")
    is_left = seen.waiting is None and bool(seen.plan.documents or seen.plan.unproven)
    end(ExitCode.FOUND if is_left else ExitCode.DONE)


@dataclass(frozen=True, slots=True)
class RebuildWish:
    """What an operator asks for: to do it, to do all of it once more, to delete the workspace."""

    yes: bool
    restart: bool
    delete: bool


@dataclass(frozen=True, slots=True)
class _Rebuilt:
    """What was planned, and what came of it.

    Args:
        after: what is left; None: nothing was done, or it is not waited for.
        waiting: events that wait for the service; None where the workspace was not deleted.
    """

    look: RebuildLook
    after: RebuildPlan | None = None
    waiting: int | None = None

    @property
    def plan(self) -> RebuildPlan:
        """What is left to do."""
        return self.look.plan if self.after is None else self.after


def _rebuilt(
    settings: Settings, kafka: KafkaAccess, slug: Slug, wish: RebuildWish, *, as_json: bool
) -> _Rebuilt:
    import random

    from consumer.anythingllm import AnythingLLMError
    from consumer.anythingllm.workspace_anew import WorkspaceNotMadeAnewError
    from consumer.operations.audit.audit import UnknownWorkspace
    from consumer.operations.rebuilding.rebuilding import (
        RebuildRefused,
        RebuildStopped,
        RebuildTell,
        open_rebuilding,
    )

    with stages(quiet=as_json) as shown:
        tell, far = RebuildTell(_waiting, output.note), HowFar(shown)

        async def work() -> _Rebuilt:
            opened = open_rebuilding(
                settings, kafka, slug, delete=wish.delete, tell=tell, progress=far
            )
            async with opened as rebuilding:
                look = await rebuilding.look(restart=wish.restart)
                shown.end()
                if not as_json:
                    _show(slug, look, wish)
                is_nothing = not (look.plan.documents or look.plan.unproven)
                # One that was stopped, and is done by now, is put on record as done.
                if not wish.yes or (is_nothing and look.since is None):
                    return _Rebuilt(look)
                who, rng = operator_here(), random.Random()
                if wish.delete:
                    waiting = await rebuilding.delete_and_publish(look, operator=who, rng=rng)
                    return _Rebuilt(look, waiting=waiting)
                with far.told_when_interrupted():
                    return _Rebuilt(look, await rebuilding.carry_out(look, operator=who, rng=rng))

        try:
            return ask_kafka(work())
        except UnknownWorkspace as error:
            raise CommandFailed(f"{error}; `workspaces list` shows those it has") from None
        except RebuildRefused as error:
            raise CommandFailed(f"nothing was done: {error}") from None
        except RebuildStopped as error:
            raise CommandFailed(f"{error}\n{_next(wish)}") from None
        except WorkspaceNotMadeAnewError as error:
            # On standard output, where nothing is cut: a prompt can be long, and this is all of it.
            output.json_line({"workspace": slug, "settings": dict(error.settings.fields)})
            raise CommandFailed(
                f"{error.message}\nwhat was set in it is on standard output, as JSON\n{_next(wish)}"
            ) from None
        except AnythingLLMError as error:
            raise anythingllm_failed(error, _next(wish)) from None


def _next(wish: RebuildWish) -> str:
    if wish.delete:
        return "what was published waits: the service, once it is started, makes those anew"
    return "running it again goes on"


class HowFar:
    """Passes progress on, and tells it to a person who interrupts the work."""

    def __init__(self, shown: StageProgress) -> None:
        self._shown = shown
        self._done, self._total = 0, 0

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Take how much of a stage is done."""
        self._done, self._total = done, total
        self._shown(stage, done, total)

    @contextmanager
    def told_when_interrupted(self) -> Iterator[None]:
        """Say how far it got where it is interrupted."""
        import asyncio

        self._done = self._total = 0
        try:
            yield
        except asyncio.CancelledError:
            output.note(
                f"interrupted after {self._done:,} of {self._total:,} documents; the service goes"
                " on with those that were published; run it again: it does the rest"
            )
            raise


def _show(slug: Slug, look: RebuildLook, wish: RebuildWish) -> None:
    plan = look.plan
    if look.since is not None:
        output.line(
            f"a rebuilding that began at {look.since:%Y-%m-%d %H:%M:%S} UTC by AnythingLLM's clock"
            f" goes on: {plan.done:,} documents are done (--restart makes those anew as well)"
        )
    _show_documents("not proven to be in the topic, so nothing is done", plan.unproven)
    _show_documents("none of those that are made anew", plan.left)
    what = "uploads" if wish.delete else "removals and uploads"
    output.line(
        f"{len(plan.documents):,} documents ({plan.chunks:,} chunks) in {slug} to make anew: "
        f"{plan.units:,} {what}, about {about(look.seconds)}"
    )
    if plan.with_former:
        output.line(
            f"{plan.with_former:,} of them lack chunks of their newest version (`dlq list` says"
            " why): what is stored of a former one goes and is not stored again"
        )
    if look.foreign:
        output.line(f"{look.foreign:,} documents of others are in it: they stay as they are")
    if not (plan.documents or plan.unproven):
        return
    if wish.delete:
        threads = f" ({look.threads:,} threads)" if look.threads else ""
        output.note(
            f"searches in {slug} are incomplete until the service has stored all of it again; its"
            f" chats{threads} and who may see it go with it, its name and settings are kept"
        )
    else:
        output.note(
            f"searches in {slug} are incomplete until it ends: a few documents at a time are"
            " missing, and of those to come the vectors are the former ones"
        )
    if not wish.yes:
        output.planned_only(look.refused)


def _show_documents(title: str, documents: tuple[tuple[str, str], ...]) -> None:
    if not documents:
        return
    rows = [(name, str(why)) for name, why in documents[:_MOST_LISTED]]
    output.table(("document", "why"), rows, title=title)
    if len(documents) > _MOST_LISTED:
        output.note(f"{len(documents) - _MOST_LISTED:,} more; --json names all")


def _show_end(plan: RebuildPlan) -> None:
    output.line(f"{plan.done:,} documents made anew, {len(plan.documents):,} left")
    if plan.documents:
        _show_documents(
            "left as they are", tuple((each.identity, str(each.at)) for each in plan.documents)
        )
        output.note(
            "what is left: a newer event came meanwhile, its removal is refused (`dlq list`), or"
            " the service is of an older version, which knows no rebuilding; run it again"
        )
    _show_documents("can't be made anew any more, they stay as they are", plan.unproven)


def _as_object(slug: Slug, seen: _Rebuilt) -> dict[str, Any]:
    look, plan = seen.look, seen.look.plan
    return {
        "workspace": slug,
        "since": look.since.isoformat() if look.since else None,
        "documents": len(plan.documents),
        "chunks": plan.chunks,
        "units": plan.units,
        "seconds": round(look.seconds),
        "with_former_texts": plan.with_former,
        "foreign_documents": look.foreign,
        "threads": look.threads,
        "unproven": [
            {"identity": name, "why": why.name.lower()} for name, why in seen.plan.unproven
        ],
        "not_made_anew": [{"identity": name, "why": why.name.lower()} for name, why in plan.left],
        "refused": list(look.refused),
        "instances": look.members,
        "done": seen.plan.done,
        "left": [] if seen.waiting else [each.identity for each in seen.plan.documents],
        "waiting": seen.waiting or 0,
    }


def _waiting(members: tuple[Member, ...]) -> None:
    from consumer.operations.replay.replay import holders_of

    output.note(
        f"another run, or a replay, is at work: {holders_of(members)}; if it was killed, Kafka "
        "notices within KAFKA_SESSION_TIMEOUT_SECONDS: waiting that long"
    )
