"""Giving a unit up: only when it is proven that its failures are its own.

What is always true:
- While the fuse is blown no unit is given up.
- An ambiguous failure may be a success. Only a long row of them is looked into.
- A text that the embedder takes is acquitted, and the workspace has to prove itself. If it does,
  and this unit alone fails on and on, the unit is at fault in a way that its text does not show.
"""

from __future__ import annotations

import structlog

from consumer.model.fault import Failure
from consumer.model.names import Slug
from consumer.model.outcome import FailureReason
from consumer.pipeline.gates import Gates
from consumer.pipeline.poison_probe import PoisonProbe, ProbeVerdict
from consumer.pipeline.ports import Storage
from consumer.pipeline.upload_state import Acquittal, PendingUnit, UploadState
from consumer.resilience.blame import is_blamed

log = structlog.get_logger(__name__)

_AMBIGUOUS_ROUNDS = 2  # times the attempts; each lasts until its upload can no longer take effect


class GivingUp:
    """See the module's docstring.

    Args:
        storage: hears which workspaces have to prove themselves.
        gates: have the fuse, and the proofs so far.
        poison_probe: tests a unit's text.
        attempts: of one round.
    """

    def __init__(
        self, storage: Storage, gates: Gates, poison_probe: PoisonProbe, *, attempts: int
    ) -> None:
        self._storage = storage
        self._gates = gates
        self._poison_probe = poison_probe
        self._attempts = attempts

    async def decide(self, pending: PendingUnit, failure: Failure, work: UploadState) -> bool:
        """Whether the unit's failures are its own. Then ``given_up`` has its chunks' fate.

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

    async def _why(self, pending: PendingUnit, work: UploadState) -> str | None:
        evidence = await self._poison_probe.judge(
            work.slug, pending.unit.text, work.right, trace_id=work.trace_id
        )
        log.info(
            "chunk.judged",
            chunk_ids=[chunk.id for chunk in pending.unit.chunks],
            workspace=work.slug,
            verdict=evidence.verdict.name.lower(),
            attempts=pending.attempts,
            evidence=str(evidence),
        )
        if evidence.verdict is ProbeVerdict.BLAMED:
            return str(evidence)
        if evidence.verdict is ProbeVerdict.ACQUITTED:
            return self._at_fault_all_the_same(pending, work.slug)
        # A probe that an outage cut short says nothing about the document.
        work.used_up = work.used_up or not self._gates.holds(work.slug)
        return None

    def _at_fault_all_the_same(self, pending: PendingUnit, slug: Slug) -> str | None:
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
