"""What can go wrong with AnythingLLM, and whose fault it is: decided here and nowhere else.

Rules (consumer/README.md, "Whose fault"):

1. A request whose bytes never left is an outage: nothing happened, it may be repeated.
2. A request that went out and got no complete answer may still take effect: AnythingLLM 1.16 goes
   on embedding after its client has left. Unless it was a GET, such a failure is *ambiguous*. So is
   the answer of a proxy that gave up waiting. Any other answer that is no refusal of AnythingLLM's
   own leaves it *unproven* whether the request took effect: a proxy may have lost the real one.
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

from consumer.model.fault import Failure, Fault

LONGEST_RETRY_AFTER = 3600.0  # seconds; a longer one is more likely a mistake than a wish


class AnythingLLMError(Failure):
    """Any failure of an operation towards AnythingLLM; on its own: an unexpected status."""


class AnythingLLMConnectionError(AnythingLLMError):
    """No connection, or it broke before the answer was complete."""

    fault = Fault.THEIRS


class AnythingLLMAuthenticationError(AnythingLLMError):
    """The API key was refused (AnythingLLM answers 403, never 401)."""

    fault = Fault.THEIRS


class AnythingLLMForbiddenError(AnythingLLMError):
    """Refused (403) although the API key is accepted: deletion protection, or a proxy's rule.

    Whose fault it is can't be proven. A removal that meets it names what it left (`Failure.left`).
    """


class AnythingLLMRateLimitError(AnythingLLMError):
    """Too many requests; ``retry_after`` says when to come back, where the server said so."""

    fault = Fault.BUSY


class AnythingLLMTimeoutError(AnythingLLMError):
    """The time for the call was over; the server does not stop for that."""


class AnythingLLMServerError(AnythingLLMError):
    """The server failed (5xx).

    Attributes:
        stale_collector: true for "fetch failed": the server's idle connection to its collector was
            closed. Nothing was created and the next call gets a new connection.
    """

    stale_collector: bool = False


class AnythingLLMProtocolError(AnythingLLMError):
    """The answer is none of AnythingLLM's API: not JSON, another shape, a redirect, too large."""


class AnswerTooLargeError(AnythingLLMProtocolError):
    """The answer is larger than one of which all is kept may be."""


class AnythingLLMRejectedError(AnythingLLMError):
    """A definite refusal of what was sent, or of what would have been sent."""

    fault = Fault.DOCUMENT


class AnythingLLMNotFoundError(AnythingLLMError):
    """What was asked for does not exist."""


class StillFoundError(AnythingLLMError):
    """What was removed is still found: the vector database keeps what it is told to remove."""

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
        refused: whether it is certain that the request changed nothing.
    """

    error: type[AnythingLLMError]
    fault: Fault
    hint: str = ""
    refused: bool = False


_KEY = "the API key was refused: check ANYTHINGLLM_API_KEY"
_PROXY = "a proxy says that AnythingLLM is not there"
_REDIRECT = "a redirect is never followed: set ANYTHINGLLM_ENDPOINT to the final address"

_STATUSES: dict[int, _Row] = {
    401: _Row(AnythingLLMAuthenticationError, Fault.THEIRS, _KEY, refused=True),
    403: _Row(AnythingLLMAuthenticationError, Fault.THEIRS, _KEY, refused=True),
    404: _Row(AnythingLLMNotFoundError, Fault.UNCLEAR),
    413: _Row(
        AnythingLLMRejectedError,
        Fault.DOCUMENT,
        "the text is too large for the server",
        refused=True,
    ),
    422: _Row(
        AnythingLLMRejectedError, Fault.DOCUMENT, "the server refuses this content", refused=True
    ),
    429: _Row(AnythingLLMRateLimitError, Fault.BUSY),
    502: _Row(AnythingLLMServerError, Fault.THEIRS, _PROXY),
    503: _Row(AnythingLLMServerError, Fault.THEIRS, "AnythingLLM is not available"),
    504: _Row(AnythingLLMServerError, Fault.THEIRS, "a proxy gave up waiting for AnythingLLM"),
}
_STATUS_CLASSES: dict[int, _Row] = {
    3: _Row(AnythingLLMProtocolError, Fault.THEIRS, _REDIRECT),
    5: _Row(AnythingLLMServerError, Fault.UNCLEAR),
}
_ANY_OTHER = _Row(AnythingLLMError, Fault.UNCLEAR)

# The texts with which AnythingLLM 1.16 answers 500 when its document collector is the trouble.
_COLLECTOR_OFFLINE = "not online"
_COLLECTOR_STALE = "fetch failed"
_COLLECTOR_ROW = _Row(
    AnythingLLMServerError, Fault.THEIRS, "its document collector is offline", refused=True
)

# A proxy that stops waiting does not stop the server behind it (408, 524: Cloudflare and others).
_GAVE_UP_WAITING = frozenset({408, 504, 524})


def failure_of(
    where: str,
    status: int,
    *,
    changes: bool,
    reason: str = "",
    retry_after: float | None = None,
) -> AnythingLLMError:
    """The failure that an answer's status means.

    Args:
        where: method and path, for the message.
        status: the answer's status.
        changes: whether the request changes anything, so that repeating it is not free.
        reason: the answer's ``error`` text; only compared, never shown.
        retry_after: seconds, from `retry_after_of`.
    """
    row = _row_for(status, reason)
    failure = row.error(
        f"{where}: answered {status}" + (f", {row.hint}" if row.hint else ""),
        fault=row.fault if retry_after is None else Fault.BUSY,
        ambiguous=changes and status in _GAVE_UP_WAITING,
        http_status=status,
        retry_after=retry_after,
    )
    failure.unproven = changes and not failure.ambiguous and not row.refused
    if isinstance(failure, AnythingLLMServerError):
        failure.stale_collector = reason == _COLLECTOR_STALE
    return failure


def _row_for(status: int, reason: str) -> _Row:
    if status == 500 and (_COLLECTOR_OFFLINE in reason or reason == _COLLECTOR_STALE):
        return _COLLECTOR_ROW
    return _STATUSES.get(status) or _STATUS_CLASSES.get(status // 100, _ANY_OTHER)


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


def is_sick(error: Exception) -> bool:
    """Whether the breaker counts it: connection errors, timeouts and 5xx; never a "busy"."""
    if not isinstance(error, Failure) or error.fault is Fault.BUSY:
        return False
    sick = (AnythingLLMConnectionError, AnythingLLMTimeoutError, AnythingLLMServerError)
    return isinstance(error, sick)
