"""Where documents wait: one place for every reason not to send anything now.

The reasons, in this order: AnythingLLM as a whole is down or asked for a rest (`circuit`), a chunk
that it may die of is tried alone (`alone`), this workspace is paused (`pauses`), most documents
fail for no visible reason (`resilience.fuse`). A document passes the gates before each of its
rounds and holds no slot while it waits. A document of a paused workspace stands aside, so that one
sick workspace does not stop the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import structlog

from consumer.model.fault import Failure, Fault
from consumer.model.names import Slug
from consumer.pipeline.alone import Alone
from consumer.pipeline.circuit import Circuit
from consumer.pipeline.pauses import Pauses
from consumer.pipeline.ports import RightToWork
from consumer.resilience.fuse import Fuse
from consumer.telemetry.metrics import Metrics
from consumer.telemetry.tracing import NO_TRACING, Tracing

log = structlog.get_logger(__name__)


class NotSent(Failure):
    """Nothing was sent, because nothing is to be sent now. It says nothing about AnythingLLM."""

    fault = Fault.THEIRS
    pending = True


class Gates:
    """See the module's docstring.

    Args:
        circuit: whether AnythingLLM as a whole is down.
        pauses: of workspaces.
        fuse: whether most documents fail.
        outages_aside: whether documents stand aside in an outage, because others can go on.
        tracing: notes each wait.
    """

    def __init__(
        self,
        circuit: Circuit,
        pauses: Pauses,
        fuse: Fuse,
        *,
        metrics: Metrics,
        outages_aside: bool = False,
        tracing: Tracing = NO_TRACING,
    ) -> None:
        self.circuit = circuit
        self.pauses = pauses
        self.fuse = fuse
        self.alone = Alone()
        self._metrics = metrics
        self._outages_aside = outages_aside
        self._tracing = tracing
        self._whole = asyncio.Event()
        self._whole.set()
        # An outage explains what failed until then.
        circuit.when_it_opens(pauses.excuse)
        circuit.when_it_opens(fuse.excuse)

    def note(self, failure: Failure | None) -> None:
        """Note how a request about a document went; None: well."""
        if failure is None or not failure.pending:
            self.circuit.note(failure)

    def note_workspace(self, slug: Slug, failure: Failure) -> None:
        """Note that preparing or listing a workspace failed."""
        self.note(failure)
        if failure.pending or failure.fault is Fault.BUSY or not self.circuit.is_closed:
            return
        self.pauses.failed(slug, failure)

    def workspace_well(self, slug: Slug) -> None:
        """Note that a workspace was prepared, and listed where that was asked for."""
        self.pauses.well(slug)

    @contextmanager
    def trying(self, slug: Slug) -> Iterator[None]:
        """Note how a workspace is by how the block goes, which prepares it and may list it."""
        try:
            yield
        except Failure as failure:
            self.note_workspace(slug, failure)
            raise
        self.workspace_well(slug)

    def holds(self, slug: Slug | None) -> bool:
        """Whether nothing is to be sent now, to this workspace or (None) to any."""
        if self.alone.holds_back or self.circuit.blocked:
            return True
        return slug is not None and self.pauses.holds(slug)

    def check(self, slug: Slug) -> None:
        """Raise `NotSent` when nothing is to be sent now."""
        if self.holds(slug):
            raise NotSent(f"not sent: AnythingLLM, or workspace {slug}, does not work now")

    async def clear_of_outage(self, right: RightToWork) -> None:
        """Return when requests may be sent that say nothing about a workspace's health."""
        while self.circuit.blocked or self.alone.holds_back:
            with self._waiting("outage"):
                async with right.aside() if self._outages_aside else right.long():
                    await self.circuit.clear()
                    await self.alone.over()

    async def clear(self, slug: Slug, right: RightToWork) -> None:
        """Return when requests about this workspace may be sent.

        The caller that returns while the workspace is in trouble is the one that tries it. It has
        to note how that went (`trying`), or the others wait for a whole recovery period.
        """
        while True:
            await self.clear_of_outage(right)
            if not self.pauses.troubled(slug):
                return
            aside = self.pauses.is_paused(slug)
            with self._waiting("workspace"):
                async with right.aside() if aside else right.long():
                    await self.pauses.clear(slug, aside=aside)
            if not self.pauses.holds(slug):
                await self.clear_of_outage(right)
                return

    async def enter(self, slug: Slug, right: RightToWork) -> bool:
        """Return when a document may upload; true when it is the trial of a blown fuse."""
        while True:
            await self.clear(slug, right)
            if self.fuse.admit():
                return self.fuse.blown
            with self._waiting("fuse"), suppress(TimeoutError):
                async with right.long(), asyncio.timeout(self.fuse.trial_in):
                    await self._whole.wait()

    @contextmanager
    def _waiting(self, reason: str) -> Iterator[None]:
        with self._metrics.documents_waiting.track_inprogress(), self._tracing.wait(reason):
            yield

    def document_done(self, *, used_up: bool, is_trial: bool) -> None:
        """Note how a document fared that had to upload something (`Fuse.note`)."""
        share, remembered = self.fuse.share, self.fuse.remembered + 1
        if not self.fuse.note(used_up=used_up, is_trial=is_trial):
            return
        if not self.fuse.blown:
            self._whole.set()
            log.info("fuse.whole")
        else:
            self._whole.clear()
            log.error(
                "fuse.blown",
                share=round(share, 2),
                documents=remembered,
                consequence="no document is given up; one is tried a recovery period",
                what_to_do="look at the latest dead letters: was there a release upstream? Where"
                " the documents are truly bad, a restart with FUSE_SHARE=0 dead-letters them",
            )
        self._metrics.fuse_blown.set(self.fuse.blown)
