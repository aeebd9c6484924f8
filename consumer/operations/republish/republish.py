"""Bringing back what AnythingLLM lost: the newest event of each lost document, published again.

AnythingLLM may be emptied, restored from a backup, or moved, and gives no texts back. The documents
topic still has them. What is always true:

- An audit says what is lost, and it looks twice. What the service has not come to is not lost.
- Events go to the replay topic byte for byte, with the place and time that they first had. So what
  is newer wins, and what is stored is not uploaded again.
- One run at a time, and none beside a replay of dead letters: they share their lock.
- Right before events are published, the topics are looked at once more: a document with a newer
  event, a tombstone among them, is left alone.
- A run needs no memory. Run again, it finds what is still lost, and what was published by then
  waits for the service and is not lost any more.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from consumer.contract.received_result import read_result
from consumer.kafka.connection import KafkaUnavailableError
from consumer.kafka.group_lock import LockLostError, TakenError
from consumer.kafka.groups import Member
from consumer.kafka.publisher import OutgoingRecord, TooLargeForTopicError
from consumer.kafka.topics import no_such_topic
from consumer.model.names import Slug
from consumer.model.record import Coordinates
from consumer.operations.audit.audit import Audit
from consumer.operations.audit.findings import AuditSummary
from consumer.operations.audit.newest_results import Forgotten
from consumer.operations.pace import Pace
from consumer.operations.ports import HeldLock, KafkaAccess, RecordPublisher, RecordReader
from consumer.operations.progress import Advance, StageProgress, silent
from consumer.operations.replay.run import run_id
from consumer.operations.replay.run_store import replay_lock
from consumer.operations.replay_topic import replay_publisher, why_too_few_partitions
from consumer.operations.republish.newer import NewerEvents
from consumer.operations.republish.outgoing import republished
from consumer.operations.republish.plan import (
    LostDocument,
    NotPublished,
    RepublishPlan,
    plan_of,
)
from consumer.settings import Settings

log = structlog.get_logger(__name__)

_AT_ONCE = 64
_BYTES_AT_ONCE = 8 * 1024 * 1024
_PROGRESS_EVERY = 500  # records between two reports of progress
_STAGE = "reading results"


class RepublishRefused(Exception):
    """Nothing was published; the message says why and what to do."""


class RepublishStopped(Exception):
    """It ended before its end; the message says why. The command run again does the rest."""


@dataclass(frozen=True, slots=True)
class RepublishLook:
    """What would be done.

    Args:
        plan: with the documents whose events are known.
        forgotten: documents that results call stored, and of which nothing else is left.
        members: how many instances of the service run.
        refused: why nothing can be published as things are, each with what to do.
    """

    plan: RepublishPlan
    forgotten: tuple[Forgotten, ...]
    members: int
    refused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RepublishOutcome:
    """What was done.

    Args:
        run: the run's id, which every record has in its header ``dlq.run``.
        published: how many events.
        left: what was planned and is left after all, with why.
    """

    run: str
    published: int
    left: tuple[tuple[LostDocument, NotPublished], ...]


@dataclass(frozen=True, slots=True)
class RepublishTell:
    """What a person is told meanwhile.

    Args:
        waiting: who holds the lock, before it is waited for.
        done: how many more documents are done with.
    """

    waiting: Callable[[tuple[Member, ...]], None] = silent
    done: Advance = silent


@dataclass(frozen=True, slots=True)
class _Room:
    """Everything that publishing needs while the lock is held."""

    run: str
    operator: str
    cluster_id: str
    lock: HeldLock
    reader: RecordReader
    publisher: RecordPublisher
    newer: NewerEvents


class Republish:
    """See the module's docstring.

    Args:
        settings: of the service.
        kafka: opened for all that is needed.
        audit: that has looked.
        progress: called now and then.
    """

    def __init__(
        self,
        settings: Settings,
        kafka: KafkaAccess,
        audit: Audit,
        *,
        progress: StageProgress = silent,
    ) -> None:
        self._settings = settings
        self._kafka = kafka
        self._audit = audit
        self._progress = progress

    async def look(
        self,
        lost: Iterable[LostDocument],
        summary: AuditSummary,
        *,
        workspace: Slug | None,
        include_removed: bool,
    ) -> RepublishLook:
        """What would be published. Changes nothing.

        Raises:
            KafkaUnavailableError: Kafka can't be reached, or a topic is missing.
        """
        kafka, results = self._settings.kafka, self._audit.newest_results
        async with self._kafka.reader() as reader, self._kafka.admin() as admin:
            await self._read_results(reader)
            ranges = await reader.offset_ranges(kafka.replay_topic)
            members = len(await admin.members(kafka.group_id))
        if ranges is None:
            raise no_such_topic(kafka.replay_topic)
        plan = plan_of(
            lost,
            lambda each: results.of(each.slug, each.identity),
            summary.stock,
            self._is_there,
            include_removed=include_removed,
        )
        too_few = why_too_few_partitions(
            self._settings, len(ranges), plan.highest_partition, what="events lie in"
        )
        permits = self._settings.routing.rules().permits
        # What we may not write to any more was not looked at.
        forgotten = tuple(each for each in results.forgotten(workspace) if permits(each.slug))
        return RepublishLook(plan, forgotten, members, () if too_few is None else (too_few,))

    async def carry_out(
        self,
        look: RepublishLook,
        tell: RepublishTell,
        *,
        operator: str,
        rate: float | None,
        rng: random.Random,
    ) -> RepublishOutcome:
        """Publish what was planned.

        Args:
            look: what was planned.
            tell: see there.
            operator: ``name@host``.
            rate: events a second at most.
            rng: for the run's id, and for the waits of runs that are started at once.

        Raises:
            RepublishRefused: another run is at work, or this one would do harm.
            RepublishStopped: it ended before its end.
            KafkaUnavailableError: Kafka can't be reached, before anything was published.
        """
        if look.refused:
            raise RepublishRefused("; ".join(look.refused))
        run, planned = run_id(datetime.now(UTC), rng.getrandbits(16)), len(look.plan.published)
        running = _Running(self._settings, Pace(rate), tell.done)
        async with self._room(run, operator, tell, rng) as room:
            try:
                await running.all(room, look.plan.published)
            except LockLostError:
                raise RepublishStopped(
                    f"{running.published:,} of {planned:,} were published: the lock was lost, for"
                    " Kafka did not hear from us for KAFKA_SESSION_TIMEOUT_SECONDS, or did not"
                    " answer"
                ) from None
            except KafkaUnavailableError as error:
                raise RepublishStopped(
                    f"{running.published:,} of {planned:,} were published: Kafka: {error}"
                ) from error
        return RepublishOutcome(run, running.published, tuple(running.left))

    async def _read_results(self, reader: RecordReader) -> None:
        topic = self._settings.kafka.results_topic
        ranges = await reader.offset_ranges(topic) or {}
        total = sum(each.end - each.start for each in ranges.values())
        done = 0
        async for record in reader.records(topic, ranges):
            done += 1
            if done % _PROGRESS_EVERY == 0:
                self._progress(_STAGE, done, total)
            try:
                self._audit.newest_results.take(read_result(record.value or b""), record)
            except ValueError:
                continue  # a record of others; `results` and `check` tell of them
        self._progress(_STAGE, total, total)

    def _is_there(self, at: Coordinates) -> bool:
        progress = self._audit.topic_progress.get(at.topic)
        return progress is not None and progress.holds(at)

    @asynccontextmanager
    async def _room(
        self, run: str, operator: str, tell: RepublishTell, rng: random.Random
    ) -> AsyncIterator[_Room]:
        settings = self._settings
        config = replay_lock(settings, f"republish.{run}.{operator}")
        limit = settings.document.max_batch_bytes
        try:
            async with (
                self._kafka.lock(config, waiting=tell.waiting, rng=rng) as lock,
                self._kafka.reader(unfold_limit=limit) as reader,
                self._kafka.admin() as admin,
                replay_publisher(settings, self._kafka) as publisher,
            ):
                newer = NewerEvents(settings, reader, self._audit.topic_progress, run)
                cluster_id = await admin.cluster_id()
                yield _Room(run, operator, cluster_id, lock, reader, publisher, newer)
        except TakenError:
            raise RepublishRefused(
                "another run, or a replay of dead letters, is at work: wait for it or stop it"
                " (`dlq runs` shows how far replays are)"
            ) from None


class _Running:
    """A run under way."""

    def __init__(self, settings: Settings, pace: Pace, done: Advance) -> None:
        self._topic = settings.kafka.replay_topic
        self._pace = pace
        self._done = done
        self.published = 0
        self.left: list[tuple[LostDocument, NotPublished]] = []

    async def all(self, room: _Room, lost: Sequence[LostDocument]) -> None:
        """Publish these, in order; `_AT_ONCE` records or `_BYTES_AT_ONCE` are in memory at most."""
        batch: list[tuple[LostDocument, OutgoingRecord]] = []
        for each in lost:
            outgoing = await self._outgoing(room, each)
            if isinstance(outgoing, NotPublished):
                self._leave(room, each, outgoing)
                continue
            batch.append((each, outgoing))
            size = sum(record.size for _, record in batch)
            if len(batch) >= self._pace.at_once(_AT_ONCE) or size >= _BYTES_AT_ONCE:
                await self._send(room, batch)
                batch = []
        if batch:
            await self._send(room, batch)

    async def _outgoing(self, room: _Room, lost: LostDocument) -> OutgoingRecord | NotPublished:
        record = await room.reader.record(lost.read_at)
        if record is None:
            return NotPublished.GONE
        if record.unreadable is not None:
            return NotPublished.UNREADABLE
        return republished(
            record, replay_topic=self._topic, run=room.run, cluster_id=room.cluster_id
        )

    async def _send(
        self, room: _Room, batch: Sequence[tuple[LostDocument, OutgoingRecord]]
    ) -> None:
        await self._pace.keep(len(batch))
        await room.newer.look()
        await room.lock.confirm()
        current = []
        for lost, record in batch:
            if room.newer.has(lost.identity):
                self._leave(room, lost, NotPublished.NEWER)
            else:
                current.append((lost, record))
        outcomes = await asyncio.gather(
            *(room.publisher.publish(record) for _, record in current), return_exceptions=True
        )
        failed: BaseException | None = None
        for (lost, _), outcome in zip(current, outcomes, strict=True):
            if isinstance(outcome, TooLargeForTopicError):
                self._leave(room, lost, NotPublished.TOO_LARGE)
            elif isinstance(outcome, BaseException):
                failed = failed or outcome
            else:
                self.published += 1
                self._done(1)
                log.info("republish.published", **_facts(room, lost))
        if failed is not None:
            raise failed  # after all of them: what else went out is told

    def _leave(self, room: _Room, lost: LostDocument, why: NotPublished) -> None:
        self.left.append((lost, why))
        self._done(1)
        log.info("republish.left", because=why.value, **_facts(room, lost))


def _facts(room: _Room, lost: LostDocument) -> dict[str, str]:
    return {
        "run": room.run,
        "operator": room.operator,
        "place": str(lost.at),
        "identity": lost.identity,
        "document_id": lost.document_id,
        "workspace": lost.slug,
    }
