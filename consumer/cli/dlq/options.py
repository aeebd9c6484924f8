"""Options that `dlq` commands share: which dead letters are meant."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from consumer.cli.common import wrong_usage
from consumer.cli.times import period

if TYPE_CHECKING:
    from consumer.operations.letters.selection import Selection

_PANEL = "Which letters"
_RANGE = re.compile(r"([0-9]{0,18}):([0-9]{0,18})")
_PLACE = re.compile(r"(.+-)?[0-9]+@[0-9]+")

EventsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="EVENT",
        help="Letters by event id or place (partition@offset), as `dlq list` shows them.",
        show_default=False,
    ),
]

AllOption = Annotated[
    bool, typer.Option("--all", help="Not only open ones: everything there ever was.")
]
ParkedOption = Annotated[
    bool, typer.Option("--parked", help="Those on the parked topic that still stand as parked.")
]


def _option(*names: str, metavar: str, help: str) -> Any:
    return typer.Option(
        *names, metavar=metavar, help=help, show_default=False, rich_help_panel=_PANEL
    )


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters as they were typed, unchecked; each field is an option (`filtered`)."""

    reason: Annotated[
        list[str] | None,
        _option("--reason", metavar="REASON", help="Of this `dlq.reason`, or foreign; repeatable."),
    ] = None
    cause: Annotated[
        str | None, _option("--cause", metavar="TEXT", help="With this text in their message.")
    ] = None
    identity: Annotated[
        str | None, _option("--identity", metavar="IDENTITY", help="Of exactly this identity.")
    ] = None
    document: Annotated[
        str | None, _option("--document", metavar="ID", help="Of exactly this document id.")
    ] = None
    workspace: Annotated[
        str | None, _option("--workspace", metavar="SLUG", help="For exactly this workspace.")
    ] = None
    technology: Annotated[
        str | None, _option("--technology", metavar="NAME", help="Of exactly this technology.")
    ] = None
    since: Annotated[
        str | None,
        _option(
            "--since", metavar="TIME", help="Failed since: 45m, 2h, 3d ago, or 2026-11-22[T10:00]."
        ),
    ] = None
    until: Annotated[
        str | None, _option("--until", metavar="TIME", help="Failed before; as --since.")
    ] = None
    partition: Annotated[
        int | None,
        typer.Option(
            "--partition",
            min=0,
            help="In this partition of the topic the letters are on.",
            show_default=False,
            rich_help_panel=_PANEL,
        ),
    ] = None
    offsets: Annotated[
        str | None,
        _option("--offsets", metavar="FROM:TO", help="At these offsets; either may be left out."),
    ] = None
    text: Annotated[
        str | None,
        _option(
            "--text",
            metavar="TEXT",
            help="With this text in message, identity, document id, workspace, technology or a "
            "failed chunk's id.",
        ),
    ] = None

    def selection(
        self, events: Sequence[str] | None = None, *, now: datetime | None = None
    ) -> Selection:
        """The selection that the filters mean.

        Args:
            events: names of letters.
            now: aware; what ``2h`` is counted from.

        Raises:
            CommandFailed: an option makes no sense.
        """
        from consumer.contract.received_letter import FOREIGN
        from consumer.model.names import Identity, Slug
        from consumer.model.reason import FailureReason
        from consumer.operations.letters.selection import Selection

        reasons = frozenset(self.reason or ())
        known = [*FailureReason, FOREIGN]
        if unknown := sorted(reasons - set(known)):
            raise wrong_usage(f"--reason {unknown[0]!r}: there are {', '.join(known)}")
        first, last = _offsets(self.offsets)
        since, until = period(self.since, self.until, now=now or datetime.now(UTC))
        return Selection(
            reasons=reasons,
            cause=self.cause,
            identity=None if self.identity is None else Identity(self.identity),
            document=self.document,
            workspace=None if self.workspace is None else Slug(self.workspace),
            technology=self.technology,
            since=since,
            until=until,
            partition=self.partition,
            first_offset=first,
            last_offset=last,
            text=self.text,
            events=frozenset(events or ()),
        )


def filtered(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that takes ``filters`` the options that make them."""
    names = [each.name for each in fields(Filters)]
    signature = inspect.signature(command, eval_str=True)
    options = inspect.signature(Filters, eval_str=True).parameters.values()
    own = [each for name, each in signature.parameters.items() if name != "filters"]
    taken = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in (*own, *options)]

    @functools.wraps(command)
    def with_options(**given: Any) -> None:
        filters = Filters(**{name: given.pop(name) for name in names})
        command(filters=filters, **given)

    with_options.__signature__ = signature.replace(parameters=taken)  # type: ignore[attr-defined]
    return with_options


def _offsets(text: str | None) -> tuple[int | None, int | None]:
    if text is None:
        return None, None
    found = _RANGE.fullmatch(text)
    first, last = (int(part) if part else None for part in found.groups()) if found else (1, 0)
    if first is not None and last is not None and first > last:
        raise wrong_usage(f"--offsets {text!r} is no range: say 100:200, 100: or :200")
    return first, last


def checked_events(events: Sequence[str] | None) -> list[str]:
    """Names of letters, of which each has the form of one.

    Raises:
        CommandFailed: one can't be a name.
    """
    from uuid import UUID

    from consumer.contract.received_letter import FOREIGN

    for name in events or ():
        if _PLACE.fullmatch(name) or name.startswith(f"{FOREIGN}-"):
            continue
        try:
            UUID(name)
        except ValueError:
            raise wrong_usage(
                f"{name!r} is neither an event id nor a place (partition@offset); "
                "for a document say --document or --identity"
            ) from None
    return list(events or ())
