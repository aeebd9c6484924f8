"""Refused kinds: a text whose controls fail as well may be of a kind that is never taken.

A language that the embedder does not know, or signs that a firewall dislikes: controls are of the
same characters, so they fail too, and by them nobody can tell that from an outage. Then plain
English texts are embedded, or stored as test documents, beside it. They are longer than its own:
one of its characters may cost as much as four of theirs. What is always true:

- An outage of everything fails those as well, and one of long or costly texts does: nobody falls.
- An outage of one kind alone looks like this too. So a text falls only after `SPREAD` recovery
  periods (six hours) in which it and its controls failed each time and plain texts passed. That is
  in the log from the third time on, with what can be done.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from consumer.pipeline.control_text import kind_of
from consumer.pipeline.evidence import evidence_of
from consumer.pipeline.poison_probe import PoisonProbe, Suspect
from consumer.pipeline.upload_state import Compared, PendingUnit
from consumer.resilience.blame import Comparison

log = structlog.get_logger(__name__)

SPREAD = 360.0  # recovery periods from the first pair to the last
PAUSE = 10.0  # recovery periods between two pairs; `blame.MOST_PAIRS` of them have to be enough
_FIRST_LINE = 3  # pairs
_PAIRS_A_LINE = 6  # after that: one an hour


class RefusedKinds:
    """See the module's docstring.

    Args:
        poison_probe: embeds plain texts.
        clock: monotonic seconds.
    """

    def __init__(self, poison_probe: PoisonProbe, clock: Callable[[], float]) -> None:
        self._poison_probe = poison_probe
        self._clock = clock

    async def compare(self, pending: PendingUnit, suspect: Suspect, pair: Comparison) -> bool:
        """Compare a unit with plain texts where that says more; whether these passed.

        Args:
            pending: the unit; what is found stays in its ``of_kind``.
            suspect: its text.
            pair: its last pair with a control of its kind.

        Raises:
            NoTurn, CutShort: nothing was found.
            FenceClosedError: the right to go on ended.
        """
        if not pair.failed_in_a_row:
            pending.of_kind = None
        is_upload = pending.stage is Compared.UPLOADING  # controls of its kind could be stored
        if is_upload or pair.failed_in_a_row < 2 or kind_of(suspect.text).is_prose:
            return False
        now = self._clock()
        before = (pending.of_kind or Comparison(now)).going_on(now).with_last_own_of(pair)
        stored = pending.stage is Compared.STORING
        pending.of_kind = found = await self._poison_probe.plain(suspect, before, stored=stored)
        if found.is_alone:
            self._tell(pending, suspect, found)
        return found.is_alone

    def _tell(self, pending: PendingUnit, suspect: Suspect, found: Comparison) -> None:
        if found.own_failures % _PAIRS_A_LINE != _FIRST_LINE:
            return
        log.warning(
            "chunk.kind_refused",
            chunk_ids=[chunk.id for chunk in pending.unit.chunks],
            workspace=suspect.slug,
            characters=len(suspect.text),
            evidence=evidence_of(found, pending.stage, of_kind=True),
            seconds=round(self._clock() - found.since),
            consequence=f"it waits aside and is tried every {PAUSE:.0f} recovery periods; after"
            f" {SPREAD:.0f} of them like this it is dead-lettered. All others go on",
            what_to_do="see whether the embedder, and a firewall before AnythingLLM, take texts of"
            " this language, or with such signs."
            " To end it now publish the document without this chunk, or a tombstone",
        )
