"""``workspaces repair --repack``: what is packed otherwise than is set, packed anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from consumer.cli import output
from consumer.cli.common import CommandFailed, anythingllm_failed, ask_kafka, kafka_for
from consumer.cli.progress import stages
from consumer.cli.tables.column import Column, Meaning
from consumer.cli.workspaces.looking import servers_meant
from consumer.cli.workspaces.shown import about, of_server, title

if TYPE_CHECKING:
    from consumer.model.names import Slug
    from consumer.operations.ports import KafkaAccess
    from consumer.operations.repacking.repack_plan import RepackPlan
    from consumer.settings import Settings

_MOST_LISTED = 20  # documents, towards people
_LEFT = (
    Column("workspace", Meaning.NAME, 7),
    Column("document", Meaning.NAME, 9),
    Column("why it is left as it is", Meaning.TEXT, 8),
)


def repack_all(
    context: typer.Context,
    settings: Settings,
    server: str | None,
    slugs: list[Slug],
    *,
    do: bool,
    as_json: bool,
) -> bool:
    """Pack anew on each server that is meant, or say what would be; whether something is left."""
    is_left = False
    for each in servers_meant(settings, server, slugs):
        kafka = kafka_for(context, settings)
        before, after = _repacked(settings, kafka, each, slugs, do=do, as_json=as_json)
        if as_json:
            _tell_scripts(before, after, each)
        else:
            title(each)
            _tell_people(before, after, do=do)
        is_left = is_left or bool(after.recuts)
    return is_left


def _repacked(
    settings: Settings,
    kafka: KafkaAccess,
    server: str | None,
    slugs: list[Slug],
    *,
    do: bool,
    as_json: bool,
) -> tuple[RepackPlan, RepackPlan]:
    from consumer.anythingllm import AnythingLLMError
    from consumer.operations.repacking.repack_plan import RepackRefused
    from consumer.operations.repacking.repacking import open_repacking

    with stages(quiet=as_json) as progress:

        async def work() -> tuple[RepackPlan, RepackPlan]:
            opened = open_repacking(settings, kafka, server, tell=output.note, progress=progress)
            async with opened as repacking:
                before = await repacking.plan(slugs)
                if not do or not before.recuts:
                    return before, before
                await repacking.run(before)
                return before, await repacking.plan(slugs)

        try:
            return ask_kafka(work())
        except RepackRefused as error:
            raise CommandFailed(str(error)) from None
        except AnythingLLMError as error:
            raise anythingllm_failed(error, "running it again goes on") from None


def _tell_scripts(before: RepackPlan, after: RepackPlan, server: str | None) -> None:
    left = {(each.slug, each.identity) for each in after.recuts}
    for each in before.recuts:
        is_left = after is before or (each.slug, each.identity) in left
        became = "planned" if after is before else "left" if is_left else "done"
        output.json_line(
            {
                **of_server(server),
                "workspace": each.slug,
                "identity": each.identity,
                "uploads": each.uploads,
                "chunks": each.chunks,
                "removals": each.removals,
                "outcome": became,
            }
        )
    for slug, identity, why in after.left:
        output.json_line(
            {
                **of_server(server),
                "workspace": slug,
                "identity": identity,
                "outcome": "not-judged",
                "why": why,
            }
        )
    output.json_line(
        {
            **of_server(server),
            "documents": before.documents,
            "planned": len(before.recuts),
            "uploads": before.uploads,
            "removals": before.removals,
            "seconds": round(before.seconds),
            "done": len(before.recuts) - len(left) if after is not before else 0,
            "left": len(after.recuts),
            "not_judged": len(after.left),
        }
    )


def _tell_people(before: RepackPlan, after: RepackPlan, *, do: bool) -> None:
    planned = len(before.recuts)
    output.line(
        f"{planned} of {before.documents} documents are packed otherwise than is set: "
        f"{before.uploads} uploads, about {about(before.seconds)}, and {before.removals}"
        " removals"
    )
    if after.left:
        output.table(_LEFT, after.left[:_MOST_LISTED])
    if not planned:
        return
    if not do:
        output.planned_only()
        return
    output.line(f"{planned - len(after.recuts)} packed anew, {len(after.recuts)} left")
    if after.recuts:
        output.note(
            "what is left: a text of it was refused (`repack.left` in the log), something newer"
            " came meanwhile, or the service packs otherwise: another UPLOAD_CHUNKS_PER_PACK, or an"
            " older version"
        )
