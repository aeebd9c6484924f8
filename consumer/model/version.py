"""Which of two events about one document is newer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from consumer.model.document import ProcessedDocument
from consumer.model.origin import Origin, origin_of
from consumer.model.record import Record

MAX_AHEAD = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class DocumentVersion:
    """When a document's state was true, as its publisher says (schemas/README.md, "Version").

    Args:
        instant: aware, UTC.
        partition: of the original record; None for documents that came from no record.
        offset: of the original record; decides between equal instants of one partition.
    """

    instant: datetime
    partition: int | None = None
    offset: int | None = None

    def newer_than(self, other: DocumentVersion) -> bool:
        """True only when this version is certainly newer; equal and incomparable ones are not."""
        if self.instant != other.instant:
            return self.instant > other.instant
        return self.lies_behind(other)

    def shares_partition(self, other: DocumentVersion) -> bool:
        """Whether offsets say for certain which of the two events came later."""
        return self.partition is not None and self.partition == other.partition

    def lies_behind(self, other: DocumentVersion) -> bool:
        """Whether its event lies behind the other one in the same partition."""
        return self.shares_partition(other) and (self.offset or 0) > (other.offset or 0)

    @property
    def epoch_ms(self) -> int:
        """The instant in epoch milliseconds, as AnythingLLM's ``published`` takes it."""
        return int(self.instant.timestamp() * 1000)


def capped(claimed: datetime, record_time: datetime) -> tuple[datetime, bool]:
    """The instant to believe, and whether the claim was capped.

    A date from the future would make every later event look old for ever, so a claim of more than
    a day ahead of its record's timestamp counts as that timestamp.
    """
    if claimed - record_time > MAX_AHEAD:
        return record_time, True
    return claimed, False


def version_of(
    document: ProcessedDocument | None,
    record: Record,
    *,
    is_replay: bool = False,
    event_time: datetime | None = None,
) -> tuple[DocumentVersion, bool]:
    """The version of an event, and whether its own claim was capped.

    ``updated_at``, else ``created_at``, else the time of its CloudEvent, else the original record's
    timestamp; equal instants are told apart by the original's offset (schemas/README.md,
    "Version").

    Args:
        document: None for a tombstone, which has no dates.
        record: as it came.
        is_replay: whether it came from the replay topic: only then are its headers believed.
        event_time: of a tombstone that is a CloudEvent; a document has its own.
    """
    origin = origin_of(record, is_replay=is_replay)
    if document is not None:
        event_time = document.updated_at or document.created_at or document.event_time
    instant, was_capped = believed(event_time, origin)
    return DocumentVersion(instant, origin.at.partition, origin.at.offset), was_capped


def believed(claimed: datetime | None, origin: Origin) -> tuple[datetime, bool]:
    """The instant of an event that claims one, or none, and whether the claim was capped."""
    if claimed is None:
        return origin.timestamp, False
    if origin.timestamp_ms <= 0:
        # A record without a timestamp says nothing about what lies in its future.
        return claimed, False
    return capped(claimed, origin.timestamp)
