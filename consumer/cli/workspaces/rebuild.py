"""``workspaces rebuild``: all documents of ours in a workspace made anew, from their events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from consumer.cli import output
from consumer.cli.common import (
    CommandFailed,
    ConfigOption,
    ExitCode,
    JsonOption,
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
    from consumer.operations.rebuilding.rebuild_plan import RebuildPlan
    from consumer.operations.rebuilding.rebuilding import RebuildLook
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

    May be interrupted and run again: it goes on with what is left, for 7 days.
    One at a time, and none beside `dlq replay` or `audit --republish`.

    Exit 0: all is made anew. 3: something is left, or would be done. 1: it
    failed, or was refused.

    Example: anythingllm-consumer workspaces rebuild docs --yes
    """
    name, settings = check_slug(slug), settings_for(config, quiet_kafka=True)
    kafka = kafka_for(context, settings)
    look, after = _rebuilt(settings, kafka, name, do=yes, restart=restart, as_json=as_json)
    if as_json:
        output.json_line(_as_object(name, look, after))
    elif after is not None:
        _show_end(after)
    plan = look.plan if after is None else after
    is_left = bool(plan.documents or plan.unproven)
    end(ExitCode.FOUND if is_left else ExitCode.DONE)


def _rebuilt(
    settings: Settings,
    kafka: KafkaAccess,
    slug: Slug,
    *,
    do: bool,
    restart: bool,
    as_json: bool,
) -> tuple[RebuildLook, RebuildPlan | None]:
    """What was planned, and what is left after it was done; None where it was not done."""
    import random

    from consumer.anythingllm import AnythingLLMError
    from consumer.operations.audit.audit import UnknownWorkspace
    from consumer.operations.rebuilding.rebuilding import (
        RebuildRefused,
        RebuildStopped,
        RebuildTell,
        open_rebuilding,
    )

    with stages(quiet=as_json) as progress:
        tell = RebuildTell(_waiting, output.note)

        async def work() -> tuple[RebuildLook, RebuildPlan | None]:
            opened = open_rebuilding(
                settings, kafka, slug, restart=restart, tell=tell, progress=progress
            )
            async with opened as rebuilding:
                look = await rebuilding.look()
                progress.end()
                if not as_json:
                    _show(slug, look, do=do)
                if not do or not look.plan.documents:
                    return look, None
                after = await rebuilding.carry_out(
                    look, operator=operator_here(), rng=random.Random()
                )
                return look, after

        try:
            return ask_kafka(work())
        except UnknownWorkspace as error:
            raise CommandFailed(f"{error}; `workspaces list` shows those it has") from None
        except RebuildRefused as error:
            raise CommandFailed(f"nothing was done: {error}") from None
        except RebuildStopped as error:
            raise CommandFailed(f"{error}\nrunning it again goes on") from None
        except AnythingLLMError as error:
            raise CommandFailed(f"{error.message}\nrunning it again goes on") from None


def _show(slug: Slug, look: RebuildLook, *, do: bool) -> None:
    plan = look.plan
    if look.since is not None:
        output.line(
            f"a rebuilding that began at {look.since:%Y-%m-%d %H:%M:%S} UTC by AnythingLLM's clock"
            f" goes on: {plan.done:,} documents are done (--restart makes those anew as well)"
        )
    _show_documents("not proven to be in the topic, so nothing is done", plan.unproven)
    _show_documents("none of those that are made anew", plan.left)
    output.line(
        f"{len(plan.documents):,} documents ({plan.chunks:,} chunks) in {slug} to make anew: "
        f"{plan.units:,} removals and uploads, about {about(look.seconds)}"
    )
    if look.foreign:
        output.line(f"{look.foreign:,} documents of others are in it: they stay as they are")
    if not plan.documents:
        return
    output.note(
        f"searches in {slug} are incomplete until it ends: a few documents at a time are missing,"
        " and of those to come the vectors are the former ones"
    )
    if not do:
        for problem in look.refused:
            output.note(f"as things are, --yes would refuse: {problem}")
        output.note("nothing was changed; --yes does it")


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


def _as_object(slug: Slug, look: RebuildLook, after: RebuildPlan | None) -> dict[str, Any]:
    plan = look.plan
    return {
        "workspace": slug,
        "since": look.since.isoformat() if look.since else None,
        "documents": len(plan.documents),
        "chunks": plan.chunks,
        "units": plan.units,
        "seconds": round(look.seconds),
        "foreign_documents": look.foreign,
        "unproven": [{"identity": name, "why": why.name.lower()} for name, why in plan.unproven],
        "not_made_anew": [{"identity": name, "why": why.name.lower()} for name, why in plan.left],
        "refused": list(look.refused),
        "instances": look.members,
        "done": (plan if after is None else after).done,
        "left": [each.identity for each in (plan if after is None else after).documents],
    }


def _waiting(members: tuple[Member, ...]) -> None:
    from consumer.operations.replay.replay import holders_of

    output.note(
        f"another run, or a replay, is at work: {holders_of(members)}; if it was killed, Kafka "
        "notices within KAFKA_SESSION_TIMEOUT_SECONDS: waiting that long"
    )
