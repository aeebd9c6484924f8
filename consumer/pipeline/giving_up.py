"""Giving a unit up: only when it is proven that its failures are its own.

What is always true:
- While the fuse is blown nobody is given up.
- An ambiguous failure may be none: only a long row of them is looked into.
- A text that the embedder takes is acquitted, and the workspace has to prove itself. If it does,
  and this unit alone fails on and on, the unit is at fault in a way that its text does not show.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import structlog

from consumer.model.fault import Failure, Fault
from consumer.model.marker import Unit
from consumer.model.outcome import FailedChunk, FailureReason
from consumer.pipeline.gates import Gates, Waits
from consumer.pipeline.own_text import OwnTextTest, Verdict
from consumer.pipeline.plan import Plan
from consumer.pipeline.ports import Storage, UnitUpload
from consumer.resilience.blame import Tally, is_blamed
from consumer.resilience.fence import Fence

log = structlog.get_logger(__name__)

_AMBIGUOUS_ROUNDS = 2  # times the attempts; each took until it was certain that it came to nothing

_NOBODYS = frozenset({Fault.THEIRS, Fault.BUSY})


@dataclass(frozen=True, slots=True)
class Acquittal:
    """When a unit's text first passed.

    Args:
        attempts: of the unit, until then.
        proofs: of its workspace, until then.
    """

    attempts: int
    proofs: Tally


@dataclass(slots=True)
class Pending:
    """A unit that is not stored yet, and what happened to it so far."""

    unit: Unit
    upload: UnitUpload
    attempts: int = 0
    last: Failure | None = None  # of this round
    acquitted: Acquittal | None = None
    given_up: list[FailedChunk] = field(default_factory=list)

    @property
    def met_outage(self) -> bool:
        """Whether its siblings would fail in the same way; an ambiguous failure is its own."""
        last = self.last
        return last is not None and last.fault in _NOBODYS and not last.ambiguous

    def failed(
        self, failure: Failure, reason: FailureReason, message: str | None = None
    ) -> list[FailedChunk]:
        """Its chunks' fate."""
        return [
            FailedChunk(
                chunk_id=chunk.id,
                reason=reason,
                message=message or failure.message,
                http_status=failure.http_status,
                attempts=self.attempts,
                fault=failure.fault,
            )
            for chunk in self.unit.chunks
        ]


@dataclass(slots=True)
class Work:
    """A plan being carried out: what is needed for it, and what has become of it so far."""

    plan: Plan
    waits: Waits
    fence: Fence
    trace_id: str
    pending: list[Pending]
    uploaded: list[str] = field(default_factory=list)
    failed: list[FailedChunk] = field(default_factory=list)
    used_up: bool = False  # in this round

    @property
    def slug(self) -> str:
        """The workspace."""
        return self.plan.slug


class GivingUp:
    """See the module's docstring.

    Args:
        storage: told of workspaces that have to prove themselves.
        gates: the fuse, and what proofs there were.
        own_text: tells a poison text from a sick server.
        attempts: of one round.
    """

    def __init__(
        self, storage: Storage, gates: Gates, own_text: OwnTextTest, *, attempts: int
    ) -> None:
        self._storage = storage
        self._gates = gates
        self._own_text = own_text
        self._attempts = attempts

    async def decide(self, pending: Pending, failure: Failure, work: Work) -> bool:
        """Whether the unit's failures are its own; they are in ``given_up`` then.

        Raises:
            FenceClosedError: the right to go on ended.
        """
        if failure.ambiguous and pending.attempts < _AMBIGUOUS_ROUNDS * self._attempts:
            return False
        if self._gates.fuse.blown:
            work.used_up = True
            return False
        why = await self._why(pending, work)
        if why is None:
            return False
        work.used_up = True
        message = f"{failure.message}; failed {pending.attempts} times; {why}"
        pending.given_up = pending.failed(failure, FailureReason.EXHAUSTED, message)
        return True

    async def _why(self, pending: Pending, work: Work) -> str | None:
        evidence = await self._own_text.judge(
            work.slug, pending.unit.text, work.waits, work.fence, trace_id=work.trace_id
        )
        log.info(
            "chunk.judged",
            chunk_ids=[chunk.id for chunk in pending.unit.chunks],
            workspace=work.slug,
            verdict=evidence.verdict.name.lower(),
            attempts=pending.attempts,
            evidence=str(evidence),
        )
        if evidence.verdict is Verdict.BLAMED:
            return str(evidence)
        if evidence.verdict is Verdict.ACQUITTED:
            return self._at_fault_all_the_same(pending, work.slug)
        # What an outage cut short says nothing about the document.
        work.used_up = work.used_up or not self._gates.holds(work.slug)
        return None

    def _at_fault_all_the_same(self, pending: Pending, slug: str) -> str | None:
        proofs = self._gates.proofs.of(slug)
        first = pending.acquitted or Acquittal(pending.attempts, proofs)
        pending.acquitted = first
        since = proofs.since(first.proofs)
        if is_blamed(pending.attempts - first.attempts, since):
            passed = since.attempts - since.failures
            return (
                "its text can be embedded, and the workspace took"
                f" {passed} of {since.attempts} test documents"
            )
        self._gates.proofs.demand(slug)
        self._storage.distrust(slug)
        return None
