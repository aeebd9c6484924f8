"""What Kafka keeps of a rebuilding, so that one that was stopped goes on: its workspace and time.

What is done is seen by what is stored: its rows are younger than the rebuilding. So its beginning
is all that has to be on record. It is the text beside a committed offset of a consumer group of its
own, which Kafka forgets 7 days after its last commit, by default. The name of that group begins as
those of replay runs do, so it takes no further permission; `dlq runs` passes over it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import orjson

from consumer.kafka.groups import GroupOffset
from consumer.model.fields import aware_instant_in
from consumer.model.names import Slug
from consumer.operations.ports import ClusterAdmin
from consumer.operations.replay.run_store import run_prefix
from consumer.settings import Settings

_VERSION = 1


@dataclass(frozen=True, slots=True)
class RebuildRecord:
    """A rebuilding.

    Args:
        since: what AnythingLLM made before is old, by its clock.
        operator: ``name@host`` of who began it.
        is_done: whether nothing was left.
    """

    since: datetime
    operator: str
    is_done: bool = False


class RebuildRecords:
    """Keeps them, each in a consumer group.

    Args:
        admin: of Kafka's groups.
        settings: the names of the groups begin with that of the service.
    """

    def __init__(self, admin: ClusterAdmin, settings: Settings) -> None:
        self._admin = admin
        self._prefix = f"{run_prefix(settings)}rebuild-"
        self._at = (settings.kafka.replay_topic, 0)

    async def save(self, slug: Slug, record: RebuildRecord) -> None:
        """Put it on record.

        Raises:
            KafkaUnavailableError: it is not.
        """
        fields = {
            "v": _VERSION,
            "since": record.since.isoformat(),
            "by": record.operator,
            "done": record.is_done,
        }
        text = orjson.dumps(fields).decode()
        await self._admin.commit(self._prefix + slug, {self._at: GroupOffset(0, text)})

    async def unfinished(self, slug: Slug) -> RebuildRecord | None:
        """The one of this workspace that was stopped; None where there is none (any more)."""
        place = (await self._admin.places(self._prefix + slug)).get(self._at)
        record = _read(place.text) if place is not None else None
        return None if record is None or record.is_done else record


def _read(text: str) -> RebuildRecord | None:
    try:
        fields = orjson.loads(text)
        if fields["v"] != _VERSION:
            return None
        since = aware_instant_in(fields["since"])
        return None if since is None else RebuildRecord(since, fields["by"], fields["done"])
    except (ValueError, TypeError, LookupError):
        return None  # of another program, or of another version: then all is made anew
