"""Does AnythingLLM's embedder give vectors that a search can use? Looked at around every upload.

An embedder that is broken may answer 200 with zeros, nulls or one vector for every text, and
AnythingLLM 1.16 stores what it gets: ``cached: true``, listed. LanceDB 0.15.0 (measured) then gives
vectors of zeros before all others in every search, keeps NaN, and cuts vectors that have become
longer, all with success; no search for the text finds any of it. So:

1. A vector counts only when two probe texts were embedded well before it was made and after it.
   One look serves all that were made before it: a document needs one, whatever its chunks.
2. What was made between a look that went well and one that did not is suspect, also once all is
   well again: it is removed and uploaded anew (`unit_upload`).
3. An upload begins only where a look of the last `FRESH_SECONDS` went well, and none while the
   last one has failed. That is an outage: theirs, no document's.
4. Another length than before is told once. What is stored in each workspace then decides, by a
   test document, whether vectors of that length are taken (`readiness`).

Not seen: an embedder that gives nonsense for single texts, or for less time than lies between two
looks, and what was stored before this process began. `audit --search` finds those.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable

from consumer.anythingllm.api import Api
from consumer.anythingllm.database_control import turn_of
from consumer.anythingllm.errors import (
    AnswerTooLargeError,
    AnythingLLMError,
    NonsenseError,
    is_refusal,
)
from consumer.anythingllm.transport import Check, Errand, NewErrand, always
from consumer.model.fault import Fault
from consumer.model.names import TraceId
from consumer.telemetry.library_log import library_logger

log = library_logger(__name__)

FRESH_SECONDS = 5.0  # for which a look is enough to begin an upload: so much would be nonsense
AGAIN_SECONDS = 10.0  # between two looks while the embedder gives nonsense
_MOST_SPANS = 100  # times of nonsense that are remembered: uploads of before are long decided
_WHAT_TO_DO = (
    "check the embedder in AnythingLLM's settings, its model and its log; what was stored before"
    " this began may be looked for with `audit --search`"
)


class EmbedderInUse:
    """See the module's docstring; one for a server.

    Args:
        api: the endpoints.
        errand: makes an errand of so many seconds.
        timeout: seconds for a look.
        clock: monotonic seconds.
    """

    def __init__(
        self, api: Api, *, errand: NewErrand, timeout: float, clock: Callable[[], float]
    ) -> None:
        self._api = api
        self._errand = errand
        self._timeout = timeout
        self._clock = clock
        self._turn = asyncio.Lock()
        self._well_at = -math.inf  # when the last look that went well began
        self._failure: AnythingLLMError | None = None
        self._failed_at = -math.inf
        self._is_told = self._is_hidden = False
        self._length: int | None = None
        self._suspect_from: float | None = None
        self._suspect: deque[tuple[float, float]] = deque(maxlen=_MOST_SPANS)
        self._on_other_length: Callable[[], None] = lambda: None
        self._advice: Callable[[], str] = lambda: "was the embedding model changed?"

    def when_length_changes(self, listener: Callable[[], None], advice: Callable[[], str]) -> None:
        """What happens when vectors have another length than before (rule 4).

        Args:
            listener: is called.
            advice: what people do after a change of the embedding model.
        """
        self._on_other_length, self._advice = listener, advice

    async def enter(
        self, trace_id: TraceId | None, check: Check = always, *, within: float = FRESH_SECONDS
    ) -> None:
        """Return when something may be uploaded: it was seen well within so many seconds.

        Raises:
            AnythingLLMError: as `well_after` does.
        """
        now = self._clock()
        lately = now if self._failure is not None else now - within
        await self.well_after(lately, trace_id, check)

    def was_well_after(self, moment: float) -> bool:
        """Whether a look that began after that moment, monotonic seconds, went well."""
        return self._well_at > moment

    async def well_after(
        self, moment: float, trace_id: TraceId | None, check: Check = always
    ) -> None:
        """Return when the embedder was seen well in a look that began then, or later.

        Args:
            moment: monotonic seconds.
            trace_id: of the event.
            check: called while it waits for the look of others.

        Raises:
            AnythingLLMError: theirs, or busy: it is not well, or nobody could find out.
        """
        if self.was_well_after(moment):
            return
        async with turn_of(self._turn, check):
            if self.was_well_after(moment):
                return
            if self._failure is not None and self._clock() < self._failed_at + AGAIN_SECONDS:
                raise self._failure.without_past()
            try:
                await self.probe(self._errand(self._timeout, trace_id))
            except NonsenseError as error:
                self._tell(error)
                raise

    async def probe(self, errand: Errand) -> None:
        """As `look`, but where a proxy does not let it through it counts as well.

        Storing works without that path, and goes on; otherwise no outage would ever end.
        """
        began = self._clock()
        try:
            await self.look(errand)
        except NonsenseError:
            raise
        except AnythingLLMError as error:
            if not _is_shut(error):
                raise
            if not self._is_hidden:
                log.warning("embedder.not_looked_at", error=error.message)
            self._is_hidden, self._well_at = True, began

    async def look(self, errand: Errand) -> None:
        """Look now, whatever was seen before; stores nothing.

        Raises:
            NonsenseError: it answers what no search can use.
            AnythingLLMError: it does not work, or nobody could find out.
        """
        began = self._clock()
        try:
            length = await self._api.check_embedder(errand)
            self._compare(length)
        except AnythingLLMError as error:
            error.fault = Fault.BUSY if error.fault is Fault.BUSY else Fault.THEIRS
            if isinstance(error, NonsenseError):
                self._note_failure(error)
            raise
        if self._is_told:
            self._is_told = False
            log.warning("embedder.makes_sense_again", length=length)
        if self._suspect_from is not None:
            self._suspect.append((self._suspect_from, began))
        self._failure = self._suspect_from = None
        self._is_hidden = False
        self._well_at = max(self._well_at, began)

    def hides(self, error: AnythingLLMError) -> bool:
        """Whether a text met this because a proxy lets no text through to the embedder."""
        return self._is_hidden and _is_shut(error)

    def is_suspect(self, begun: float, done: float) -> bool:
        """Whether vectors that were made between these moments may be nonsense (rule 2)."""
        return any(begun < until and done >= since for since, until in self._suspect)

    @property
    def has_been_mad(self) -> bool:
        """Whether it gave nonsense since this process began: listed rows prove nothing then."""
        return self._suspect_from is not None or bool(self._suspect)

    def _compare(self, length: int) -> None:
        former, self._length = self._length, length
        if former is None or former == length:
            return
        self._on_other_length()
        raise NonsenseError(
            f"AnythingLLM's embedder gives vectors of {length:,} numbers, and gave {former:,}"
            " before. Every workspace is tried before anything more is stored in it. If the"
            f" embedding model was changed: {self._advice()}"
        )

    def _tell(self, error: NonsenseError) -> None:
        if not self._is_told:
            self._is_told = True
            log.error(
                "embedder.nonsense",
                error=error.message,
                consequence="nothing is uploaded; what was uploaded since the last look that went"
                " well is not counted as stored, and is uploaded anew afterwards",
                what_to_do=_WHAT_TO_DO,
            )

    def _note_failure(self, error: NonsenseError) -> None:
        if self._suspect_from is None:
            self._suspect_from = self._well_at
        self._failure, self._failed_at = error, self._clock()


def _is_shut(error: AnythingLLMError) -> bool:
    """Whether nobody can see: the path is refused, a login page in its place, too large for us."""
    is_page = error.by_intermediary and (error.http_status or 500) < 400
    return is_page or is_refusal(error) or isinstance(error, AnswerTooLargeError)
