"""The newest event about each of some documents in a workspace, as Kafka has them still."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass

from consumer.model.event import DocumentEvent, TombstoneEvent
from consumer.model.names import Identity, Slug
from consumer.model.precedence import Occurrence
from consumer.model.record import Coordinates, Record
from consumer.operations.ports import RecordReader
from consumer.operations.progress import StageProgress
from consumer.settings import Settings
from consumer.wiring.events import event_reader

NO_EVENT_LEFT = "no event of it is left in Kafka, and AnythingLLM gives no texts back"
STORED_IS_NEWER = "what is stored of it is newer than all its events that are left in Kafka"

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
        newest: dict[Identity, NewestEvent] = {}
        async for record, body in self.each(reader, {slug: identities}, progress=progress):
            _take(newest, body, record.at)
        return newest

    async def each(
        self,
        reader: RecordReader,
        wanted: Mapping[Slug, Collection[Identity]],
        *,
        progress: StageProgress,
    ) -> AsyncIterator[tuple[Record, DocumentEvent | TombstoneEvent]]:
        """Every event about one of these documents, topic by topic; all records are read for it.

        Args:
            reader: reads the topics.
            wanted: documents, by workspace.
            progress: called now and then.
        """
        kafka = self._settings.kafka
        for topic in (kafka.documents_topic, kafka.replay_topic):
            ranges = await reader.offset_ranges(topic)
            total = sum(each.end - each.start for each in (ranges or {}).values())
            done = 0
            async for record in reader.records(topic, ranges or {}):
                done += 1
                if done % _PROGRESS_EVERY == 0:
                    progress(f"reading {topic}", done, total)
                body = self._events.read(record).body
                if isinstance(body, DocumentEvent | TombstoneEvent) and _is_wanted(body, wanted):
                    yield record, body

    async def document(self, reader: RecordReader, at: Coordinates) -> DocumentEvent | None:
        """The event at a place; None where it is gone meanwhile."""
        record = await reader.record(at)
        body = self._events.read(record).body if record is not None else None
        return body if isinstance(body, DocumentEvent) else None


def _is_wanted(
    body: DocumentEvent | TombstoneEvent, wanted: Mapping[Slug, Collection[Identity]]
) -> bool:
    if body.slug is None:
        return any(body.identity in identities for identities in wanted.values())
    return body.identity in wanted.get(body.slug, ())


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
