"""``results``: what became of documents."""

from __future__ import annotations

import sys
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
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
    wrong_usage,
)
from consumer.cli.results_shown import ShownResults, how_far
from consumer.cli.times import period

if TYPE_CHECKING:
    from consumer.kafka.start import Start
    from consumer.operations.ports import KafkaAccess
    from consumer.operations.results.reading import Found, ReadSoFar
    from consumer.results import Wanted
    from consumer.settings import Settings

_ON_A_TERMINAL = 50


def results(
    context: typer.Context,
    config: ConfigOption = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            "-n",
            min=0,
            show_default=False,
            help="End after so many; 0: all. On a terminal 50 unless told.",
        ),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Show what comes from now on, until Ctrl-C.")
    ] = False,
    from_start: Annotated[
        bool, typer.Option("--from-start", help="With --follow: what is there already as well.")
    ] = False,
    document: Annotated[str | None, typer.Option(help="Only of this document id.")] = None,
    identity: Annotated[str | None, typer.Option(help="Only of this identity.")] = None,
    workspace: Annotated[str | None, typer.Option(help="Only of this workspace (slug).")] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Only published since: 45m, 2h, 3d ago, or 2026-11-22[T10:00]."
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only published before; as --since.")
    ] = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="Only partial, failed and invalid ones.")
    ] = False,
    trace: Annotated[
        str | None, typer.Option(help="Only with this trace id, as its publisher wrote it.")
    ] = None,
    oldest_first: Annotated[
        bool, typer.Option("--oldest-first", help="Oldest first, partition by partition.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show upload results, newest first.

    A result that came again after a crash is marked as a repeat: the first one counts.

    Example: anythingllm-consumer results --failed --since 2h
    """  # fmt: skip
    start, until_then = period(since, until, now=datetime.now(UTC))
    asked = AskedResults(
        document=document,
        identity=identity,
        workspace=workspace,
        trace=trace,
        failed=failed,
        since=start,
        until=until_then,
        follow=follow,
        from_start=from_start,
        oldest_first=oldest_first,
        limit=limit,
    )
    asked.check()
    settings = settings_for(config, needs_anythingllm=False, quiet_kafka=not follow)
    _show(asked, settings, kafka_for(context, settings), as_json=as_json)


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedResults:
    """What somebody wants to see of results; the command's options."""

    document: str | None
    identity: str | None
    workspace: str | None
    trace: str | None
    failed: bool
    since: datetime | None
    until: datetime | None
    follow: bool
    from_start: bool
    oldest_first: bool
    limit: int | None

    def check(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            CommandFailed: wrong usage.
        """
        if self.from_start and not self.follow:
            raise wrong_usage("--from-start is for --follow; without it all there is is shown")
        if self.follow and (self.until is not None or self.oldest_first):
            raise wrong_usage("--follow shows what comes: leave out --until and --oldest-first")
        if self.from_start and self.since is not None:
            raise wrong_usage("--from-start and --since are two beginnings: leave out one")

    @property
    def most(self) -> int | None:
        """How many are shown at most."""
        if self.limit is None and not self.follow and sys.stdout.isatty():
            return _ON_A_TERMINAL
        return self.limit or None

    def wanted(self, also: set[str]) -> Wanted:
        """The question, as results answer it.

        Args:
            also: identities of the document: a deletion names nothing else.

        Raises:
            CommandFailed: the trace id can be none.
        """
        from consumer.results import FAILED, Wanted

        wanted = Wanted(
            statuses=FAILED if self.failed else None,
            workspaces=None if self.workspace is None else {self.workspace},
            document_ids=None if self.document is None else {self.document, *also},
            identities=None if self.identity is None else {self.identity},
            trace_ids=None if self.trace is None else {self.trace},
        )
        if wanted.trace_ids is not None and not wanted.trace_ids:
            raise wrong_usage(f"--trace {self.trace!r} can be no trace id (schemas/README.md)")
        return wanted


def _show(asked: AskedResults, settings: Settings, kafka: KafkaAccess, *, as_json: bool) -> None:
    from consumer.operations.results.reading import ReadSoFar

    so_far = ReadSoFar()
    drawn = sys.stdout.isatty() and not asked.follow and not as_json
    show = ShownResults(as_json=as_json, drawn=drawn, so_far=so_far)
    try:
        ask_kafka(_read(asked, settings, kafka, show, so_far))
    except KeyboardInterrupt:
        show.end()
        output.note(how_far(show, so_far, oldest_first=asked.oldest_first))
        end(ExitCode.INTERRUPTED)
    except CommandFailed:
        show.end()
        raise
    show.end()
    if not show.count and not as_json:
        output.note("no such results")
    elif asked.limit is None and show.count == asked.most and so_far.done > show.count:
        output.note(f"the newest {show.count}; `--limit N` shows more, `--limit 0` all")


async def _read(
    asked: AskedResults,
    settings: Settings,
    kafka: KafkaAccess,
    show: ShownResults,
    so_far: ReadSoFar,
) -> None:
    wanted = asked.wanted(await _identities(asked, settings, kafka))
    if asked.follow:
        output.note("following results; Ctrl-C ends it")
    # Closed where it is left early, as when nobody reads any more: left to the end of the loop it
    # would be closed in the middle of a request, which asyncio complains about.
    async with aclosing(_found(asked, settings, kafka, show, so_far)) as results:
        async for found in results:
            if wanted.matches(found.result):
                show(found)
            if show.count == asked.most:
                return
            show.look()


async def _identities(asked: AskedResults, settings: Settings, kafka: KafkaAccess) -> set[str]:
    from consumer.operations.results.names import identities_of, made_of_id

    if asked.document is None:
        return set()
    template, topic = settings.document.identity, settings.kafka.results_topic
    if asked.follow:  # what comes while a whole topic is read would be missed
        made = made_of_id(asked.document, template)
        return set() if made is None else {made}
    return set(await identities_of(kafka, topic, asked.document, template))


def _found(
    asked: AskedResults,
    settings: Settings,
    kafka: KafkaAccess,
    show: ShownResults,
    so_far: ReadSoFar,
) -> Found:
    from consumer.operations.results.reading import Period, coming_results, stored_results

    topic = settings.kafka.results_topic
    if asked.follow:
        start: Start = asked.since or ("beginning" if asked.from_start else "now")
        return coming_results(kafka, topic, skipped=show.skipped, so_far=so_far, start=start)
    return stored_results(
        kafka,
        topic,
        skipped=show.skipped,
        so_far=so_far,
        period=Period(since=asked.since, until=asked.until),
        oldest_first=asked.oldest_first,
    )
