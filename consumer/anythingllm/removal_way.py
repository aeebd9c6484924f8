"""Is DELETE with a body let through to AnythingLLM? What was seen of it, and what it means.

HTTP gives the body of a DELETE no meaning (RFC 9110, 9.3.5), and some proxies refuse or drop it;
firewalls have lists of methods. An answer to a removal is put down to a proxy only where that of a
file that does not exist is answered so as well: AnythingLLM 1.16 answers that with success
(recordings/removal.json in tests), and it harms nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from consumer.anythingllm.errors import (
    AnythingLLMAuthenticationError,
    AnythingLLMError,
    AnythingLLMForbiddenError,
    is_refusal,
)
from consumer.model.fault import Fault
from consumer.telemetry.library_log import library_logger

log = library_logger(__name__)

AGAIN_SECONDS = 300.0  # between two looks whether removals are let through again
_FORGOTTEN_SECONDS = 900.0  # without a look; the sweep comes back after 300
_RARELY_SECONDS = 20.0  # between two looks where the answer may be AnythingLLM's own


@dataclass(frozen=True, slots=True)
class ProxyRefusal:
    """Why an answer to the removal of a file that does not exist is no answer of AnythingLLM.

    Args:
        why: for people, behind "something between us and AnythingLLM".
        patience: seconds for which it has to be seen before it is believed.
    """

    why: str
    patience: float = 0.0


REFUSALS: Mapping[int, ProxyRefusal] = {
    # Google's HTTPS load balancer and Cloudflare's wrangler (bench-routes/bench-routes#487,
    # cloudflare/workers-sdk#2707). AnythingLLM answers it to JSON that is broken, and ours is not.
    400: ProxyRefusal("takes a DELETE with a body for malformed"),
    # RFC 9110, 15.5.6: a proxy with a list of methods that it lets through.
    405: ProxyRefusal("does not let DELETE through"),
    # RFC 9110, 15.5.12; nginx behind a proxy that drops the length (http-party/node-http-proxy#338)
    411: ProxyRefusal("does not pass on how long the body of a DELETE is"),
    # RFC 9110, 15.6.2: a proxy that does not know the method, or it with a body.
    501: ProxyRefusal("does not know DELETE with a body"),
    # Akamai drops the body (apicollective/apibuilder#763), and AnythingLLM answers 500 where there
    # are no names. So it does while its own database is in trouble: that passes.
    500: ProxyRefusal("seems to drop the body of a DELETE", patience=60.0),
}
"""By status. AnythingLLM 1.16 itself answers 200, 403 and 500 there."""

# Firewalls choose any: 404, 406, 413, 418, 451. So does an ingress without a route, for moments.
_REFUSES = ProxyRefusal("refuses DELETE", patience=60.0)
_ANSWERS = ProxyRefusal("answers DELETE in AnythingLLM's place", patience=600.0)
_IS_SILENT = ProxyRefusal("breaks off a DELETE, or never answers it", patience=600.0)


def refusal_of(error: AnythingLLMError) -> ProxyRefusal | None:
    """What such an answer to the removal of a file that does not exist means.

    None where it means nothing, however often it comes: AnythingLLM forbids it, which it does to
    files that are there as well, or asks for time, or never had the request.
    """
    forbids = isinstance(error, AnythingLLMAuthenticationError | AnythingLLMForbiddenError)
    if forbids or error.fault is Fault.BUSY:
        return None
    if error.http_status is None:
        return _IS_SILENT if error.unanswered and error.ambiguous else None
    known = REFUSALS.get(error.http_status)
    return known or (_REFUSES if is_refusal(error) else _ANSWERS)


class RemovalWay:
    """Whether DELETE with a body is let through, as far as was seen; one for a server.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._refusal: ProxyRefusal | None = None
        self._said = ""
        self._is_told = False
        self._since = self._asked_at = float("-inf")

    @property
    def is_shut(self) -> bool:
        """Whether documents are to be taken out of workspaces instead."""
        refusal = self._refusal
        return refusal is not None and self._asked_at - self._since >= refusal.patience

    def is_worth_a_look(self, refusal: ProxyRefusal) -> bool:
        """Whether a removal that was answered so is a reason to look: not each that may pass."""
        return not refusal.patience or self._clock() >= self._asked_at + _RARELY_SECONDS

    @property
    def is_due(self) -> bool:
        """Whether it is to be looked at again."""
        return self._clock() >= self._asked_at + AGAIN_SECONDS

    @property
    def refusal(self) -> str:
        """What is seen of it, for people."""
        why = self._refusal.why if self._refusal is not None else "refuses DELETE"
        return (
            f"something between us and AnythingLLM {why} (DELETE"
            f" /api/v1/system/remove-documents {self._said}, also for a file that is not there)"
        )

    def refused(self, refusal: ProxyRefusal, status: int | None) -> None:
        """Note that the removal of a file that does not exist was answered so; None: by nobody."""
        now = self._clock()
        is_new = self._refusal is None or now >= self._asked_at + _FORGOTTEN_SECONDS
        if is_new and not self.is_shut:
            self._since = now  # what was seen long ago may have passed since
        self._asked_at, self._refusal = now, refusal
        self._said = "gets no answer" if status is None else f"is answered {status}"

    def tell(self) -> None:
        """Log it once that documents are taken out of workspaces instead."""
        if self._is_told:
            return
        self._is_told = True
        log.error(
            "removal.let_through_no_more",
            error=self.refusal,
            consequence="what is removed is taken out of its workspace and found no more; its file"
            " stays in AnythingLLM's store",
            what_to_do=WHAT_TO_DO,
        )

    def passed(self) -> None:
        """Note that a removal was answered by AnythingLLM."""
        if self._is_told:
            log.warning("removal.let_through_again", what_to_do="`workspaces repair --yes`")
        self._is_told = False
        self._refusal = None


WHAT_TO_DO = (
    "have it let DELETE /api/v1/system/remove-documents through with its body, then run"
    " `workspaces repair --yes`: it removes the files that stayed"
)

WHAT_TO_DO_FORBIDDEN = (
    "allow DELETE /api/v1/system/remove-documents, in AnythingLLM or in what stands before it"
)
