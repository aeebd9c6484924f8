"""Where an event first came from: a replayed record carries that in its headers.

The headers are believed only on records of the replay topic, which only replay may write to. On
the input topic anybody could claim a place and a time to make an old event look new, or a number
of replays to get past the loop guard.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from consumer.model.fields import aware_instant_in, uuid_in, whole_in
from consumer.model.record import Coordinates, Record

TOPIC = "__connect.errors.topic"
PARTITION = "__connect.errors.partition"
OFFSET = "__connect.errors.offset"
TIMESTAMP = "dlq.original-timestamp"
EVENT_ID = "dlq.event-id"
FIRST_FAILED_AT = "dlq.first-failed-at"
REPLAYS = "dlq.replays"
RUN = "dlq.run"  # on replayed records: the run that published it
LETTER = "dlq.letter"  # on replayed records: the letter it was made of
REPACK = "workspaces.repack"  # on replayed records: what is stored is to be packed as is set now
REBUILD = "workspaces.rebuild"  # on replayed records: what is stored goes, and is stored anew

_READ = frozenset({TOPIC, PARTITION, OFFSET, TIMESTAMP, EVENT_ID, FIRST_FAILED_AT, REPLAYS, RUN})
_LONGEST_HEADER = 512  # bytes of a header that is believed
_MIN_INSTANT = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_INSTANT = datetime(9999, 12, 31, tzinfo=UTC)
_MAX_MS = int(_MAX_INSTANT.timestamp() * 1000)


@dataclass(frozen=True, slots=True)
class Origin:
    """The original record behind a record, which is the record itself unless it was replayed.

    Args:
        at: coordinates of the original.
        timestamp_ms: its timestamp in epoch milliseconds; negative where Kafka had none.
        replays: how often it has been replayed.
        event_id: the event id of its first result, where the record was replayed.
        first_failed_at: when it became a dead letter first, where the record was replayed.
        run: the id of the run that replayed it.
    """

    at: Coordinates
    timestamp_ms: int
    replays: int = 0
    event_id: str | None = None
    first_failed_at: datetime | None = None
    run: str | None = None

    @property
    def timestamp(self) -> datetime:
        """The timestamp, aware, in UTC, forced between 1970 and the year 9999."""
        return instant_of(self.timestamp_ms)


def origin_of(record: Record, *, is_replay: bool = False) -> Origin:
    """The original of a record.

    Args:
        record: as it came.
        is_replay: whether it came from the replay topic (module docstring). Even such a record is
            its own original where its headers are not usable.
    """
    own = Origin(record.at, record.timestamp_ms)
    if not is_replay:
        return own
    # One pass, because ten thousand letters are read at once. Of equal names the first counts.
    headers = {name: _text(value) for name, value in reversed(record.headers) if name in _READ}
    topic = headers.get(TOPIC)
    partition, offset = whole_in(headers.get(PARTITION)), whole_in(headers.get(OFFSET))
    timestamp = whole_in(headers.get(TIMESTAMP), least=-1)
    if not topic or partition is None or offset is None or timestamp is None:
        return own
    return Origin(
        at=Coordinates(topic, partition, offset),
        timestamp_ms=timestamp,
        replays=whole_in(headers.get(REPLAYS)) or 0,
        event_id=uuid_in(headers.get(EVENT_ID)),
        first_failed_at=aware_instant_in(headers.get(FIRST_FAILED_AT)),
        run=headers.get(RUN),
    )


def instant_of(timestamp_ms: int) -> datetime:
    """Epoch milliseconds as an aware UTC instant, forced between 1970 and the year 9999.

    Kafka lets a producer write any 64-bit number.
    """
    if timestamp_ms <= 0:
        return _MIN_INSTANT
    if timestamp_ms >= _MAX_MS:
        return _MAX_INSTANT
    return datetime.fromtimestamp(timestamp_ms / 1000, UTC)


def _text(value: bytes | None) -> str | None:
    if not value or len(value) > _LONGEST_HEADER:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None
