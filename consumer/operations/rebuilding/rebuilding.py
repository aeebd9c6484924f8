"""Rebuilding a workspace on purpose, in the same slug: for another embedding model, say.

The running service does the work. Each document's newest event is published once more, to the
replay topic, with a header that asks for it (`consumer.model.origin.REBUILD`); the service takes
the document out and stores it anew, in its turn among its events. Why that way:

- Nobody else may empty a workspace beside a running service. It believes its picture of what is
  stored for minutes, and would call an event stored whose texts were just taken out; an upload that
  is under way would end with half of its document gone.
- A document that was taken out is on the replay topic until it is stored again, whoever dies.
- A newer version, or a tombstone, that was carried out before leaves nothing to do; one that comes
  later finds it anew.
- At any moment a few documents are missing from searches, not all of them.
- A service of an older version takes the events for mere replays: nothing is done, nothing is lost.

Before the first one all that is stored is proven to be in the topics. It can be stopped at any
moment: when it began is on record (`rebuild_record`), and what was made since then is done.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from consumer.anythingllm import AnythingLLMConnectionError, AnythingLLMError
from consumer.anythingllm.inventory import Inventory, SickWorkspace, open_inventory
from consumer.anythingllm.models import DocumentRow
from consumer.anythingllm.sentinel import is_sentinel
from consumer.anythingllm.vector_databases import VectorDatabase
from consumer.kafka.connection import KafkaUnavailableError
from consumer.kafka.group_lock import LockConfig, LockLostError, TakenError
from consumer.kafka.groups import Member
from consumer.model import origin as of
from consumer.model.marker import decode_marker
from consumer.model.names import ServerName, Slug
from consumer.model.record import Coordinates
from consumer.operations.audit.audit import Audit, open_audit
from consumer.operations.audit.searching import SearchScope
from consumer.operations.estimate import removal_seconds, upload_seconds
from consumer.operations.ports import (
    ClusterAdmin,
    HeldLock,
    KafkaAccess,
    RecordPublisher,
    RecordReader,
)
from consumer.operations.progress import StageProgress, silent
from consumer.operations.rebuilding.rebuild_plan import DocumentAnew, RebuildPlan, rebuild_plan_of
from consumer.operations.rebuilding.rebuild_record import RebuildRecord, RebuildRecords
from consumer.operations.replay.run_store import lock_group
from consumer.operations.replay_topic import replay_publisher, why_too_few_partitions
from consumer.operations.under_way import Settling, asking_for, batches
from consumer.settings import Settings
from consumer.wiring.anythingllm import anythingllm_config, server_configs

_STAGE = "made anew"
_ROUNDS = 3  # a document with a newer event meanwhile comes in the next one
_DATES = timedelta(seconds=1)  # answers tell the time in whole seconds, rows in milliseconds
_QUERY = "ready"  # any text: whether a search works is asked, not what it finds


class RebuildRefused(Exception):
    """Nothing was done; the message says why and what to do."""


class RebuildStopped(Exception):
    """It ended before its end; the message says why. The command run again goes on."""


@dataclass(frozen=True, slots=True)
class RebuildLook:
    """What would be done.

    Args:
        plan: for the documents.
        since: when the run that goes on began, by AnythingLLM's clock; None: it begins anew.
        foreign: documents that others put there: they stay as they are.
        seconds: about how long it takes.
        members: how many instances of the service run.
        refused: why it can't be done as things are, each with what to do.
    """

    plan: RebuildPlan
    since: datetime | None
    foreign: int
    seconds: float
    members: int
    refused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RebuildTell:
    """What a person is told meanwhile.

    Args:
        waiting: who holds the lock, before it is waited for.
        line: something to know.
    """

    waiting: Callable[[tuple[Member, ...]], None] = silent
    line: Callable[[str], None] = silent


@dataclass(frozen=True, slots=True)
class _Workshop:
    """Everything that publishing needs while the lock is held."""

    lock: HeldLock
    reader: RecordReader
    admin: ClusterAdmin
    publisher: RecordPublisher
    cluster_id: str
    partitions: int


@dataclass(slots=True)
class _Rows:
    """What a server lists of the workspace."""

    ours: int = 0
    foreign: int = 0

    def __call__(self, row: DocumentRow) -> None:
        """Count a row."""
        if decode_marker(row.doc_source) is not None:
            self.ours += 1
        elif not is_sentinel(row.doc_source):
            self.foreign += 1


class Rebuilding:
    """See the module's docstring; may raise `AnythingLLMError` and `KafkaUnavailableError`.

    Args:
        audit: of this workspace alone.
        servers: an inventory of each AnythingLLM, by a name for people.
        slug: the workspace.
        restart: make all anew, also what a run that was stopped has done.
    """

    def __init__(
        self,
        settings: Settings,
        kafka: KafkaAccess,
        audit: Audit,
        servers: Mapping[str, Inventory],
        slug: Slug,
        *,
        restart: bool = False,
        tell: RebuildTell = RebuildTell(),
        progress: StageProgress = silent,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._settings = settings
        self._kafka = kafka
        self._audit = audit
        self._servers = servers
        self._slug = slug
        self._restart = restart
        self._tell = tell
        self._progress = progress
        self._sleep = sleep
        self._settling = Settling(settings, tell=tell.line, clock=clock, sleep=sleep)

    async def look(self) -> RebuildLook:
        """What would be done. Changes nothing.

        Raises:
            UnknownWorkspace: neither AnythingLLM nor any event knows it.
        """
        kafka = self._settings.kafka
        async with self._kafka.admin() as admin:
            record = await RebuildRecords(admin, self._settings).unfinished(self._slug)
            members = len(await admin.members(kafka.group_id))
            partitions = await admin.partitions(kafka.replay_topic)
        since = record.since if record is not None and not self._restart else None
        plan = await self._plan(since)
        rows, refused = await self._rows()
        if not plan.documents:
            return RebuildLook(plan, since, rows.foreign, 0.0, members, ())
        if not partitions:
            refused.append(f"there is no topic {kafka.replay_topic}: `topics create` makes it")
        elif too_few := why_too_few_partitions(
            self._settings, partitions, plan.highest_partition, what="events lie in"
        ):
            refused.append(too_few)
        if not members:
            refused.append(
                f"the consumer group {kafka.group_id} has no members: the service does the work,"
                " start it"
            )
        if plan.unproven:
            refused.append(
                f"{len(plan.unproven):,} documents could not be made anew, see above: AnythingLLM"
                " gives no texts back"
            )
        seconds = await self._seconds(plan, rows)
        return RebuildLook(plan, since, rows.foreign, seconds, members, tuple(refused))

    async def carry_out(
        self, look: RebuildLook, *, operator: str, rng: random.Random
    ) -> RebuildPlan:
        """Have it done.

        Args:
            look: what was planned.
            operator: ``name@host``.
            rng: for the waits of runs that are started at once.

        Returns:
            What is left to do, and what is done.

        Raises:
            RebuildRefused: another run is at work, or this one would do harm.
            RebuildStopped: it ended before its end.
        """
        await self._refuse(look)
        async with self._room(operator, rng) as room:
            since = look.since or self._now() + _DATES
            records = RebuildRecords(room.admin, self._settings)
            record = RebuildRecord(since, operator)
            await records.save(self._slug, record)
            if look.since is None:
                # What is made within this second would count as old, and be made once more.
                await self._sleep(_DATES.total_seconds())
            try:
                plan = await self._rounds(room, look.plan, since)
            except LockLostError:
                raise RebuildStopped(
                    "the lock was lost, for Kafka did not hear from us for"
                    " KAFKA_SESSION_TIMEOUT_SECONDS, or did not answer"
                ) from None
            except KafkaUnavailableError as error:
                raise RebuildStopped(f"Kafka: {error}") from error
            if not plan.documents:
                await records.save(self._slug, replace(record, is_done=True))
            return plan

    async def _refuse(self, look: RebuildLook) -> None:
        if look.refused:
            raise RebuildRefused("; ".join(look.refused))
        for inventory in self._servers.values():
            try:
                await inventory.removals_work(self._slug)
            except AnythingLLMConnectionError:
                raise
            except AnythingLLMError as error:
                raise RebuildRefused(f"removals don't work: {error.message}") from error

    async def _rounds(self, room: _Workshop, plan: RebuildPlan, since: datetime) -> RebuildPlan:
        for _ in range(_ROUNDS):
            before = plan.documents
            await self._round(room, plan, since)
            plan = await self._plan(since)
            if not plan.documents or len(plan.documents) >= len(before):
                break
        return plan

    async def _round(self, room: _Workshop, plan: RebuildPlan, since: datetime) -> None:
        total, done = plan.done + len(plan.documents), plan.done
        for batch in batches(plan.documents):
            self._progress(_STAGE, done, total)
            await room.lock.confirm()
            for each in batch:
                await self._publish(room, each, since)
            await self._settling.wait(room.admin, room.reader)
            done += len(batch)
        self._progress(_STAGE, done, total)

    async def _publish(self, room: _Workshop, document: DocumentAnew, since: datetime) -> None:
        record = await room.reader.record(document.read_at)
        if record is None or record.unreadable is not None:
            self._tell.line(f"left: {document.identity}; its event is gone meanwhile")
            return
        topic = self._settings.kafka.replay_topic
        outgoing = asking_for(
            of.REBUILD, since.isoformat(), record, topic, room.cluster_id, room.partitions
        )
        await room.publisher.publish(outgoing)

    async def _plan(self, since: datetime | None) -> RebuildPlan:
        await self._audit.look()
        return rebuild_plan_of(self._audit.documents(), self._is_there, since)

    def _is_there(self, at: Coordinates) -> bool:
        progress = self._audit.topic_progress.get(at.topic)
        return progress is not None and progress.holds(at)

    def _now(self) -> datetime:
        listed = self._audit.listed_at(self._slug)
        if listed is None:
            raise RebuildRefused("AnythingLLM has no such workspace any more")
        return listed

    async def _rows(self) -> tuple[_Rows, list[str]]:
        """What is there on all servers, and why that can't be rebuilt in its place."""
        every, refused = _Rows(), list[str]()
        holders: list[str] = []
        for name, inventory in self._servers.items():
            rows = _Rows()
            await inventory.scan(self._slug, rows)
            every = _Rows(every.ours + rows.ours, every.foreign + rows.foreign)
            if rows.ours:
                holders.append(name)
                if (why := await self._why_sick(inventory)) is not None:
                    refused.append(why)
        if len(holders) > 1:
            refused.append(
                f"several servers have documents of it ({', '.join(holders)}): `workspaces move`"
                " makes one of them"
            )
        return every, refused

    async def _why_sick(self, inventory: Inventory) -> str | None:
        """Why nothing could be stored in the workspace; None where a search in it works."""
        try:
            await inventory.near(self._slug, _QUERY)
        except SickWorkspace as error:
            return _needs_more(error, await inventory.database(), self._slug)
        return None

    async def _seconds(self, plan: RebuildPlan, rows: _Rows) -> float:
        inventory = next(iter(self._servers.values()))
        removals = removal_seconds(
            plan.units,
            rows=rows.ours + rows.foreign,
            workspaces=len(await inventory.workspaces()),
            database=(await inventory.database()).name,
        )
        return upload_seconds(plan.units, plan.chunks) + removals

    @asynccontextmanager
    async def _room(self, operator: str, rng: random.Random) -> AsyncIterator[_Workshop]:
        settings, kafka = self._settings, self._settings.kafka
        config = LockConfig(
            group=lock_group(settings),
            topic=kafka.dead_letters_topic,
            client_id=f"rebuild.{self._slug}.{operator}",
            session_timeout=kafka.session_timeout_seconds,
        )
        limit = settings.document.max_batch_bytes
        try:
            async with (
                self._kafka.lock(config, waiting=self._tell.waiting, rng=rng) as lock,
                self._kafka.reader(unfold_limit=limit) as reader,
                self._kafka.admin() as admin,
                replay_publisher(settings, self._kafka) as publisher,
            ):
                cluster_id = await admin.cluster_id()
                partitions = await admin.partitions(kafka.replay_topic)
                yield _Workshop(lock, reader, admin, publisher, cluster_id, partitions)
        except TakenError:
            raise RebuildRefused(
                "another rebuilding, republishing or replay is at work: wait for it or stop it"
            ) from None


def _needs_more(error: Exception, database: VectorDatabase, slug: Slug) -> str:
    """What has to be done where searches in a workspace fail although the embedder works."""
    if database.has_one_dimension:
        return (
            f"a search in it fails ({error}), as after a model with vectors of another length was"
            f" chosen. {database.name} has one table for all workspaces, of one length: in"
            " PostgreSQL, DROP TABLE anythingllm_vectors takes the vectors of all of them. Then"
            " `workspaces repair --yes` embeds all workspaces anew"
        )
    return (
        f"a search in it fails ({error}), as after a model with vectors of another length was"
        " chosen: what AnythingLLM keeps for the workspace takes only those of the former one. Its"
        " page has `Reset Workspace Vector Database` (in the workspace's settings), which keeps"
        f" chats and settings and takes documents of others out as well; then `audit --republish"
        f" --workspace {slug} --yes` brings all of ours back"
    )


@asynccontextmanager
async def open_rebuilding(
    settings: Settings,
    kafka: KafkaAccess,
    slug: Slug,
    *,
    restart: bool = False,
    tell: RebuildTell = RebuildTell(),
    progress: StageProgress = silent,
) -> AsyncIterator[Rebuilding]:
    """A rebuilding, connected; its arguments are those of `Rebuilding`."""
    configs = server_configs(settings) or {ServerName("the only one"): anythingllm_config(settings)}
    async with AsyncExitStack() as stack:
        servers = {
            str(name): await stack.enter_async_context(open_inventory(config))
            for name, config in configs.items()
        }
        audit = await stack.enter_async_context(
            open_audit(
                settings,
                kafka,
                rng=random.Random(),
                scope=SearchScope.NONE,
                workspace=slug,
                progress=progress,
            )
        )
        yield Rebuilding(
            settings, kafka, audit, servers, slug, restart=restart, tell=tell, progress=progress
        )
