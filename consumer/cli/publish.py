"""``publish``: events from files onto the documents topic, keyed by their identity."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from consumer.cli import output
from consumer.cli.common import (
    CommandFailed,
    ConfigOption,
    ExitCode,
    JsonOption,
    end,
    settings_for,
    wrong_usage,
)
from consumer.cli.files import EventLine, UnreadableError, read_events
from consumer.cli.progress import bar
from consumer.operations.progress import Advance, silent

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

_PATIENCE_SECONDS = 30.0  # a person waits in front of it


def publish(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE", help="JSON or NDJSON, also .gz; - is stdin.")
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
    as_json: JsonOption = False,
) -> None:
    """Publish ProcessedDocument events, each with its identity as the record key.

    All are checked first, as by `validate`.
    When one is invalid nothing is published (exit 3).
    Events in envelopes are taken, too (schemas/README.md, "Envelopes").
    Publishing the same events again is safe: nothing is stored twice.
    Of the settings only those of Kafka are needed (KAFKA_BOOTSTRAP_SERVERS).
    Where the service has other limits or another routing than the defaults,
    these as well: events are checked by them.

    Example: anythingllm-consumer publish documents.ndjson.gz
    """
    settings = settings_for(config, needs_anythingllm=False, quiet_kafka=True)
    rules = _rules(settings, envelope, key_envelope, schema_id)
    try:
        events = _Events(files)
        valid, invalid = _count(events, settings, notes=dry_run)
    except UnreadableError as error:
        raise wrong_usage(str(error)) from None
    blocked = bool(invalid) and not skip_invalid
    published = 0
    if valid and not dry_run and not blocked:
        published = _publish(events, settings, rules, valid)
    summary = {"valid": valid, "invalid": invalid, "published": published, "dry_run": dry_run}
    if as_json:
        output.json_line(summary)
    else:
        output.line(f"{valid} valid, {invalid} invalid, {published} published")
        if blocked:
            output.note("nothing was published; mend the events above, or use --skip-invalid")
    end(ExitCode.FOUND if blocked else ExitCode.DONE)


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


def _publish(events: _Events, settings: Settings, rules: PublishingRules, total: int) -> int:
    import asyncio

    from consumer.kafka.connection import KafkaUnavailableError
    from consumer.kafka.publisher import TooLargeForTopicError
    from consumer.publishing import EventRecord

    counted = _Published()
    valid = (one for one in _checked(events, rules) if isinstance(one, EventRecord))
    try:
        with bar("publishing", total) as show:
            counted.show = show
            return asyncio.run(_send(valid, settings, counted))
    except (KafkaUnavailableError, TooLargeForTopicError) as error:
        message = f"Kafka: {error}"
        if counted.published:
            message += (
                f"\n{counted.published} of {total} events were published before that; "
                "publishing all of them again is safe"
            )
        raise CommandFailed(message) from None


async def _send(events: Iterable[EventRecord], settings: Settings, counted: _Published) -> int:
    from consumer.kafka.publisher import OutgoingRecord, Publisher
    from consumer.kafka.topics import partitions_of
    from consumer.operations.publish import publish_all
    from consumer.wiring.kafka import kafka_connection
    from consumer.wiring.topics import DEAD_LETTER_HEADROOM

    connection, topic = kafka_connection(settings), settings.kafka.documents_topic
    # Asked first, because a producer would look for a missing topic for 40 s.
    await partitions_of(connection, topic)
    publisher = Publisher(
        connection,
        max_record_bytes=settings.document.max_bytes + DEAD_LETTER_HEADROOM,
        delivery_timeout=min(settings.kafka.delivery_timeout_seconds, _PATIENCE_SECONDS),
        give_up=True,
    )

    async def one_by_key(event: EventRecord) -> None:
        await publisher.publish(
            OutgoingRecord(topic, event.key, event.value, event.headers, open=True)
        )

    await publisher.start()
    try:
        return await publish_all(events, one_by_key, done=counted)
    finally:
        await publisher.stop()


@dataclass(slots=True)
class _Published:
    """How many are published so far, for the progress bar and for the error."""

    published: int = 0
    show: Advance = silent

    def __call__(self, more: int) -> None:
        self.published += more
        self.show(more)
