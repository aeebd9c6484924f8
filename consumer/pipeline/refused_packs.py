"""Refused packs: a pack that used up its attempts is split once that is more than chance.

Splitting gives nothing up: each of its chunks is uploaded on its own, and judged as such. So less
is asked than before a dead letter: a chance below one in a hundred, and no length of time. What is
always true:

- An outage of everything splits nothing: something else has to pass at the same time.
- Controls of its length may fail as well, because the length is at fault, or the kind of all that
  is in it. Then plain English texts as long as its longest chunk are sent beside it: where they
  pass, its chunks may.
"""

from __future__ import annotations

from collections.abc import Callable

from consumer.pipeline.poison_probe import PoisonProbe, Suspect
from consumer.pipeline.upload_state import Compared, PendingUnit
from consumer.resilience.blame import Comparison, chance_of_all_failing

_CHANCE = 0.01  # four pairs of which all its own failed and no other did


class RefusedPacks:
    """See the module's docstring.

    Args:
        poison_probe: sends plain texts.
        clock: monotonic seconds.
    """

    def __init__(self, poison_probe: PoisonProbe, clock: Callable[[], float]) -> None:
        self._poison_probe = poison_probe
        self._clock = clock

    async def compare(self, pending: PendingUnit, suspect: Suspect, pair: Comparison) -> bool:
        """Compare a pack with texts as long as a chunk where controls of its length fail.

        Args:
            pending: the pack; what is found stays in its ``of_kind``.
            suspect: its text.
            pair: its last pair with a control of its length.

        Returns:
            Whether they passed.

        Raises:
            NoTurn, CutShort: nothing was found.
            FenceClosedError: the right to go on ended.
        """
        if not pair.failed_in_a_row:
            pending.of_kind = None
            return False
        now = self._clock()
        before = (pending.of_kind or Comparison(now)).going_on(now).with_last_own_of(pair)
        pending.of_kind = found = await self._poison_probe.plain(
            suspect,
            before,
            stored=pending.stage is not Compared.EMBEDDING,
            length=max(len(chunk.content) for chunk in pending.unit.chunks),
        )
        return found.is_alone


def is_to_be_split(proof: Comparison) -> bool:
    """Whether it is the pack, rather than chance, that failed each time. Pure."""
    chance = chance_of_all_failing(proof.own_failures, proof.controls)
    return proof.is_alone and chance < _CHANCE
