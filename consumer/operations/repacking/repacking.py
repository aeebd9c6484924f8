"""Packing anew what is stored, as the setting would pack it today; the service does the work.

AnythingLLM gives no texts back, so they come from the newest events. Each is published once more,
to the replay topic, with a header that asks for packing anew (`consumer.model.repacking`). So it is
done in the document's turn, beside all that is published meanwhile, by the rules of every upload:

- What goes is removed only once all that it held is proven to be stored in its new packs. A process
  that dies in between leaves both, and whoever goes on removes what is there twice.
- A tombstone or a newer event that was carried out before leaves nothing to do; one that comes
  later finds the document in its new packs.
- A service of an older version, or one whose setting packs otherwise, takes it for a mere replay.

Of the documents so many are under way at once as make a few uploads. The next ones are published
when the service has committed those. It can be stopped at any moment: what is packed anew stays so,
and what is not is found again by what is stored.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from consumer.anythingllm import AnythingLLMConnectionError, AnythingLLMError
from consumer.anythingllm.inventory import Inventory, open_inventory
from consumer.model import origin as of
from consumer.model.names import ServerName, Slug
from consumer.operations.ports import ClusterAdmin, KafkaAccess, RecordPublisher, RecordReader
from consumer.operations.progress import StageProgress, silent
from consumer.operations.repacking.repack_plan import (
    Recut,
    RepackPlan,
    RepackPlanner,
    RepackRefused,
)
from consumer.operations.replay_topic import replay_publisher
from consumer.operations.under_way import Settling, asking_for, batches
from consumer.settings import Settings
from consumer.wiring.anythingllm import anythingllm_config, server_configs

_STAGE = "packing anew"


class Repacking:
    """See the module's docstring; may raise `AnythingLLMError` and `KafkaUnavailableError`.

    Args:
        inventory: of AnythingLLM.
        tell: gets a line whenever a person should know something.
        progress: called now and then.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        settings: Settings,
        kafka: KafkaAccess,
        inventory: Inventory,
        *,
        tell: Callable[[str], None] = silent,
        progress: StageProgress = silent,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._settings = settings
        self._kafka = kafka
        self._inventory = inventory
        self._tell = tell
        self._progress = progress
        self._settling = Settling(settings, tell=tell, clock=clock, sleep=sleep)
        self._planner = RepackPlanner(settings, inventory, progress=progress)

    async def plan(self, slugs: Sequence[Slug] = ()) -> RepackPlan:
        """What would be done; changes nothing.

        Args:
            slugs: only these workspaces; all without.

        Raises:
            RepackRefused: one of them is not there.
        """
        async with self._reader() as reader:
            return await self._planner.plan(reader, slugs)

    async def run(self, plan: RepackPlan) -> None:
        """Have it done, a few documents at a time. What it came to is found out by another `plan`.

        Raises:
            RepackRefused: no service is there that would do it.
        """
        done = 0
        async with (
            self._kafka.admin() as admin,
            self._reader() as reader,
            replay_publisher(self._settings, self._kafka) as publisher,
        ):
            cluster, partitions = await self._checked(admin)
            recuts = await self._removable(plan.recuts)
            for batch in batches(recuts):
                self._progress(_STAGE, done, len(recuts))
                for each in batch:
                    await self._publish(each, reader, publisher, cluster, partitions)
                await self._settling.wait(admin, reader)
                done += len(batch)
        self._progress(_STAGE, done, len(recuts))

    async def _checked(self, admin: ClusterAdmin) -> tuple[str, int]:
        """The cluster's id, and how many partitions the replay topic has."""
        kafka = self._settings.kafka
        partitions = await admin.partitions(kafka.replay_topic)
        if not partitions:
            raise RepackRefused(f"there is no topic {kafka.replay_topic}: `topics create` makes it")
        if not await admin.members(kafka.group_id):
            raise RepackRefused(
                f"the consumer group {kafka.group_id} has no members: the service does the work,"
                " start it and run this again"
            )
        return await admin.cluster_id(), partitions

    async def _removable(self, recuts: Sequence[Recut]) -> Sequence[Recut]:
        """Those in workspaces where what is removed is gone: else its text would stay twice."""
        left: set[Slug] = set()
        for slug in dict.fromkeys(each.slug for each in recuts):
            try:
                await self._inventory.removals_work(slug)
            except AnythingLLMConnectionError:
                raise
            except AnythingLLMError as error:
                left.add(slug)
                self._tell(f"left: all documents in {slug}; {error.message}")
        return [each for each in recuts if each.slug not in left]

    async def _publish(
        self,
        each: Recut,
        reader: RecordReader,
        publisher: RecordPublisher,
        cluster: str,
        partitions: int,
    ) -> None:
        record = await reader.record(each.read_at)
        if record is None or record.unreadable is not None:
            self._tell(f"left: {each.identity} in {each.slug}; its event is gone meanwhile")
            return
        topic = self._settings.kafka.replay_topic
        outgoing = asking_for(of.REPACK, "true", record, topic, cluster, partitions)
        await publisher.publish(outgoing)

    def _reader(self) -> AbstractAsyncContextManager[RecordReader]:
        return self._kafka.reader(unfold_limit=self._settings.document.max_batch_bytes)


@asynccontextmanager
async def open_repacking(
    settings: Settings,
    kafka: KafkaAccess,
    server: str | None = None,
    *,
    tell: Callable[[str], None] = silent,
    progress: StageProgress = silent,
) -> AsyncIterator[Repacking]:
    """Packing anew, connected to AnythingLLM, or to one of several."""
    config = (
        anythingllm_config(settings)
        if server is None
        else server_configs(settings)[ServerName(server)]
    )
    async with open_inventory(config) as inventory:
        yield Repacking(settings, kafka, inventory, tell=tell, progress=progress)
