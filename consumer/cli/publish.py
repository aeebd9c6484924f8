"""``publish``: events from files onto the documents topic, keyed by their identity."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from consumer.cli import output
from consumer.cli.common import (
    ConfigOption,
    ExitCode,
    JsonOption,
    end,
    kafka_for,
    settings_for,
    wrong_usage,
)
from consumer.cli.deletions import DeletionWish, note_files, show_planned, tombstones
from consumer.cli.files import EventLine, UnreadableError, read_events
from consumer.cli.sending import SendingWish, Sent, fields_of, send, show_sent

if TYPE_CHECKING:
    from consumer.operations.publish import PublishingRules
    from consumer.pipeline.decode import Malformed
    from consumer.publishing import EventRecord
    from consumer.settings import Settings

# Spelled out, because importing those of the contract takes time that `--help` has not.
EnvelopeName = Literal[
    "plain",
    "schema-registry",
    "schema-registry-header",
    "cloudevents",
    "cloudevents-structured",
    "connect",
    "json-string",
]


def publish(
    context: typer.Context,
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE",
            help="JSON or NDJSON, also .gz; - is stdin. With --delete: document ids.",
        ),
    ],
    config: ConfigOption = None,
    skip_invalid: Annotated[
        bool, typer.Option("--skip-invalid", help="Publish the valid ones, leave out the others.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Check only, with notes on what is doubtful; need no Kafka."
        ),
    ] = False,
    envelope: Annotated[
        EnvelopeName | None,
        typer.Option(help="Put every event into this one. Without it each stays as it is."),
    ] = None,
    key_envelope: Annotated[
        EnvelopeName, typer.Option(help="Frame the keys, as whoever else publishes them does.")
    ] = "plain",
    schema_id: Annotated[
        int, typer.Option(min=0, max=2**31 - 1, help="In frames: of a Schema Registry.")
    ] = 1,
    wait: Annotated[
        bool,
        typer.Option("--wait", help="Wait for the results; exit 3 when not all of it is stored."),
    ] = False,
    timeout: Annotated[
        float | None,
        typer.Option(
            min=0, metavar="SECONDS", help="With --wait: then exit 1.", show_default=False
        ),
    ] = None,
    delete: Annotated[
        bool,
        typer.Option("--delete", help="Delete the documents of these ids; - has one a line."),
    ] = False,
    workspace: Annotated[
        str | None,
        typer.Option(
            metavar="SLUG", help="With --delete: only from this workspace.", show_default=False
        ),
    ] = None,
    are_identities: Annotated[
        bool, typer.Option("--identity", help="With --delete: they are record keys, not ids.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Publish ProcessedDocument events, each with its identity as the record key.

    All are checked first, as by `validate`.
    When one is invalid nothing is published (exit 3).
    Events in envelopes are taken, too (schemas/README.md, "Envelopes").
    Publishing the same events again is safe: nothing is stored twice.
    --delete publishes a tombstone of each id: the service removes what is stored of it.
    Of the settings only those of Kafka are needed (KAFKA_BOOTSTRAP_SERVERS).
    Where the service has other limits or another routing than the defaults,
    these as well: events are checked by them.

    Example: anythingllm-consumer publish documents.ndjson.gz
    """
    _check_usage(wait, timeout, delete, workspace, are_identities, envelope, skip_invalid)
    settings = settings_for(config, needs_anythingllm=False, quiet_kafka=True)
    kafka = kafka_for(context, settings)
    rules = _rules(settings, envelope, key_envelope, schema_id)
    started = datetime.now(UTC)
    if delete:
        wish = DeletionWish(words=files, workspace=workspace, are_identities=are_identities)
        deletions = tombstones(wish, settings, kafka, rules.maker)
        asked = SendingWish(total=len(deletions), wait=wait, timeout=timeout, started=started)
        note_files(files)
        if dry_run and not as_json:
            show_planned(deletions, workspace)
        sent = None if dry_run else send(deletions, settings, kafka, asked)
        _end(len(deletions), 0, sent, asked, dry_run=dry_run, as_json=as_json)
        return
    from consumer.publishing import EventRecord

    try:
        events = _Events(files)
        valid, invalid = _count(events, settings, notes=dry_run)
    except UnreadableError as error:
        raise wrong_usage(str(error)) from None
    blocked = bool(invalid) and not skip_invalid
    asked = SendingWish(total=valid, wait=wait, timeout=timeout, started=started)
    sent = None
    if valid and not dry_run and not blocked:
        records = (one for one in _checked(events, rules) if isinstance(one, EventRecord))
        sent = send(records, settings, kafka, asked)
    _end(valid, invalid, sent, asked, dry_run=dry_run, as_json=as_json)
    if blocked:
        if not as_json:
            output.note("nothing was published; mend the events above, or use --skip-invalid")
        end(ExitCode.FOUND)


def _check_usage(
    wait: bool,
    timeout: float | None,
    delete: bool,
    workspace: str | None,
    are_identities: bool,
    envelope: EnvelopeName | None,
    skip_invalid: bool,
) -> None:
    if timeout is not None and not wait:
        raise wrong_usage("--timeout is for --wait")
    if (workspace is not None or are_identities) and not delete:
        raise wrong_usage("--workspace and --identity are for --delete")
    if envelope is not None and delete:
        raise wrong_usage("--delete publishes no value that could be in an envelope")
    if skip_invalid and delete:
        raise wrong_usage("--skip-invalid is for events in files, and --delete takes ids")


def _end(
    valid: int,
    invalid: int,
    sent: Sent | None,
    asked: SendingWish,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Say what was done, and end with the exit code of it."""
    published = sent.published if sent is not None else 0
    summary = {"valid": valid, "invalid": invalid, "published": published, "dry_run": dry_run}
    if as_json:
        output.json_line(summary | (fields_of(sent) if sent is not None else {}))
    else:
        output.line(f"{valid} valid, {invalid} invalid, {published} published")
        if sent is not None:
            show_sent(sent, asked)
        elif valid and dry_run:
            output.note("nothing was published: that was only the --dry-run")
        elif not valid and not invalid:
            output.note("nothing was published: there is no event in what was given")
    if sent is not None:
        end(sent.code)


class _Events:
    """The events of the files, as often as they are asked for; those of standard input are kept."""

    def __init__(self, files: list[str]) -> None:
        self._files = files
        self._kept = {name: list(read_events([name])) for name in set(files) if name == "-"}

    def __iter__(self) -> Iterator[EventLine]:
        for _, events in self.by_file():
            yield from events

    def by_file(self) -> Iterator[tuple[str, Iterable[EventLine]]]:
        """The same, with the name of each file."""
        for name in self._files:
            yield name, self._kept.get(name) or read_events([name])


def _rules(
    settings: Settings, envelope: EnvelopeName | None, key_envelope: EnvelopeName, schema_id: int
) -> PublishingRules:
    from consumer.operations.publish import PublishingRules
    from consumer.publishing import Envelope, RecordMaker
    from consumer.wiring.event_rules import event_rules

    maker = RecordMaker(
        identity=settings.document.identity.text,
        envelope=Envelope(envelope or "plain"),
        key_envelope=Envelope(key_envelope),
        schema_id=schema_id,
    )
    return PublishingRules(event_rules(settings), maker, rewrap=envelope is not None)


def _checked(events: _Events, rules: PublishingRules) -> Iterator[EventRecord | Malformed]:
    from consumer.operations.publish import checked

    return checked((event.value for event in events), rules)


def _count(events: _Events, settings: Settings, *, notes: bool) -> tuple[int, int]:
    from consumer.cli.examined import FileFindings
    from consumer.operations.validation import Examiner
    from consumer.wiring.event_rules import event_rules

    identity, now = settings.document.identity, datetime.now(UTC)
    examiner = Examiner(event_rules(settings), identity, now, doubts=notes)
    findings = FileFindings(output.note, with_notes=notes)
    for name, of_file in events.by_file():
        findings.examine(name, of_file, examiner)
    findings.end()
    return findings.valid, findings.invalid
