"""``publish --delete``: tombstones of the documents that are named."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from consumer.cli import output
from consumer.cli.common import CommandFailed, ExitCode, ask_kafka, check_slug, wrong_usage

if TYPE_CHECKING:
    from consumer.model.names import Identity, Slug
    from consumer.operations.ports import KafkaAccess
    from consumer.publishing import EventRecord, RecordMaker
    from consumer.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletionWish:
    """What is to be deleted.

    Args:
        words: document ids, or identities; ``-`` has one a line on standard input.
        workspace: only from there; None: from every workspace, or the one that routing says.
        are_identities: whether the words are identities.
    """

    words: Sequence[str]
    workspace: str | None
    are_identities: bool


def tombstones(
    wish: DeletionWish, settings: Settings, kafka: KafkaAccess, maker: RecordMaker
) -> list[EventRecord]:
    """The records that delete what is named, in order, each once.

    Raises:
        CommandFailed: a document's identity is not known, or the service would refuse it.
    """
    workspace = None if wish.workspace is None else _slug(wish.workspace)
    names = dict.fromkeys(_named(wish.words))
    if not names:
        raise wrong_usage("--delete needs the id of a document")
    identities = _identities(list(names), wish, settings, kafka)
    records = [maker.tombstone(each, workspace=workspace) for each in identities]
    _check(records, settings)
    return records


def _slug(text: str) -> Slug:
    from consumer.model.slug import RULE, can_exist

    # Narrower than what may be looked at: the service refuses such a header.
    if not can_exist(text):
        raise wrong_usage(f"{text!r} is no workspace slug ({RULE}); `workspaces list` shows them")
    return check_slug(text)


def note_files(words: Sequence[str]) -> None:
    """Say of words that are files that they are taken for ids.

    Who means the documents in a file would delete none of them, and be told of success.
    """
    for word in words:
        if word != "-" and os.path.isfile(word):
            output.note(
                f"note: there is a file {word}, and --delete takes it for the id of a document;"
                " ids from a file, one a line: `publish --delete - < FILE`"
            )


def show_planned(records: Sequence[EventRecord], workspace: str | None) -> None:
    """Tell a person what would be deleted."""
    where = f"workspace {workspace}" if workspace is not None else "every workspace it is in"
    for each in records:
        output.line(f"would delete {each.key.decode(errors='replace')} from {where}")


def _named(words: Sequence[str]) -> list[str]:
    named: list[str] = []
    for word in words:
        named += sys.stdin.read().split("\n") if word == "-" else [word]
    return [word.strip() for word in named if word.strip()]


def _identities(
    names: list[str], wish: DeletionWish, settings: Settings, kafka: KafkaAccess
) -> list[Identity]:
    from consumer.model.names import Identity
    from consumer.operations.results.names import identities_told, made_of_id

    if wish.are_identities:
        return [Identity(name) for name in names]
    template = settings.document.identity
    made = [made_of_id(name, template) for name in names]
    if all(made):
        return [each for each in made if each is not None]
    told = ask_kafka(identities_told(kafka, settings.kafka.results_topic, set(names)))
    unknown = [name for name in names if name not in told]
    if unknown:
        raise CommandFailed(
            f"no result tells of: {', '.join(unknown)}\n"
            f"DOCUMENT_IDENTITY is {template.text}, so an id alone makes no identity; give the "
            "record key with --identity. Nothing was published.",
            ExitCode.FOUND,
        )
    return list(dict.fromkeys(each for name in names for each in sorted(told[name])))


def _check(records: Sequence[EventRecord], settings: Settings) -> None:
    """Refuse what the service would refuse, before anything is published."""
    from consumer.model.outcome import Refused
    from consumer.model.record import Coordinates, Record
    from consumer.wiring.events import event_reader

    reader = event_reader(settings)
    somewhere = Coordinates(settings.kafka.documents_topic, 0, 0)
    for each in records:
        body = reader.read(Record(somewhere, 0, each.key, None, each.headers)).body
        if isinstance(body, Refused):
            raise CommandFailed(
                f"{'; '.join(body.problems)}\nNothing was published.", ExitCode.FOUND
            )
