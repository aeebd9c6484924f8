"""A replay run under way: it reads, publishes, counts and commits.

What is always true:

- The lock is confirmed before every publish. Once it is lost, nothing more is published or
  committed. A process that is frozen between the two may still send one batch when it thaws; the
  service recognises what is stored already.
- Progress is committed only after Kafka has acknowledged what was published.
- Payloads are read one by one; `_AT_ONCE` records or `_BYTES_AT_ONCE` are in memory at most.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import dataclass, replace

from consumer.contract.received_letter import Letter
from consumer.kafka.connection import KafkaUnavailableError
from consumer.kafka.group_lock import LockLostError
from consumer.kafka.groups import Member
from consumer.kafka.publisher import OutgoingRecord, TooLargeForTopicError
from consumer.model.record import Record
from consumer.operations.letters.original import event_topics
from consumer.operations.pace import Pace
from consumer.operations.ports import (
    ClusterAdmin,
    HeldLock,
    KafkaAccess,
    RecordPublisher,
    RecordReader,
)
from consumer.operations.progress import Advance, Progress
from consumer.operations.replay.plan import ReplayPlan
from consumer.operations.replay.planning import ReplayLook, ReplayPlanner, ReplayRequest
from consumer.operations.replay.run import ReplayRun, RunProgress
from consumer.operations.replay.run_log import RunLog
from consumer.operations.replay.run_store import RunStore
from consumer.operations.replay.sources import original_for, records_for
from consumer.operations.replay.verdict import ReplayVerdict, Skipped, replay_of
from consumer.operations.replay_topic import replay_publisher
from consumer.settings import Settings

_AT_ONCE = 64
_BYTES_AT_ONCE = 8 * 1024 * 1024
_COMMIT_EVERY_SECONDS = 0.5
_LAST_COMMIT_SECONDS = 5.0


class ReplayStopped(Exception):
    """The run ended before its end, and can be resumed; the message says why."""


@dataclass(frozen=True, slots=True)
class Tell:
    """What a person is told while a run goes on.

    Args:
        reading: how far the planning is.
        waiting: who holds the lock, before it is waited for.
        began: that a run has begun or goes on; from now on it can be resumed.
        done: how many more letters are done with.
    """

    reading: Progress
    waiting: Callable[[tuple[Member, ...]], None]
    began: Callable[[ReplayRun, ReplayLook], None]
    done: Advance


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """What a run did.

    Args:
        look: what was found, also where there was nothing to do.
        run: None where there was nothing to do.
        progress: how far it is.
    """

    look: ReplayLook
    run: ReplayRun | None
    progress: RunProgress


@dataclass(frozen=True, slots=True)
class ReplayRoom:
    """Everything that a run needs while it holds the lock."""

    kafka: KafkaAccess
    admin: ClusterAdmin
    reader: RecordReader
    store: RunStore
    lock: HeldLock
    planner: ReplayPlanner


@dataclass(frozen=True, slots=True)
class _Job:
    """A letter with the record that is published for it."""

    letter: Letter
    verdict: ReplayVerdict
    outgoing: OutgoingRecord


class RunningReplay:
    """A run under way.

    Args:
        settings: name the topics.
        room: open until the run ends.
        run: what never changes of it.
        progress: where it begins or goes on.
        request: only its rate and its file count.
        tell: see there.
        operator: ``name@host`` of who carries it out; "" for the one who began it.
    """

    def __init__(
        self,
        settings: Settings,
        room: ReplayRoom,
        run: ReplayRun,
        progress: RunProgress,
        request: ReplayRequest,
        tell: Tell,
        operator: str = "",
    ) -> None:
        self._settings = settings
        self._room = room
        self._run = run
        self._progress = progress
        self._request = request
        self._tell = tell
        self._log = RunLog(run.id, operator=operator or run.operator)
        self._publisher: RecordPublisher  # opened by `carry_out`
        self._next: dict[int, int] = dict(progress.next)
        self._committed_at = time.monotonic()
        self._pace = Pace(request.rate)
        self._limit = 0

    async def carry_out(self, look: ReplayLook) -> RunOutcome:
        """Do everything that is left.

        Raises:
            ReplayStopped: it ended before its end; the run can be resumed.
        """
        self._tell.began(self._run, look)
        self._log.left(look.plan)
        async with AsyncExitStack() as opened:
            try:
                publisher = replay_publisher(self._settings, self._room.kafka)
                self._publisher = await opened.enter_async_context(publisher)
                self._limit = await self._largest()
                await self._all(look.plan)
                self._progress = _finished(self._run, self._progress)
                await self._commit()
            except LockLostError:
                # Without the lock not even progress may be committed: another run may be at work.
                raise ReplayStopped(
                    "the lock was lost: Kafka did not hear from us for "
                    "KAFKA_SESSION_TIMEOUT_SECONDS, or did not answer; nothing more was published"
                ) from None
            except KafkaUnavailableError as error:
                raise ReplayStopped(f"Kafka: {error}") from None
            except asyncio.CancelledError:
                await self._commit_at_last()
                raise
        self._log.ended(self._progress)
        return RunOutcome(look, self._run, self._progress)

    async def _all(self, plan: ReplayPlan) -> None:
        batch: list[_Job] = []
        found = records_for(self._room.reader, plan.work, self._request.lines)
        async with aclosing(found) as records:
            async for letter, verdict, record in records:
                job = await self._job(letter, verdict, record)
                if isinstance(job, Skipped):
                    # In order: progress is one offset, so the letters before it are done first.
                    await self._send(batch)
                    batch = []
                    await self._leave(letter, job)
                    continue
                batch.append(job)
                if self._is_full(batch):
                    await self._send(batch)
                    batch = []
        await self._send(batch)

    async def _job(
        self, letter: Letter, verdict: ReplayVerdict, record: Record | None
    ) -> _Job | Skipped:
        if record is None or record.unreadable is not None:
            return Skipped.GONE
        kafka = self._settings.kafka
        if verdict is ReplayVerdict.PARK:
            parked = OutgoingRecord(kafka.parked_topic, record.key, record.value, record.headers)
            return _Job(letter, verdict, parked)
        original = await original_for(
            self._room.reader, letter, record, event_topics(self._settings)
        )
        if isinstance(original, Skipped):
            return original
        made = replay_of(letter, original, self._run.id)
        partition = made.partition
        if partition is None:
            partition = self._partition_for(letter, original)
        outgoing = OutgoingRecord(kafka.replay_topic, made.key, made.value, made.headers, partition)
        return _Job(letter, verdict, outgoing)

    def _partition_for(self, letter: Letter, original: Record) -> int | None:
        """The partition for what others gave up; None where the key decides."""
        number, count = original.at.partition, len(self._run.replay_ends)
        if original.at != letter.at and number < count:
            return number  # fetched from there: in order with its document's other events
        return number % count if original.key is None else None

    def _is_full(self, batch: list[_Job]) -> bool:
        most = self._pace.at_once(_AT_ONCE)
        sizes = [job.outgoing.size for job in batch]
        # A record that the topic may refuse goes alone: once refused, it would take the records
        # with it that are under way at the same time.
        return len(batch) >= most or sum(sizes) >= _BYTES_AT_ONCE or max(sizes) > self._limit

    async def _send(self, batch: list[_Job]) -> None:
        while batch:
            alone = [job for job in batch if job.outgoing.size > self._limit][:1]
            part = alone or batch
            if alone and batch[0] is not alone[0]:
                part = batch[: batch.index(alone[0])]
            batch = batch[len(part) :]
            await self._pace.keep(len(part))
            await self._room.lock.confirm()
            sent = await asyncio.gather(
                *(self._publish(job) for job in part), return_exceptions=True
            )
            for job, outcome in zip(part, sent, strict=True):
                if isinstance(outcome, TooLargeForTopicError):
                    await self._leave(job.letter, Skipped.TOO_LARGE)
                elif isinstance(outcome, BaseException):
                    raise outcome
                else:
                    self._count(job)
            await self._commit_now_and_then()

    async def _publish(self, job: _Job) -> None:
        await self._publisher.publish(job.outgoing)

    def _count(self, job: _Job) -> None:
        progress = self._progress
        if job.verdict is ReplayVerdict.PARK:
            self._progress = replace(progress, parked=progress.parked + 1)
            self._log.parked(job.letter)
        else:
            self._progress = replace(progress, published=progress.published + 1)
            self._log.published(job.letter)
        self._passed(job.letter)

    async def _leave(self, letter: Letter, why: Skipped) -> None:
        self._progress = self._progress.left(why.value)
        self._log.skipped(letter, why.value)
        self._passed(letter)
        await self._commit_now_and_then()

    def _passed(self, letter: Letter) -> None:
        self._tell.done(1)
        if self._request.lines is None:
            self._next[letter.at.partition] = letter.at.offset + 1
            self._progress = replace(self._progress, next=self._next)

    async def _commit_now_and_then(self) -> None:
        if time.monotonic() - self._committed_at >= _COMMIT_EVERY_SECONDS:
            await self._commit()

    async def _commit(self) -> None:
        await self._room.lock.confirm()
        await self._room.store.save(self._run, self._progress)
        self._committed_at = time.monotonic()

    async def _commit_at_last(self) -> None:
        """For `dlq runs`, which shows what is committed. The run itself finds the rest again."""
        if self._room.lock.held:
            with suppress(KafkaUnavailableError, TimeoutError):
                async with asyncio.timeout(_LAST_COMMIT_SECONDS):
                    await self._room.store.save(self._run, self._progress)

    async def _largest(self) -> int:
        """Bytes of a record that the topics take for sure; 0 where Kafka does not say."""
        kafka = self._settings.kafka
        states = await self._room.admin.states([kafka.replay_topic, kafka.parked_topic])
        found = [state.settings.get("max.message.bytes") for state in states.values()]
        return min((int(each or 0) for each in found), default=0)


def _finished(run: ReplayRun, progress: RunProgress) -> RunProgress:
    """The progress of a run with nothing left to do.

    Letters that were neither replayed nor left are not open any more.
    """
    rest = run.selected - progress.published - progress.parked - progress.all_skipped
    for _ in range(rest):
        progress = progress.left(Skipped.SETTLED.value)
    return replace(progress, next=dict(run.ends), done=True)
