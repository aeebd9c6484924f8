"""Everything that is known of one document, from the topics and from AnythingLLM. Changes nothing.

- Each topic is read up to the end it had at the start, in all partitions: a producer need not have
  used the identity as key. `quick` trusts that it did.
- Only records that may be about the document are read in full, and only the newest `KEPT` are kept.
- If reading shows an identity that was not known at first, the topics are read once more.
- A part that can't be had is named, and the others are there. Only without Kafka there is no story.
"""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

from consumer.anythingllm import AnythingLLMError
from consumer.contract.received_result import ReceivedResult, read_result
from consumer.kafka.partitioning import partitions_for
from consumer.model.event import DocumentEvent, Event, TombstoneEvent
from consumer.model.names import Identity, Slug
from consumer.model.origin import instant_of
from consumer.model.outcome import Refused
from consumer.model.record import Record
from consumer.operations.letters.reading import read_letters
from consumer.operations.ports import KafkaAccess, RecordReader
from consumer.operations.progress import StageProgress, silent
from consumer.operations.topic_progress import TopicProgress, topic_progress_of
from consumer.operations.where.held import Held
from consumer.operations.where.stored import MOST_SAME, Newest, WhereStored
from consumer.operations.where.story import (
    DOCUMENT,
    TOMBSTONE,
    WHAT_IS_STORED,
    MissingPart,
    Names,
    SameSource,
    Story,
    StoryEvent,
    StoryLetter,
    key_text,
)
from consumer.settings import Settings
from consumer.wiring.events import event_reader

KEPT = 1_000  # of events and of results each
_PROGRESS_EVERY = 200  # records between two reports of progress

T = TypeVar("T")


async def story_of(
    settings: Settings,
    kafka: KafkaAccess,
    word: str,
    *,
    quick: bool = False,
    progress: StageProgress = silent,
) -> Story:
    """Everything that is known of a document (module docstring).

    Args:
        settings: of the service.
        kafka: opened for reading.
        word: a document id or an identity.
        quick: look only into the partitions that its identity as a key leads to, and into the
            workspaces that its events name.
        progress: called now and then.

    Raises:
        KafkaUnavailableError: Kafka can't be reached or refuses.
    """
    limit = settings.document.max_batch_bytes
    async with kafka.reader(unfold_limit=limit) as reader:
        story = _StoryReader(settings, kafka, reader, word, quick=quick, progress=progress)
        await story.read_topics()
        await story.read_letters()
    await story.look_at_workspaces()
    return story.story()


class _Latest(Generic[T]):
    """Keeps the newest items that it is given, and counts the others."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, T]] = []
        self.count = 0

    def add(self, when: float, what: T) -> None:
        self.count += 1
        push = heapq.heappush if len(self._heap) < KEPT else heapq.heappushpop
        push(self._heap, (when, self.count, what))

    @property
    def left_out(self) -> int:
        return self.count - len(self._heap)

    def in_order(self) -> tuple[T, ...]:
        """Oldest first."""
        return tuple(what for _, _, what in sorted(self._heap))


class _StoryReader:
    """Puts one story together, source by source."""

    def __init__(
        self,
        settings: Settings,
        kafka: KafkaAccess,
        reader: RecordReader,
        word: str,
        *,
        quick: bool,
        progress: StageProgress,
    ) -> None:
        self._settings = settings
        self._kafka = kafka
        self._topics = reader
        self._quick = quick
        self._progress = progress
        self._names = Names(word, settings.document.identity)
        self._wanted = Newest()
        self._events: _Latest[StoryEvent] = _Latest()
        self._results: _Latest[ReceivedResult] = _Latest()
        self._letters: tuple[StoryLetter, ...] = ()
        self._held: list[Held] = []
        self._same_source: list[SameSource] = []
        self._untold: list[MissingPart] = []
        self._narrowed: list[str] = []
        self._topic_progress: dict[str, TopicProgress] = {}
        self._reader = event_reader(settings)

    # -- Kafka -------------------------------------------------------------------------------------

    async def read_topics(self) -> None:
        """Events, replays and results."""
        kafka = self._settings.kafka
        topics = (kafka.documents_topic, kafka.replay_topic, kafka.results_topic)
        others = (kafka.dead_letters_topic, kafka.parked_topic)
        self._topic_progress = await topic_progress_of(
            self._kafka, self._topics, (*topics, *others), kafka.group_id
        )
        for topic in (*topics, *others):
            if topic not in self._topic_progress:
                self._untold.append(MissingPart(topic, "there is no such topic"))
        known: frozenset[Identity] = frozenset()
        while known != self._names.identities:
            known = self._names.identities
            self._events, self._results, self._wanted = _Latest(), _Latest(), Newest()
            async for record in self._records(kafka.results_topic):
                self._take_result(record)
            for topic in (kafka.documents_topic, kafka.replay_topic):
                async for record in self._records(topic):
                    self._take_event(record)

    async def read_letters(self) -> None:
        """Dead letters, and what became of them."""
        kafka = self._settings.kafka
        if not {kafka.dead_letters_topic, kafka.results_topic} <= self._topic_progress.keys():
            return  # one of them is missing, which `missing` says already
        letters = await read_letters(
            self._settings,
            self._kafka,
            progress=lambda done, total: self._progress("reading dead letters", done, total),
        )
        # An event without id and identity is known by its place alone.
        places = {event.original or event.at for event in self._events.in_order()}
        found = [
            StoryLetter(letter, letters.of(letter), letters.standings.replays_of(letter))
            for letter in (*letters.letters, *letters.parked)
            if self._names.is_meant(letter.document_id, letter.identity)
            or letter.origin.at in places
        ]
        self._letters = tuple(sorted(found, key=lambda each: each.letter.failed_at))

    async def _records(self, topic: str) -> AsyncIterator[Record]:
        progress = self._topic_progress.get(topic)
        if progress is None:
            return
        if self._quick:
            progress = self._narrow(progress)
        done = 0
        async for record in self._topics.records(topic, progress.ranges):
            done += 1
            if done % _PROGRESS_EVERY == 0:
                self._progress(f"reading {topic}", done, progress.records)
            yield record

    def _narrow(self, progress: TopicProgress) -> TopicProgress:
        keys = (identity.encode(errors="replace") for identity in self._names.identities)
        narrowed = progress.only(partitions_for(keys, len(progress.ranges)))
        numbers = ", ".join(str(number) for number in sorted(narrowed.ranges))
        text = f"{progress.topic}: only partition {numbers} of {len(progress.ranges)}"
        self._narrowed = [
            each for each in self._narrowed if not each.startswith(progress.topic + ":")
        ]
        self._narrowed.append(text)
        return narrowed

    def _take_result(self, record: Record) -> None:
        if not self._names.may_be_answered_by(record):
            return
        try:
            result = read_result(record.value or b"")
        except ValueError:
            return
        # These lists can take half a megabyte, and are never shown.
        lean = result.model_copy(update={"uploaded_chunk_ids": (), "unchanged_chunk_ids": ()})
        when = result.completed_at.timestamp() if result.completed_at else 0.0
        self._results.add(when, lean)

    def _take_event(self, record: Record) -> None:
        if not self._names.may_be_about(record):
            return
        event = self._reader.read(record)
        document_id = _document_id(event)
        nameless = document_id is None and event.identity is None
        if nameless or self._names.is_meant(document_id, event.identity):
            self._wanted.add(event)
            self._events.add(record.timestamp_ms, self._seen(event, document_id))

    def _seen(self, event: Event, document_id: str | None) -> StoryEvent:
        record, body = event.record, event.body
        progress = self._topic_progress[record.at.topic]
        workspace, version, chunks = None, None, None
        match body:
            case DocumentEvent():
                kind, workspace, version = DOCUMENT, body.slug, body.version
                chunks = len(body.document.chunks)
            case TombstoneEvent():
                kind, workspace, version = TOMBSTONE, body.slug, body.version
            case Refused():
                kind = body.reason.value
        return StoryEvent(
            at=record.at,
            timestamp=instant_of(record.timestamp_ms),
            kind=kind,
            document_id=document_id,
            identity=event.identity,
            workspace=workspace,
            version=version,
            chunks=chunks,
            key=key_text(record),
            original=event.origin.at if event.is_replay else None,
            committed=progress.is_committed(record.at),
            in_front=progress.in_front_of(record.at),
        )

    async def look_at_workspaces(self) -> None:
        """What is stored, and whether searches find it."""
        slugs = tuple(each.workspace_slug for each in self._results.in_order())
        stored = WhereStored(
            self._settings, self._names, self._wanted, quick=self._quick, progress=self._progress
        )
        try:
            await stored.look(Slug(slug) for slug in slugs if slug is not None)
        except AnythingLLMError as error:
            self._untold.append(MissingPart(WHAT_IS_STORED, error.message))
        self._held, self._same_source = stored.held, stored.same_source
        self._narrowed += stored.narrowed

    # -- all of it ---------------------------------------------------------------------------------

    def story(self) -> Story:
        """What was found."""
        events, results = self._events.in_order(), self._results.in_order()
        seen = (
            *(each.identity for each in events),
            *(Identity(each.identity) for each in results if each.identity is not None),
            *(each.letter.identity for each in self._letters),
            *(each.identity for each in self._held),
        )
        identities = dict.fromkeys(each for each in seen if each is not None)
        return Story(
            word=self._names.word,
            identities=tuple(identities),
            events=events,
            results=results,
            letters=self._letters,
            held=tuple(self._held),
            same_source=tuple(self._same_source[:MOST_SAME]),
            missing=tuple(self._untold),
            left_out=self._events.left_out + self._results.left_out,
            narrowed=tuple(self._narrowed),
        )


def _document_id(event: Event) -> str | None:
    if event.document is not None:
        return event.document.id
    return event.body.document_id if isinstance(event.body, Refused) else None
