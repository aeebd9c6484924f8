"""A plan being carried out: what has become of each of its units so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from consumer.model.fault import Failure
from consumer.model.marker import Unit
from consumer.model.names import Identity, Slug, TraceId
from consumer.model.outcome import FailedChunk, FailureReason
from consumer.pipeline.plan import Plan
from consumer.pipeline.ports import RightToWork, UnitUpload
from consumer.pipeline.watched_unit import WatchedUnit
from consumer.resilience.blame import Comparison


class Compared(Enum):
    """What of a unit is compared with controls; the next one where its own went well.

    EMBEDDING  both texts are embedded, and stored nowhere.
    STORING    both texts are stored as test documents of its workspace, and removed.
    UPLOADING  its own uploads with test documents: what blocks it may be in its title or address.
    """

    EMBEDDING = "embedding"
    STORING = "storing"
    UPLOADING = "uploading"

    @property
    def next(self) -> Compared:
        """What is compared where this shows nothing."""
        return Compared.STORING if self is Compared.EMBEDDING else Compared.UPLOADING


@dataclass(slots=True)
class PendingUnit:
    """A unit that is not known to be stored, and what happened to it so far.

    What it is judged by is kept here, over all rounds of its document, and in memory only: after a
    restart or a rebalance it is judged anew.
    """

    unit: Unit
    upload: UnitUpload
    watched: WatchedUnit
    attempts: int = 0
    is_uploaded: bool = False  # and is to be proven together with others of its document
    last: Failure | None = None  # of this round
    failure: Failure | None = None  # the last one that may be its own
    failed_rounds: int = 0  # whose failure may be its own
    failing_since: float | None = None  # monotonic seconds: when its first attempt began
    blocked_since: float | None = None  # the same of the pack that it was in, where that was split
    comparison: Comparison | None = None  # with controls, while it is judged
    of_kind: Comparison | None = None  # with plain texts, while controls of its kind fail too
    stage: Compared = Compared.EMBEDDING  # what is compared
    sent_at: float = float("-inf")  # monotonic seconds: when its last attempt began, in its slot
    due: float = float("-inf")  # monotonic seconds: when to compare again
    given_up: list[FailedChunk] = field(default_factory=list)

    @property
    def is_pack(self) -> bool:
        """Whether it holds several chunks: then its failure is none of theirs yet."""
        return self.unit.is_pack

    @property
    def met_outage(self) -> bool:
        """Whether its siblings would fail in the same way. To wait for what may come is its own."""
        last = self.last
        if last is None or last.fault.is_counted or (last.pending and last.ambiguous):
            return False
        return not (last.by_intermediary and self.fails_alone)

    @property
    def is_blocked(self) -> bool:
        """Whether an intermediary answered for it, the last time that anybody did."""
        return self.failure is not None and self.failure.by_intermediary

    @property
    def fails_alone(self) -> bool:
        """Whether the last control that it was compared with passed."""
        return self.comparison is not None and self.comparison.is_alone

    def failed(
        self, failure: Failure, reason: FailureReason, message: str | None = None
    ) -> list[FailedChunk]:
        """Its chunks' fate."""
        return [
            FailedChunk(
                chunk_id=chunk.id,
                reason=reason,
                message=message or failure.in_the_end,
                http_status=failure.http_status,
                attempts=self.attempts,
                fault=failure.fault,
            )
            for chunk in self.unit.chunks
        ]


@dataclass(slots=True)
class UploadState:
    """A plan being carried out: what is needed for it, and what has become of it so far."""

    plan: Plan
    identity: Identity
    right: RightToWork
    trace_id: TraceId
    pending: list[PendingUnit] = field(default_factory=list)
    every: list[PendingUnit] = field(default_factory=list)  # also those that are done
    watched: list[WatchedUnit] = field(default_factory=list)  # the same, for the deathwatch
    parts: list[PendingUnit] = field(default_factory=list)  # of packs that were just split
    uploaded: list[str] = field(default_factory=list)
    failed: list[FailedChunk] = field(default_factory=list)
    used_up: bool = False  # in this round
    is_noted: bool = False  # by the fuse

    @property
    def slug(self) -> Slug:
        """The workspace."""
        return self.plan.slug

    @property
    def document(self) -> tuple[Slug, str]:
        """Which document it is, for whoever counts documents."""
        return self.plan.slug, self.plan.document.id
