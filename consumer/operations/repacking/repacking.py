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
from consumer.contract.dead_letter import published_again
from consumer.contract.upload_result import event_id_of
from consumer.kafka.publisher import OutgoingRecord
from consumer.kafka.reader import OffsetRanges
from consumer.model import origin as of
from consumer.model.names import ServerName, Slug
from consumer.model.origin import origin_of
from consumer.model.record import Record
from consumer.operations.ports import ClusterAdmin, KafkaAccess, RecordPublisher, RecordReader
from consumer.operations.progress import StageProgress, silent
from consumer.operations.repacking.repack_plan import (
    Recut,
    RepackPlan,
    RepackPlanner,
    RepackRefused,
)
from consumer.operations.replay_topic import replay_publisher
from consumer.operations.topic_progress import TopicProgress
from consumer.settings import Settings
from consumer.wiring.anythingllm import anythingllm_config, server_configs

_UPLOADS_AT_ONCE = 50  # of documents that were published and are not settled
_POLL_SECONDS = 0.5
_TELL_AFTER_SECONDS = 60.0  # without progress
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
        self._clock = clock
        self._sleep = sleep
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
                await self._settled(admin, reader)
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
        await publisher.publish(asking_for_it(record, topic, cluster, partitions))

    async def _settled(self, admin: ClusterAdmin, reader: RecordReader) -> None:
        """Wait until the service has committed all that is on the replay topic by now."""
        kafka = self._settings.kafka
        ranges = await reader.offset_ranges(kafka.replay_topic) or {}
        before, since = 0, self._clock()
        while lag := await self._lag(admin, ranges):
            if lag != before:
                before, since = lag, self._clock()
            elif self._clock() - since >= _TELL_AFTER_SECONDS:
                since = self._clock()
                self._tell(
                    f"waiting for the service: {lag} events on {kafka.replay_topic} are not"
                    " settled; its log and status page say why. Ctrl-C ends this: what is"
                    " published is done all the same, and running it again goes on"
                )
            await self._sleep(_POLL_SECONDS)

    async def _lag(self, admin: ClusterAdmin, ranges: OffsetRanges) -> int:
        """How much of these ranges of the replay topic is not committed."""
        kafka = self._settings.kafka
        committed = {
            number: place.offset
            for (topic, number), place in (await admin.places(kafka.group_id)).items()
            if topic == kafka.replay_topic
        }
        return TopicProgress(kafka.replay_topic, ranges, committed).unsettled

    def _reader(self) -> AbstractAsyncContextManager[RecordReader]:
        return self._kafka.reader(unfold_limit=self._settings.document.max_batch_bytes)


def batches(recuts: Sequence[Recut]) -> list[list[Recut]]:
    """Documents that are published together: few uploads, at least one document. Pure."""
    found: list[list[Recut]] = []
    uploads = 0
    for each in recuts:
        if not found or uploads + each.uploads > _UPLOADS_AT_ONCE:
            found.append([])
            uploads = 0
        found[-1].append(each)
        uploads += each.uploads
    return found


def asking_for_it(record: Record, topic: str, cluster: str, partitions: int) -> OutgoingRecord:
    """An event once more, as it is published to have its document packed anew. Pure.

    Args:
        record: the event, on the documents topic or on the replay topic.
        topic: the replay topic.
        cluster: the cluster's id.
        partitions: of the replay topic. It goes to that of the original's number, where one
            instance has both.
    """
    origin = origin_of(record, is_replay=record.at.topic == topic)
    added = {
        of.EVENT_ID: origin.event_id or event_id_of(record, cluster),
        of.REPLAYS: str(origin.replays),
        of.REPACK: "true",
    }
    headers = published_again(record.headers, origin, added)
    partition = origin.at.partition % partitions
    return OutgoingRecord(topic, record.key, record.value, headers, partition)


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
