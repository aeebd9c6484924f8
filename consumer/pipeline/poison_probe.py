"""The poison probe: is it this chunk's text that AnythingLLM's embedder can't take?

It is made when a chunk has used up its attempts. The chunk's own text and a control text are sent
to the embedder in random alternation; nothing is stored. What is always true:

- If the own text passes once, the chunk is acquitted. Whatever is wrong, it is not what it says.
- The chunk is blamed only when chance can't explain that its text failed each time while the
  control passed (`consumer.resilience.blame`).
- If the control fails as well, it is not known whose fault it is. The circuit notes it, and the
  chunk waits.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import Enum, auto

from consumer.model.fault import Failure
from consumer.model.names import Slug, TraceId
from consumer.pipeline.ports import RightToWork, Storage
from consumer.pipeline.request_slots import RequestSlots
from consumer.resilience.blame import Tally, is_blamed

CONTROL_TEXT = "A plain sentence that every embedder can embed."
_MOST_PAIRS = 60  # beside a poison text the control fails at random; more pairs would take minutes
_DOWN = Tally(3, 3)  # controls in a row without one success: this is an outage


class ProbeVerdict(Enum):
    """What the probe says of the chunk."""

    BLAMED = auto()
    ACQUITTED = auto()
    UNDECIDED = auto()


@dataclass(frozen=True, slots=True)
class ProbeEvidence:
    """A verdict and what it rests on."""

    verdict: ProbeVerdict
    own_failures: int
    controls: Tally

    def __str__(self) -> str:
        passed = self.controls.attempts - self.controls.failures
        return (
            f"the embedder refused its text {self.own_failures} of {self.own_failures} times"
            f" while {passed} of {self.controls.attempts} control texts passed"
        )


class PoisonProbe:
    """See the module's docstring.

    Args:
        storage: has the embedder.
        slots: shared with uploads.
        rng: shuffles own text and control.
    """

    def __init__(self, storage: Storage, slots: RequestSlots, rng: random.Random) -> None:
        self._storage = storage
        self._slots = slots
        self._rng = rng

    async def judge(
        self, slug: Slug, text: str, right: RightToWork, *, trace_id: TraceId
    ) -> ProbeEvidence:
        """Probe until it is clear whose fault it is, or that this can't be known now.

        Raises:
            FenceClosedError: the right to go on ended.
        """
        own, controls = 0, Tally()
        for _ in range(_MOST_PAIRS):
            for is_own in self._rng.sample((True, False), 2):
                asked = text if is_own else CONTROL_TEXT
                failure = await self._ask(slug, asked, right, trace_id)
                if failure is not None and not failure.fault.is_counted:
                    return ProbeEvidence(ProbeVerdict.UNDECIDED, own, controls)
                if not is_own:
                    controls = controls.with_one(failed=failure is not None)
                elif failure is None:
                    return ProbeEvidence(ProbeVerdict.ACQUITTED, own, controls)
                else:
                    own += 1
            if is_blamed(own, controls):
                return ProbeEvidence(ProbeVerdict.BLAMED, own, controls)
            if controls == _DOWN:
                break
        return ProbeEvidence(ProbeVerdict.UNDECIDED, own, controls)

    async def _ask(
        self, slug: Slug, text: str, right: RightToWork, trace_id: TraceId
    ) -> Failure | None:
        async def embed() -> None:
            await self._storage.embeds(text, trace_id=trace_id)

        def counts(failure: Failure) -> bool:
            return text is CONTROL_TEXT or not failure.fault.is_counted

        try:
            await self._slots.send(slug, embed, right, counts=counts)
        except Failure as failure:
            return failure
        return None
