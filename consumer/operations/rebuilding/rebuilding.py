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

Vectors of another length need another table, and only with its workspace does AnythingLLM drop one.
So there is a second way, with the service stopped: first all events are published, then the
workspace is deleted and made anew (`consumer.anythingllm.workspace_anew`). Killed before that,
nothing is lost; killed behind it, all of it waits on the replay topic.

Before the first step all that is stored is proven to be in the topics. The first way can be stopped
at any moment: when it began is on record (`rebuild_record`), and what was made since then is done.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from consumer.anythingllm import AnythingLLMConnectionError, AnythingLLMError
from consumer.anythingllm.inventory import Inventory, open_inventory
from consumer.kafka.connection import KafkaUnavailableError
from consumer.kafka.group_lock import LockLostError, TakenError
from consumer.kafka.groups import Member
from consumer.kafka.publisher import OutgoingRecord, TooLargeForTopicError
from consumer.model import origin as of
from consumer.model.names import ServerName, Slug
from consumer.operations.audit.audit import Audit, open_audit
from consumer.operations.audit.searching import SearchScope
from consumer.operations.ports import (
    ClusterAdmin,
    HeldLock,
    KafkaAccess,
    RecordPublisher,
    RecordReader,
)
from consumer.operations.progress import StageProgress, silent
from consumer.operations.rebuilding.rebuild_look import RebuildLook, RebuildLooker
from consumer.operations.rebuilding.rebuild_plan import DocumentAnew, RebuildPlan
from consumer.operations.rebuilding.rebuild_record import RebuildRecord, RebuildRecords
from consumer.operations.replay.run_store import replay_lock
from consumer.operations.replay_topic import replay_publisher
from consumer.operations.under_way import Settling, asking_for, batches
from consumer.settings import Settings
from consumer.wiring.anythingllm import anythingllm_config, server_configs

_STAGE = "made anew"
_PUBLISHING = "publishing"
_ROUNDS = 3  # a document with a newer event meanwhile comes in the next one
_DATES = timedelta(seconds=1)  # answers tell the time in whole seconds, rows in milliseconds
_GONE = "its event is gone meanwhile"
_TOO_LARGE = "the replay topic does not take its event: raise its max.message.bytes"


class RebuildRefused(Exception):
    """Nothing was done; the message says why and what to do."""


class RebuildStopped(Exception):
    """It ended before its end; the message says why. The command run again goes on."""


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


class Rebuilding:
    """See the module's docstring; may raise `AnythingLLMError` and `KafkaUnavailableError`.

    Args:
        audit: of this workspace alone.
        servers: an inventory of each AnythingLLM.
        slug: the workspace.
        delete: delete the workspace and make it anew, with the service stopped.
    """

    def __init__(
        self,
        settings: Settings,
        kafka: KafkaAccess,
        audit: Audit,
        servers: Mapping[ServerName, Inventory],
        slug: Slug,
        *,
        delete: bool = False,
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
        self._tell = tell
        self._progress = progress
        self._sleep = sleep
        self._settling = Settling(settings, tell=tell.line, clock=clock, sleep=sleep)
        self._looker = RebuildLooker(settings, kafka, audit, servers, slug, delete=delete)

    async def look(self, *, restart: bool = False) -> RebuildLook:
        """What would be done. Changes nothing.

        Args:
            restart: make all anew, also what a run that was stopped has done.

        Raises:
            UnknownWorkspace: neither AnythingLLM nor any event knows it.
        """
        return await self._looker.look(restart=restart)

    async def carry_out(
        self, look: RebuildLook, *, operator: str, rng: random.Random
    ) -> RebuildPlan:
        """Have it done by the service, and wait for that.

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
        async with self._workshop(operator, rng) as shop:
            since = look.since or self._now() + _DATES
            records = RebuildRecords(shop.admin, self._settings)
            record = RebuildRecord(since, operator)
            await records.save(self._slug, record)
            if look.since is None:
                # What is made within this second would count as old, and be made once more.
                await self._sleep(_DATES.total_seconds())
            plan = await self._rounds(shop, look.plan, since)
            if not plan.documents and not plan.unproven:
                await records.save(self._slug, replace(record, is_done=True))
            return plan

    async def delete_and_publish(
        self, look: RebuildLook, *, operator: str, rng: random.Random
    ) -> int:
        """Publish all events, then delete the workspace and make it anew.

        Args:
            look: what was planned.
            operator: ``name@host``.
            rng: for the waits of runs that are started at once.

        Returns:
            How many events wait for the service.

        Raises:
            RebuildRefused: as `carry_out`.
            RebuildStopped: it ended before its end; what was published is harmless.
            WorkspaceNotMadeAnewError: the workspace is gone, or may be, and is not as it was.
        """
        if look.refused or look.holder is None:
            raise RebuildRefused("; ".join(look.refused) or "nothing of ours is in it")
        async with self._workshop(operator, rng) as shop:
            left, done = list[str](), 0
            for batch in batches(look.plan.documents):
                self._progress(_PUBLISHING, done, len(look.plan.documents))
                left += await self._publish(shop, batch, self._now())
                done += len(batch)
            if left:
                raise RebuildStopped(f"not deleted, {len(left):,} documents would be lost")
            await shop.lock.confirm()
            group = self._settings.kafka.group_id
            if members := await shop.admin.members(group):
                raise RebuildStopped(
                    f"not deleted: the consumer group {group} has members ({len(members)}) by now"
                )
            await self._servers[look.holder].anew.make(self._slug)
            if members := await shop.admin.members(group):
                raise RebuildStopped(
                    f"{self._slug} is deleted and made anew, and {len(members)} members of the"
                    f" consumer group {group} were at work by then: what they stored before that"
                    f" is gone, `audit --republish --workspace {self._slug} --yes` brings it back"
                )
            return done

    async def _refuse(self, look: RebuildLook) -> None:
        if look.refused:
            raise RebuildRefused("; ".join(look.refused))
        if not look.plan.documents:
            return  # a run that was stopped, and whose events the service has carried out
        for inventory in self._servers.values():
            try:
                await inventory.removals_work(self._slug)
            except AnythingLLMConnectionError:
                raise
            except AnythingLLMError as error:
                raise RebuildRefused(f"removals don't work: {error.message}") from error

    async def _rounds(self, shop: _Workshop, plan: RebuildPlan, since: datetime) -> RebuildPlan:
        for _ in range(_ROUNDS):
            before = plan.documents
            await self._round(shop, plan, since)
            plan = await self._looker.plan(since)
            if not plan.documents or len(plan.documents) >= len(before):
                break
        return plan

    async def _round(self, shop: _Workshop, plan: RebuildPlan, since: datetime) -> None:
        total, done = plan.done + len(plan.documents), plan.done
        for batch in batches(plan.documents):
            self._progress(_STAGE, done, total)
            await self._publish(shop, batch, since)
            await self._settling.wait(shop.admin, shop.reader)
            done += len(batch)
        self._progress(_STAGE, done, total)

    async def _publish(
        self, shop: _Workshop, documents: Sequence[DocumentAnew], since: datetime
    ) -> list[str]:
        """Publish their events; why those that are left are."""
        await shop.lock.confirm()
        asked = [await self._asking(shop, each, since) for each in documents]
        whys = await asyncio.gather(
            *(self._sent(shop, record) for record in asked), return_exceptions=True
        )
        left = []
        for document, why in zip(documents, whys, strict=True):
            if isinstance(why, BaseException):
                raise why
            if why is not None:
                left.append(why)
                self._tell.line(f"left: {document.identity}; {why}")
        return left

    async def _asking(
        self, shop: _Workshop, document: DocumentAnew, since: datetime
    ) -> OutgoingRecord | None:
        record = await shop.reader.record(document.read_at)
        if record is None or record.unreadable is not None:
            return None
        topic = self._settings.kafka.replay_topic
        return asking_for(
            of.REBUILD, since.isoformat(), record, topic, shop.cluster_id, shop.partitions
        )

    async def _sent(self, shop: _Workshop, record: OutgoingRecord | None) -> str | None:
        """Why it was not published; None where it was."""
        if record is None:
            return _GONE
        try:
            await shop.publisher.publish(record)
        except TooLargeForTopicError:
            return _TOO_LARGE
        return None

    def _now(self) -> datetime:
        listed = self._audit.listed_at(self._slug)
        if listed is None:
            raise RebuildRefused("AnythingLLM has no such workspace any more")
        return listed

    @asynccontextmanager
    async def _workshop(self, operator: str, rng: random.Random) -> AsyncIterator[_Workshop]:
        settings = self._settings
        config = replay_lock(settings, f"rebuild.{self._slug}.{operator}")
        limit = settings.document.max_batch_bytes
        try:
            async with (
                self._kafka.lock(config, waiting=self._tell.waiting, rng=rng) as lock,
                self._kafka.reader(unfold_limit=limit) as reader,
                self._kafka.admin() as admin,
                replay_publisher(settings, self._kafka) as publisher,
            ):
                cluster_id = await admin.cluster_id()
                partitions = await admin.partitions(settings.kafka.replay_topic)
                yield _Workshop(lock, reader, admin, publisher, cluster_id, partitions)
        except TakenError:
            raise RebuildRefused(
                "another rebuilding, republishing or replay is at work: wait for it or stop it"
            ) from None
        except LockLostError:
            raise RebuildStopped(
                "the lock was lost, for Kafka did not hear from us for"
                " KAFKA_SESSION_TIMEOUT_SECONDS, or did not answer"
            ) from None
        except KafkaUnavailableError as error:
            raise RebuildStopped(f"Kafka: {error}") from error


@asynccontextmanager
async def open_rebuilding(
    settings: Settings,
    kafka: KafkaAccess,
    slug: Slug,
    *,
    delete: bool = False,
    tell: RebuildTell = RebuildTell(),
    progress: StageProgress = silent,
) -> AsyncIterator[Rebuilding]:
    """A rebuilding, connected; its arguments are those of `Rebuilding`."""
    configs = server_configs(settings) or {ServerName("the only one"): anythingllm_config(settings)}
    async with AsyncExitStack() as stack:
        servers = {
            name: await stack.enter_async_context(open_inventory(config))
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
            settings, kafka, audit, servers, slug, delete=delete, tell=tell, progress=progress
        )
