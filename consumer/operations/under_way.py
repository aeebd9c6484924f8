"""Few documents under way at once: the service has committed those before the next are published.

So live work goes on beside it, a command that is stopped leaves little behind it, and its end is
the end of the work.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from consumer.contract.dead_letter import published_again
from consumer.contract.upload_result import event_id_of
from consumer.kafka.publisher import OutgoingRecord
from consumer.kafka.reader import OffsetRanges
from consumer.model import origin as of
from consumer.model.origin import origin_of
from consumer.model.record import Record
from consumer.operations.ports import ClusterAdmin, RecordReader
from consumer.operations.progress import silent
from consumer.operations.topic_progress import TopicProgress
from consumer.settings import Settings

_UPLOADS_AT_ONCE = 50  # of documents that were published and are not settled
_POLL_SECONDS = 0.5
_TELL_AFTER_SECONDS = 60.0  # without progress


class Uploads(Protocol):
    """A document that takes so many uploads."""

    @property
    def uploads(self) -> int:
        """How many."""
        ...


UploadsT = TypeVar("UploadsT", bound=Uploads)


def batches(documents: Sequence[UploadsT]) -> list[list[UploadsT]]:
    """Documents that are published together: few uploads, at least one document. Pure."""
    found: list[list[UploadsT]] = []
    uploads = 0
    for each in documents:
        if not found or uploads + each.uploads > _UPLOADS_AT_ONCE:
            found.append([])
            uploads = 0
        found[-1].append(each)
        uploads += each.uploads
    return found


def asking_for(
    header: str, value: str, record: Record, topic: str, cluster: str, partitions: int
) -> OutgoingRecord:
    """An event once more, with a header that asks the service for more than a replay. Pure.

    Args:
        header: what is asked for; a service of a version that does not know it takes the event
            for a mere replay, and finds nothing to do.
        value: of the header.
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
        header: value,
    }
    headers = published_again(record.headers, origin, added)
    partition = origin.at.partition % partitions
    return OutgoingRecord(topic, record.key, record.value, headers, partition)


class Settling:
    """Waits for the service.

    Args:
        tell: gets a line when nothing goes on for long.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        tell: Callable[[str], None] = silent,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._settings = settings
        self._tell = tell
        self._clock = clock
        self._sleep = sleep

    async def wait(self, admin: ClusterAdmin, reader: RecordReader) -> None:
        """Return when the service has committed all that is on the replay topic by now."""
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
