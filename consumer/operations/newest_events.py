"""The newest event about each of some documents in a workspace, as Kafka has them still."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from consumer.model.event import DocumentEvent, TombstoneEvent
from consumer.model.names import Identity, Slug
from consumer.model.precedence import Occurrence
from consumer.model.record import Coordinates
from consumer.operations.ports import RecordReader
from consumer.operations.progress import StageProgress
from consumer.settings import Settings
from consumer.wiring.events import event_reader

_PROGRESS_EVERY = 200  # records between two reports of progress


@dataclass(frozen=True, slots=True)
class NewestEvent:
    """The newest event about a document.

    Args:
        read_at: where it is; None for a tombstone.
    """

    occurrence: Occurrence
    read_at: Coordinates | None


class NewestEvents:
    """See the module's docstring."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._events = event_reader(settings)

    async def of(
        self,
        reader: RecordReader,
        slug: Slug,
        identities: Collection[Identity],
        *,
        progress: StageProgress,
    ) -> dict[Identity, NewestEvent]:
        """Of these documents, those of which an event is left; all records are read for it."""
        kafka = self._settings.kafka
        newest: dict[Identity, NewestEvent] = {}
        for topic in (kafka.documents_topic, kafka.replay_topic):
            ranges = await reader.offset_ranges(topic)
            total = sum(each.end - each.start for each in (ranges or {}).values())
            done = 0
            async for record in reader.records(topic, ranges or {}):
                done += 1
                if done % _PROGRESS_EVERY == 0:
                    progress(f"reading {topic}", done, total)
                body = self._events.read(record).body
                if isinstance(body, DocumentEvent | TombstoneEvent) and (
                    body.identity in identities and _is_about(body, slug)
                ):
                    _take(newest, body, record.at)
        return newest

    async def document(self, reader: RecordReader, at: Coordinates) -> DocumentEvent | None:
        """The event at a place; None where it is gone meanwhile."""
        record = await reader.record(at)
        body = self._events.read(record).body if record is not None else None
        return body if isinstance(body, DocumentEvent) else None


def _is_about(body: DocumentEvent | TombstoneEvent, slug: Slug) -> bool:
    return body.slug == slug or (isinstance(body, TombstoneEvent) and body.slug is None)


def _take(
    newest: dict[Identity, NewestEvent],
    body: DocumentEvent | TombstoneEvent,
    at: Coordinates,
) -> None:
    removes = isinstance(body, TombstoneEvent)
    new = Occurrence(body.version, removes=removes)
    known = newest.get(body.identity)
    if known is None or not known.occurrence.supersedes(new):
        newest[body.identity] = NewestEvent(new, None if removes else at)
