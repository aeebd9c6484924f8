"""Which documents got a newer event since the topics were looked at."""

from __future__ import annotations

from collections.abc import Mapping

from consumer.model import origin as of
from consumer.model.names import Identity
from consumer.operations.ports import RecordReader
from consumer.operations.topic_progress import TopicProgress
from consumer.settings import Settings
from consumer.wiring.events import event_reader


class NewerEvents:
    """See the module's docstring.

    Args:
        settings: of the service; events are read as it does.
        reader: of Kafka's topics.
        seen: how far each topic with events was read before.
        run: the id of the run; what it publishes itself is no news.
    """

    def __init__(
        self,
        settings: Settings,
        reader: RecordReader,
        seen: Mapping[str, TopicProgress],
        run: str,
    ) -> None:
        self._reader = reader
        self._events = event_reader(settings)
        self._seen = dict(seen)
        self._own = (of.RUN, run.encode())
        self._identities: set[Identity] = set()

    async def look(self) -> None:
        """Read what came since the last look.

        Raises:
            KafkaUnavailableError: Kafka can't be reached.
        """
        for name, before in self._seen.items():
            ranges = await self._reader.offset_ranges(name) or {}
            now = TopicProgress(name, ranges, before.committed)
            async for record in self._reader.records(name, now.since(before)):
                identity = self._events.read(record).identity
                if identity is not None and self._own not in record.headers:
                    self._identities.add(identity)
            self._seen[name] = now

    def has(self, identity: Identity) -> bool:
        """Whether there was one about this document."""
        return identity in self._identities
