"""What a replay run logs: a line for each letter, with who carried it out."""

from __future__ import annotations

import structlog

from consumer.contract.received_letter import Letter
from consumer.operations.replay.plan import ReplayPlan
from consumer.operations.replay.run import RunProgress

log = structlog.get_logger(__name__)


class RunLog:
    """The log of one run.

    Args:
        run: its id.
        operator: ``name@host`` of who carries it out now.
    """

    def __init__(self, run: str, *, operator: str) -> None:
        self._run = run
        self._operator = operator

    def started(self, selected: int, **more: bool) -> None:
        """It began, or goes on."""
        log.info(
            "replay.started", run=self._run, operator=self._operator, selected=selected, **more
        )

    def left(self, plan: ReplayPlan) -> None:
        """Selected letters are left as they are, although somebody may have counted on them."""
        for each in plan.left:
            self.skipped(each.letter, each.why)

    def skipped(self, letter: Letter, because: str) -> None:
        """A letter is left as it is."""
        log.info("replay.skipped", because=because, **self._facts(letter))

    def published(self, letter: Letter) -> None:
        """Kafka has acknowledged its replay."""
        log.info("replay.published", **self._facts(letter))

    def parked(self, letter: Letter) -> None:
        """Kafka has acknowledged its copy on the parked topic."""
        log.info("replay.parked", because="it came back too often", **self._facts(letter))

    def ended(self, progress: RunProgress) -> None:
        """Nothing is left to do."""
        log.info(
            "replay.ended",
            run=self._run,
            operator=self._operator,
            published=progress.published,
            parked=progress.parked,
            skipped=dict(progress.skipped),
        )

    def _facts(self, letter: Letter) -> dict[str, str | None]:
        return {
            "run": self._run,
            "operator": self._operator,
            "letter": str(letter.at),
            "event_id": letter.event_id,
            "document_id": letter.document_id,
            "workspace": letter.workspace,
            "reason": letter.reason,
        }
