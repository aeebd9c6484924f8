"""Giving a unit up: only when it is proven that its failures are its own.

A unit that has used up its attempts is compared with controls, call by call (`Compared`).

What is always true:
- A unit is given up only after pairs over `_SPREAD` recovery periods, about three minutes: what
  lasts shorter is no proof. Between two pairs its document stands aside.
- While controls pass and its own text does not, nothing else of it is uploaded. Where controls
  fail, it is tried again like any other: it may be an outage that only texts of its length meet.
- Where controls of its kind fail as well, plain texts tell whether it is the kind, over hours
  (`refused_kinds`).
- What many documents of a size share is an outage (`resilience.lengths`): none is given up. While
  controls of a length fail one after the other, texts so long wait, and one of them is tried.
- While the fuse is blown no unit is given up.
- An ambiguous failure may be a success. Only a long row of them is looked into, unless something
  between us and AnythingLLM answered.
- A pack is given up sooner, because that only splits it (`refused_packs`), and not for the fuse.
- What it goes by is kept in memory. After a restart or a rebalance a unit is judged anew.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

import structlog

from consumer.model.fault import Failure
from consumer.model.outcome import FailureReason
from consumer.pipeline.evidence import consequence_of, evidence_of, message_of
from consumer.pipeline.gates import Gates
from consumer.pipeline.poison_probe import CutShort, NoTurn, PoisonProbe, Suspect
from consumer.pipeline.ports import Storage
from consumer.pipeline.refused_kinds import PAUSE, SPREAD, RefusedKinds
from consumer.pipeline.refused_packs import RefusedPacks, is_to_be_split
from consumer.pipeline.upload_state import Compared, PendingUnit, UploadState
from consumer.resilience.blame import Comparison
from consumer.resilience.lengths import Lengths

log = structlog.get_logger(__name__)

_AMBIGUOUS_ROUNDS = 2  # times the attempts; each lasts until its upload can no longer take effect
_AT_ONCE_SECONDS = 10.0  # a firewall's answer; one that comes later is a gateway's that lost it
_LATE = 30.0  # recovery periods; what is answered late for so long is blocked by a slow firewall
_BLOCKED_ROUNDS = 2  # a gateway that restarts answers once for what was under way
_SPREAD = 3.0  # recovery periods between the first and the last pair
_PAIRS = 4.0  # a recovery period


class UnitStep(Enum):
    """What comes next for a unit."""

    TRY = auto()  # attempts to store it
    WAIT = auto()  # it is compared again when that is due
    GIVE_UP = auto()  # ``given_up`` has its chunks' fate


class GivingUp:
    """See the module's docstring.

    Args:
        storage: hears which workspaces have to prove themselves.
        gates: have the fuse.
        poison_probe: makes the pairs.
        lengths: knows which lengths of text pass.
        attempts: of one round.
        recovery: seconds of a recovery period.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        storage: Storage,
        gates: Gates,
        poison_probe: PoisonProbe,
        lengths: Lengths,
        *,
        attempts: int,
        recovery: float,
        clock: Callable[[], float],
    ) -> None:
        self._storage = storage
        self._gates = gates
        self._poison_probe = poison_probe
        self._lengths = lengths
        self._refused_kinds = RefusedKinds(poison_probe, clock)
        self._refused_packs = RefusedPacks(poison_probe, clock)
        self._attempts = attempts
        self._recovery = recovery
        self._clock = clock
        self._is_length_held = False  # of some text

    def attempts_of(self, pending: PendingUnit) -> int:
        """How many attempts a unit has in this round: one that is judged has one."""
        is_judged = pending.comparison is not None or pending.stage is not Compared.EMBEDDING
        return 1 if is_judged else self._attempts

    async def before(self, pending: PendingUnit, work: UploadState) -> UnitStep:
        """What to do with a unit in a round that begins.

        Raises:
            FenceClosedError: the right to go on ended.
        """
        now = self._clock()
        # A document that tries a sick workspace must not keep it waiting for a whole period.
        is_trial = self._gates.fuse.blown or self._gates.pauses.troubled(work.slug)
        if pending.given_up or pending.is_uploaded or is_trial:
            return UnitStep.TRY
        if now < pending.due:
            return UnitStep.WAIT
        if (held := self._lengths.wait(len(pending.unit.text))) > 0:
            if pending.is_pack and self._lengths.shorter_pass:
                self.split(pending, "texts of its length fail, while shorter ones are stored")
                return UnitStep.GIVE_UP
            pending.due = now + held
            return UnitStep.WAIT
        if pending.failing_since is None:
            pending.failing_since = now
        if pending.comparison is None or pending.stage is Compared.UPLOADING:
            return UnitStep.TRY
        return await self._compare(pending, work)

    async def after(self, pending: PendingUnit, failure: Failure, work: UploadState) -> bool:
        """Whether a unit is given up that failed this round. Then ``given_up`` has its fate.

        Args:
            pending: the unit.
            failure: that may be its own; or one that says that it is looked for first, of a unit
                for which an intermediary answered.
            work: its document.

        Raises:
            FenceClosedError: the right to go on ended.
        """
        if self._is_late(pending, failure):
            pending.failure = None
            return False
        pending.failed_rounds += 1
        if not failure.pending:
            pending.failure = failure
        if self._is_early(pending, failure, work):
            return False
        if self._gates.fuse.blown:
            work.used_up = True
            return False
        while not (failure.pending and pending.stage is Compared.UPLOADING):
            stage = pending.stage
            step = await self._compare(pending, work)
            if pending.stage is stage:
                return step is UnitStep.GIVE_UP
        return False

    def _is_late(self, pending: PendingUnit, failure: Failure) -> bool:
        """Whether a gateway seems to have lost the upload; for long, it is a slow firewall."""
        if failure.pending or not failure.by_intermediary or pending.comparison is not None:
            return False
        now = self._clock()
        since = pending.blocked_since or pending.failing_since or now
        is_new = now - since < _LATE * self._recovery
        return is_new and now - pending.sent_at > _AT_ONCE_SECONDS

    def _is_early(self, pending: PendingUnit, failure: Failure, work: UploadState) -> bool:
        """Whether it is too early to compare it: the next round may go well."""
        if pending.is_blocked:
            return pending.failed_rounds < _BLOCKED_ROUNDS
        if not failure.ambiguous or pending.attempts >= _AMBIGUOUS_ROUNDS * self._attempts:
            return False
        if failure.unanswered:
            self._lengths.unanswered(work.document, len(pending.unit.text))
        return True

    def split(self, pending: PendingUnit, why: str) -> None:
        """Have a pack given up, which splits it: its next attempt only looks for it."""
        failure = pending.failure or pending.last or Failure(why)
        pending.given_up = pending.failed(failure, FailureReason.EXHAUSTED, why)

    def sends(self, pending: PendingUnit) -> None:
        """Note that an attempt of a unit begins."""
        pending.sent_at = self._clock()

    def stored(self, pending: PendingUnit) -> None:
        """Note that a unit is stored: texts of its length pass."""
        self._lengths.passed(len(pending.unit.text))
        pending.due = float("-inf")

    def over(self, work: UploadState) -> None:
        """Note that a document is done, or dropped."""
        self._lengths.over(work.document, given_up=bool(work.failed))

    def due_in(self, work: UploadState) -> float | None:
        """Seconds until a unit is to be compared again; None where none is."""
        dues = [each.due for each in work.pending if self._is_held(each)]
        return min(dues) - self._clock() if dues else None

    def not_held(self, work: UploadState) -> list[PendingUnit]:
        """The units that the next round tries again, whenever that is."""
        return [each for each in work.pending if not self._is_held(each)]

    def _is_held(self, pending: PendingUnit) -> bool:
        return pending.due > self._clock() and not pending.given_up

    async def _compare(self, pending: PendingUnit, work: UploadState) -> UnitStep:
        now = self._clock()
        if now < pending.due:
            return UnitStep.WAIT
        length = len(pending.unit.text)
        self._lengths.failing(work.document, length)
        before = (pending.comparison or Comparison(now)).going_on(now)
        suspect = Suspect(work.slug, pending.unit.text, work.right, work.trace_id)
        plain_passed = False
        try:
            after = await self._pair(pending, suspect, before)
            if after is not None:
                others = self._refused_packs if pending.is_pack else self._refused_kinds
                plain_passed = await others.compare(pending, suspect, after)
        except NoTurn:
            pending.comparison, pending.due = before, self._in(self._recovery / _PAIRS)
            return UnitStep.WAIT
        except CutShort:
            return UnitStep.TRY
        if after is None:
            self._acquit(pending, work, before)
            return UnitStep.TRY
        if pending.stage is Compared.EMBEDDING:  # otherwise it may be the workspace
            is_its_kind = plain_passed and not pending.is_pack
            self._lengths.control(length, failed=after.failed_in_a_row > 0 and not is_its_kind)
        pending.comparison = after
        if pending.is_pack and is_to_be_split(proof := (pending.of_kind or after)):
            self._tell(pending, work, "split", proof)
            self.split(pending, evidence_of(proof, pending.stage))
            return UnitStep.GIVE_UP
        if plain_passed and pending.of_kind is not None and not pending.is_pack:
            return self._judge_kind(pending, work, pending.of_kind)
        return self._judge(pending, work, after)

    async def _pair(
        self, pending: PendingUnit, suspect: Suspect, before: Comparison
    ) -> Comparison | None:
        if pending.stage is Compared.EMBEDDING:
            return await self._poison_probe.embedding(suspect, before)
        if pending.stage is Compared.STORING or pending.failure is None:
            return await self._poison_probe.storing(suspect, before)
        return await self._poison_probe.uploading(suspect, pending.failure, before)

    def _acquit(self, pending: PendingUnit, work: UploadState, before: Comparison) -> None:
        self._tell(pending, work, "acquitted", before)
        pending.stage, pending.comparison, pending.of_kind = pending.stage.next, None, None
        pending.due = float("-inf")

    def _judge(self, pending: PendingUnit, work: UploadState, after: Comparison) -> UnitStep:
        pending.due = self._in(self._recovery / _PAIRS)
        if not after.is_alone:
            if after.failed_in_a_row == 1:
                self._tell(pending, work, "undecided", after)
            if pending.stage is Compared.EMBEDDING:
                # A gateway whose server restarts is back in seconds.
                pending.due = float("-inf") if pending.is_blocked else self._in(self._recovery)
            else:
                self._storage.distrust(work.slug)
            return UnitStep.TRY
        if pending.is_pack or not after.blames(self._clock(), _SPREAD * self._recovery):
            if after.controls.attempts <= 2:
                self._tell(pending, work, "undecided", after)
            return UnitStep.WAIT
        if self._shares_its_length(pending, work):
            return UnitStep.WAIT
        self._give_up(pending, work, after)
        return UnitStep.GIVE_UP

    def _judge_kind(self, pending: PendingUnit, work: UploadState, found: Comparison) -> UnitStep:
        pending.due = self._in(PAUSE * self._recovery)
        is_proven = found.blames(self._clock(), SPREAD * self._recovery)
        if not is_proven or self._shares_its_length(pending, work):
            return UnitStep.WAIT
        self._give_up(pending, work, found)
        return UnitStep.GIVE_UP

    def _shares_its_length(self, pending: PendingUnit, work: UploadState) -> bool:
        since = pending.failing_since or 0.0
        is_held = self._lengths.is_outage(len(pending.unit.text), since)
        if is_held:
            longest = self._lengths.longest_since(since)
            # Where shorter texts pass, it is known what is wrong: the fuse need not stop those.
            work.used_up = work.used_up or not longest
            pending.due = self._in(self._recovery)
            if not self._is_length_held:
                log.error(
                    "length.held",
                    workspace=work.slug,
                    characters=len(pending.unit.text),
                    longest_stored=longest,
                    consequence="documents with texts that long wait, none of them is given up;"
                    " it goes on by itself when one of them is stored",
                    what_to_do="see AnythingLLM's log and the limits of its embedder. Where the"
                    " texts are truly bad, a restart with FUSE_SHARE=0 dead-letters them",
                )
        self._is_length_held = is_held
        return is_held

    def _give_up(self, pending: PendingUnit, work: UploadState, proof: Comparison) -> None:
        failure = pending.failure
        if failure is None:
            raise RuntimeError("a unit is judged only after it has failed")
        work.used_up = True
        self._tell(pending, work, "blamed", proof)
        message = message_of(pending, failure, proof)
        pending.given_up = pending.failed(failure, FailureReason.EXHAUSTED, message)

    def _tell(
        self, pending: PendingUnit, work: UploadState, verdict: str, proof: Comparison
    ) -> None:
        log.info(
            "chunk.judged",
            chunk_ids=[chunk.id for chunk in pending.unit.chunks],
            workspace=work.slug,
            verdict=verdict,
            attempts=pending.attempts,
            characters=len(pending.unit.text),
            evidence=evidence_of(proof, pending.stage, of_kind=proof is pending.of_kind),
            seconds=round(self._clock() - proof.since),
            consequence=consequence_of(verdict, proof),
        )

    def _in(self, seconds: float) -> float:
        return self._clock() + seconds
