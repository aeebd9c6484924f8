"""The doubt about one upload: how long it is looked for before anything is sent again, and why.

What is always true:

1. It is looked for in the listing before anything is sent again, whatever ended the doubt.
2. What ends it is `effects.DoubtEnd`, whichever comes first: it is listed, AnythingLLM was away
   since, neither row nor file is there, its answer said that it was over, the time is over.
3. A unit that falls into doubt again waits for what is left of the ambiguity time: restarts one
   after the other must not cost that time each. Once it has waited all of it, it may wait anew.
4. The beginning and the end of a wait are logged, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from consumer.anythingllm.effects import LATE_SECONDS, DoubtEnd
from consumer.anythingllm.errors import AnythingLLMError, AnythingLLMPendingError
from consumer.anythingllm.marker_lookup import LEAST_DISTANCE, due_after
from consumer.anythingllm.upload_ways import Ways
from consumer.model.fault import Fault
from consumer.model.listing import FILE_STORE
from consumer.model.names import Location, Slug, TraceId

log = structlog.get_logger(__name__)

_AGAIN_SECONDS = 5.0  # until the files are looked at again that somebody has just looked at
_SHORTEST_WAIT = 0.01  # seconds; the caller must not spin


@dataclass(frozen=True, slots=True)
class _Wait:
    """One doubt: since when, until when at most, and whether its answer said that it was over."""

    since: float
    until: float
    is_over: bool


class UploadDoubt:
    """See the module's docstring; of one unit in one workspace.

    Args:
        ways: what all uploads share.
        slug: the workspace.
        marker: of the unit, encoded.
        name: says what messages call the unit.
        document_id: whose chunks they are, for the log.
        chunk_ids: the same.
        trace_id: of the event.
    """

    def __init__(
        self,
        ways: Ways,
        slug: Slug,
        marker: str,
        *,
        name: Callable[[], str],
        document_id: str,
        chunk_ids: list[str],
        trace_id: TraceId | None,
    ) -> None:
        self._ways = ways
        self._slug = slug
        self._marker = marker
        self._name = name
        self._document_id = document_id
        self._chunk_ids = chunk_ids
        self._trace_id = trace_id
        self._wait: _Wait | None = None
        self._waited = 0.0  # of the ambiguity time, by former doubts
        self._has_file = False  # it was seen, so the upload has reached AnythingLLM
        self.was_ever = False

    @property
    def is_open(self) -> bool:
        """Whether an earlier request may have taken effect, or may still."""
        return self._wait is not None

    @property
    def is_over(self) -> bool:
        """Whether the answer said that nothing will come any more."""
        return self._wait is not None and self._wait.is_over

    def begin(self, *, is_over: bool = False) -> None:
        """A request that changes something ended without an answer that can be believed."""
        self.was_ever, self._has_file = True, False
        left = max(self._ways.ambiguity - self._waited, 0.0)
        now = self._ways.clock()
        self._wait = _Wait(now, now + left, is_over)
        self._ways.lookup.seek(self._slug, self._marker)
        self._ways.file_lookup.seek(FILE_STORE, self._marker)
        if not is_over:
            log.warning(
                "chunk.in_doubt",
                workspace=self._slug,
                document_id=self._document_id,
                chunk_ids=self._chunk_ids,
                seconds=round(left, 1),
                consequence="it is looked for, and not sent again before that time is over, or it"
                " is proven that nothing comes any more",
            )

    def end(self, by: DoubtEnd) -> None:
        """It is known what became of it, or waiting for more is no use."""
        if (wait := self._wait) is None:
            return
        seconds = self._ways.clock() - wait.since
        self._waited = 0.0 if by in (DoubtEnd.LISTED, DoubtEnd.TIME) else self._waited + seconds
        self._wait = None
        if wait.is_over:
            return  # nor was it told that it began
        log.info(
            "chunk.doubt_over",
            workspace=self._slug,
            document_id=self._document_id,
            chunk_ids=self._chunk_ids,
            by=by.value,
            seconds=round(seconds, 1),
        )

    async def has_ended(self) -> DoubtEnd | None:
        """What ended it without a look at the listing; None: it may still take effect."""
        if (wait := self._wait) is None or wait.is_over:
            return DoubtEnd.OVER
        if await self._ways.restarts.was_away_since(wait.since):
            return DoubtEnd.RESTARTED
        return DoubtEnd.TIME if self._ways.clock() >= wait.until else None

    async def find(self) -> Location | None:
        """Where its result is; None when it may be sent (again), and then the doubt is over.

        Raises:
            AnythingLLMPendingError: it is not there, and may still come.
            AnythingLLMError: nobody can say now.
        """
        if (wait := self._wait) is None:
            return None
        by = await self.has_ended()
        end = self._end(wait, by)
        after = wait.since if end is None else max(wait.since, end)
        try:
            look = await self._ways.lookup.find(
                self._slug, self._marker, since=wait.since, after=after, trace_id=self._trace_id
            )
        except AnythingLLMError as error:
            if error.fault is Fault.UNCLEAR:
                error.fault = Fault.THEIRS  # a listing that fails says nothing of the text
            raise
        if look is None:
            raise self.pending(LEAST_DISTANCE)
        if look.location is not None:
            log.info(
                "chunk.found",
                workspace=self._slug,
                document_id=self._document_id,
                location=look.location,
            )
            self.end(DoubtEnd.LISTED)
            return look.location
        if by is None and self._is_file_due(wait):
            by = await self._without_file(wait)
        if by is None:
            raise self.pending(self._due(wait, look.started) - self._ways.clock())
        self.end(by)
        return None

    def pending(self, seconds: float) -> AnythingLLMPendingError:
        """What is raised while it may still come: look again in so many seconds."""
        return AnythingLLMPendingError(
            f"{self._name()}: an earlier upload got no complete answer and may still finish; "
            "it is looked for again before anything is sent",
            ambiguous=True,
            retry_after=max(seconds, _SHORTEST_WAIT),
        )

    def _end(self, wait: _Wait, by: DoubtEnd | None) -> float | None:
        """From when on a listing shows it if it will ever; None: that is not known yet."""
        if by is DoubtEnd.RESTARTED:
            return self._ways.restarts.away_at
        if by is DoubtEnd.TIME:
            return wait.until
        return wait.since if by is DoubtEnd.OVER else None

    def _is_file_due(self, wait: _Wait) -> bool:
        return not self._has_file and self._ways.clock() >= wait.since + LATE_SECONDS

    async def _without_file(self, wait: _Wait) -> DoubtEnd | None:
        """`DoubtEnd.NOT_THERE`, where it is proven that AnythingLLM never began with it."""
        try:
            # A collector that stands still may have the text, and write its file later.
            errand = self._ways.errand(self._ways.timeout, self._trace_id)
            await self._ways.api.check_collector(errand)
            look = await self._ways.file_lookup.find(
                FILE_STORE,
                self._marker,
                since=wait.since,
                after=wait.since + LATE_SECONDS,
                trace_id=self._trace_id,
            )
        except AnythingLLMError as error:
            log.debug(
                "chunk.file_not_looked_for",
                workspace=self._slug,
                document_id=self._document_id,
                error=error.message,
            )
            return None
        if look is None:
            raise self.pending(_AGAIN_SECONDS)
        self._has_file = look.location is not None
        return None if self._has_file else DoubtEnd.NOT_THERE

    def _due(self, wait: _Wait, looked: float) -> float:
        """When to look again."""
        due = min(due_after(looked, wait.since), wait.until)
        file_due = wait.since + LATE_SECONDS
        return min(due, file_due) if self._ways.clock() < file_due else due
