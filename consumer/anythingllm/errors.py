"""What can go wrong with AnythingLLM, and whose fault it is: decided here and nowhere else.

Rules (consumer/README.md, "Whose fault"):

1. A request whose bytes never left is an outage: nothing happened, it may be repeated.
2. What a failure says about the effect of a request that changes something is the table in
   `consumer.anythingllm.effects`. Where it may still take effect it is *ambiguous*; where it is
   over and nobody knows whether it did, it is *unproven*.
3. Only a definite refusal of this very content (422, 413) is the document's fault.
4. A 403 is an outage only where the key itself is refused; with a key that is accepted it is
   deletion protection or a proxy's rule: unclear, and a removal that meets it leaves things be.
5. A server that says when to come back (``Retry-After``) is busy, whatever the status.
6. No message ever holds a key, a response body or document text.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime

from consumer.anythingllm.effects import (
    COLLECTOR_STALE,
    Effect,
    EffectRow,
    is_collector_trouble,
    may_be_gone,
    row_of,
)
from consumer.model.fault import Failure, Fault
from consumer.model.names import Slug

LONGEST_RETRY_AFTER = 3600.0  # seconds; a longer one is more likely a mistake than a wish


class AnythingLLMError(Failure):
    """Any failure of an operation towards AnythingLLM; on its own: an unexpected status.

    Attributes:
        of_a_look: true where it was a search for a test document that failed.
    """

    of_a_look: bool = False


class AnythingLLMConnectionError(AnythingLLMError):
    """No connection, or it broke before the answer was complete."""

    fault = Fault.THEIRS
    unanswered = True


class AnythingLLMAuthenticationError(AnythingLLMError):
    """The API key was refused (AnythingLLM answers 403, never 401)."""

    fault = Fault.THEIRS


class AnythingLLMForbiddenError(AnythingLLMError):
    """Refused (403) although the API key is accepted: deletion protection, or a proxy's rule.

    Whose fault it is can't be proven, nor whether it lasts. A removal that meets it names what it
    left (`Failure.left`).
    """


class AnythingLLMRateLimitError(AnythingLLMError):
    """Too many requests; ``retry_after`` says when to come back, where the server said so."""

    fault = Fault.BUSY


class AnythingLLMTimeoutError(AnythingLLMError):
    """The time for the call was over; the server does not stop for that."""

    unanswered = True


class AnythingLLMServerError(AnythingLLMError):
    """The server failed (5xx).

    Attributes:
        stale_collector: true for "fetch failed": the server's idle connection to its collector was
            closed. Nothing was created and the next call gets a new connection.
    """

    stale_collector: bool = False


class SearchTellsNothingError(AnythingLLMServerError):
    """None of a search's hits has a distance or a score: its query's vector, or theirs, is none."""


class AnythingLLMProtocolError(AnythingLLMError):
    """The answer is none of AnythingLLM's API: not JSON, another shape, a redirect, too large."""


class AnswerTooLargeError(AnythingLLMProtocolError):
    """The answer is larger than one of which all is kept may be."""


class AnythingLLMRejectedError(AnythingLLMError):
    """A definite refusal of what was sent, or of what would have been sent."""

    fault = Fault.DOCUMENT


class AnythingLLMNotFoundError(AnythingLLMError):
    """What was asked for does not exist."""


class NoWorkspaceError(AnythingLLMNotFoundError):
    """There is no such workspace. A 404 says no such thing: 1.16 answers 400, and a proxy 404."""


class StillFoundError(AnythingLLMError):
    """What was removed is still found: the vector database keeps what it is told to remove."""

    fault = Fault.THEIRS


class NonsenseError(AnythingLLMError):
    """The embedder answers, and no search could use its vectors."""

    fault = Fault.THEIRS


class AnythingLLMPendingError(AnythingLLMError):
    """An earlier, ambiguous upload may still be finishing on the server: look again later."""

    fault = Fault.THEIRS
    pending = True


class CircuitOpenError(AnythingLLMError):
    """The circuit breaker did not let the call through; ``retry_after`` says when it may."""

    fault = Fault.THEIRS


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of the status table.

    Args:
        error: the class.
        fault: whose fault it is.
        hint: tells a person what to do.
    """

    error: type[AnythingLLMError]
    fault: Fault
    hint: str = ""


_KEY = "the API key was refused: check ANYTHINGLLM_API_KEY"
_BLOCKED = (
    "with a page that is not AnythingLLM's: a firewall or proxy between us refuses the request,"
    " see its rules"
)
_PROXY = "a proxy says that AnythingLLM is not there"
_IMPATIENT = "a proxy gave up waiting for AnythingLLM"
_REDIRECT = "a redirect is never followed: set ANYTHINGLLM_ENDPOINT to the final address"

_STATUSES: dict[int, _Row] = {
    401: _Row(AnythingLLMAuthenticationError, Fault.THEIRS, _KEY),
    403: _Row(AnythingLLMAuthenticationError, Fault.THEIRS, _KEY),
    404: _Row(AnythingLLMNotFoundError, Fault.UNCLEAR),
    413: _Row(AnythingLLMRejectedError, Fault.DOCUMENT, "the text is too large for the server"),
    422: _Row(AnythingLLMRejectedError, Fault.DOCUMENT, "the server refuses this content"),
    429: _Row(AnythingLLMRateLimitError, Fault.BUSY),
    502: _Row(AnythingLLMServerError, Fault.THEIRS, _PROXY),
    503: _Row(AnythingLLMServerError, Fault.THEIRS, "AnythingLLM is not available"),
    504: _Row(AnythingLLMServerError, Fault.UNCLEAR, _IMPATIENT),
}
_HINTS: dict[int, str] = {
    **dict.fromkeys((408, 499, 524), _IMPATIENT),
    **dict.fromkeys((520, 521, 522, 523, 530), "a proxy gets no answer of AnythingLLM"),
    **dict.fromkeys((525, 526), "a proxy does not trust AnythingLLM's certificate"),
}
"""For statuses that are told apart for their reader only: of proxies and clouds."""
_STATUS_CLASSES: dict[int, _Row] = {
    3: _Row(AnythingLLMProtocolError, Fault.THEIRS, _REDIRECT),
    5: _Row(AnythingLLMServerError, Fault.UNCLEAR),
}
_ANY_OTHER = _Row(AnythingLLMError, Fault.UNCLEAR)

_COLLECTOR_ROW = _Row(AnythingLLMServerError, Fault.THEIRS, "its document collector is offline")


def failure_of(
    where: str,
    status: int,
    *,
    changes: bool,
    reason: str = "",
    retry_after: float | None = None,
    is_own: bool = False,
    by_intermediary: bool = False,
) -> AnythingLLMError:
    """The failure that an answer's status means.

    Args:
        where: method and path, for the message.
        status: the answer's status.
        changes: whether the request changes anything, so that repeating it is not free.
        reason: the answer's ``error`` text; only compared, never shown.
        retry_after: seconds, from `retry_after_of`.
        is_own: whether AnythingLLM itself answered (`effects.is_anythingllm`).
        by_intermediary: whether something else did (`is_by_intermediary`).
    """
    row = _row_for(status, reason)
    hint = row.hint or _HINTS.get(status, "")
    if by_intermediary and hint == _KEY:
        hint = _BLOCKED
    failure = row.error(
        f"{where}: answered {status}" + (f", {hint}" if hint else ""),
        fault=row.fault if retry_after is None else Fault.BUSY,
        http_status=status,
        retry_after=retry_after,
    )
    leave_in_doubt(failure, row_of(status, reason, is_own=is_own), changes=changes)
    failure.by_intermediary = by_intermediary
    failure.not_there = failure.cut_off = may_be_gone(status)
    failure.unanswered = status in _WOULD_NOT_WAIT
    if isinstance(failure, AnythingLLMServerError):
        failure.stale_collector = reason == COLLECTOR_STALE
    return failure


def leave_in_doubt(
    failure: AnythingLLMError, row: EffectRow, *, changes: bool = True
) -> AnythingLLMError:
    """The same failure, with what the row says about the effect of its request.

    Args:
        failure: of a request.
        row: of the table in `consumer.anythingllm.effects`.
        changes: whether the request changes anything.
    """
    failure.ambiguous = changes and row.effect is Effect.OPEN
    failure.unproven = changes and row.effect is Effect.OVER
    return failure


def _row_for(status: int, reason: str) -> _Row:
    if status == 500 and is_collector_trouble(reason):
        return _COLLECTOR_ROW
    return _STATUSES.get(status) or _STATUS_CLASSES.get(status // 100, _ANY_OTHER)


# What AnythingLLM 1.16 itself never answers to a call of its API. It gives 200, 400, 403, 404, 422
# and 500; by these a reader of the answer's body knows who speaks (RFC 9110, 3.7: intermediaries).
_NEVER_ITS_OWN = frozenset({402, 405, 406, 407, 409, 410, 415, 421, 451, 501, 502, 503})
_BEYOND = range(520, 600)  # of proxies
_WOULD_NOT_WAIT = frozenset({408, 499, 504, 524})


_ASKS_FOR_TIME = frozenset({425, 429})
_NOT_SERVED = frozenset({501, 505})  # RFC 9110, 15.6.2 and 15.6.6


def may_pass(error: AnythingLLMError) -> bool:
    """Whether somebody would not wait for the answer, or asks for time."""
    return error.fault is Fault.BUSY or error.http_status in _WOULD_NOT_WAIT | _ASKS_FOR_TIME


def is_refusal(error: AnythingLLMError) -> bool:
    """Whether somebody answered that such a request is not let through, or not served."""
    status = error.http_status or 0
    return not may_pass(error) and (status // 100 == 4 or status in _NOT_SERVED)


def is_by_intermediary(status: int, content_type: str) -> bool:
    """Whether something between us and AnythingLLM answered, and not because it would not wait.

    Args:
        status: of the answer.
        content_type: of the answer, without parameters.
    """
    if status in _WOULD_NOT_WAIT:
        return False
    is_page = content_type in ("text/html", "application/xhtml+xml")
    is_its_own = status == 200 and content_type == "application/json"
    return not is_its_own and (
        status == 200 or is_page or status in _NEVER_ITS_OWN or status in _BEYOND
    )


def retry_after_of(header: str | None, now: datetime) -> float | None:
    """Seconds that a ``Retry-After`` header asks for, capped at an hour; None for junk.

    Args:
        header: seconds or an HTTP date.
        now: the server's time, or ours where it did not send its own.
    """
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), LONGEST_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(text)
        seconds = (moment - now).total_seconds()
    except (TypeError, ValueError, OverflowError):
        return None
    return min(max(0.0, seconds), LONGEST_RETRY_AFTER)


def not_searched(slug: Slug, error: NoWorkspaceError) -> AnythingLLMError:
    """What a search failed with that was answered as in no workspace, where there is one (1.16)."""
    failure = AnythingLLMError(
        f"a search in workspace {slug!r} was answered {error.http_status}, as if it were not there,"
        " and it is: something between us and AnythingLLM may answer so",
        fault=Fault.THEIRS,
        http_status=error.http_status,
    )
    failure.by_intermediary = True
    return failure


def is_about_the_query(error: AnythingLLMError) -> bool:
    """Whether a search may have failed for what it searched for, so that others are answered.

    Something between blocks it, or it has no vector as a query. A control has to pass meanwhile.
    """
    return error.by_intermediary or isinstance(error, SearchTellsNothingError)


def is_sick(error: Exception) -> bool:
    """Whether the breaker counts it: connection errors, timeouts and 5xx; never a "busy"."""
    if not isinstance(error, Failure) or error.fault is Fault.BUSY:
        return False
    sick = (AnythingLLMConnectionError, AnythingLLMTimeoutError, AnythingLLMServerError)
    return isinstance(error, sick)
