"""What an answer says about the effect of a request, and what ends the doubt: the one table. Pure.

A request that changes something and gets an answer that is not AnythingLLM's may have taken effect,
or may still: gateways give up, restart and judge while AnythingLLM goes on. So only an answer that
is known to mean "nothing happened" is believed. Everything else is looked for before it is sent
again, with uploads, embeddings (``update-embeddings``), removals and new workspaces alike.

=========================================  ========  ==============================================
answer                                     effect    source
=========================================  ========  ==============================================
no connection was made, nothing was sent   NOTHING   aiohttp: raised before the first byte left
AnythingLLM's own 4xx                      NOTHING   measured on 1.16: refused before it begins
500 "... not online", "fetch failed"       NOTHING   measured on 1.16: its collector was not reached
AnythingLLM's own 500, 200 "success:false" OVER      its handler ended; what it did before stays
3xx                                        OVER      RFC 9110, 15.4: whoever redirects does not act
4xx of somebody else, 501, 505             OVER      RFC 9110, 15.5: refused; a filter may refuse
                                                     the *answer* of what was done (ModSecurity,
                                                     phase 4: raw-text's answer echoes the text)
408, 504, 524                              OPEN      a proxy gave up waiting (RFC 9110, Cloudflare)
499                                        OPEN      nginx: who asked has left, the server goes on
500 of somebody else, 502, 503, other 5xx  OPEN      RFC 9110, 15.6: the gateway got no answer that
                                                     it could use; nobody knows of the request
any other status                           OPEN      nobody knows what it means
200 that is no JSON (a page, plain text)   OPEN      of a proxy: a login page, a maintenance page
200 with JSON of another shape             OPEN      not what AnythingLLM 1.16 answers
a header that is too large or no HTTP      OPEN      the answer to a request that was sent is lost
a body that is cut short or too large      OPEN      the same
the connection broke, the time was over    OPEN      measured on 1.16: it goes on after its client
                                                     has left, for up to 600 s
=========================================  ========  ==============================================

What ends a doubt is `DoubtEnd`, each with its source. Only the first of them is beyond doubt, so
whatever was sent again is looked for once more by the sweep when the ambiguity time is over.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

_FRAMEWORK = (
    "Express"  # in AnythingLLM's ``X-Powered-By`` (measured); no gateway of note is Express
)

# The texts with which AnythingLLM 1.16 answers 500 when its document collector is the trouble.
COLLECTOR_OFFLINE = "not online"
COLLECTOR_STALE = "fetch failed"

# Texts of AnythingLLM 1.16's own refusals, where a proxy removes the header.
_OWN_TEXTS = frozenset({"No valid api key found.", "A processing error occurred.", COLLECTOR_STALE})

_REFUSED_BY_ANYBODY = frozenset({501, 505})  # the request is of a kind that is not served at all
_SERVER_GOES_ON = frozenset({408, 499})  # the only 4xx that say so

# What a proxy answers itself when it reaches nobody (RFC 9110, 15.6.3 and 15.6.4; Cloudflare 521,
# 523). To a ping that a busy server would answer late, but would answer.
_NOBODY_THERE = frozenset({502, 503, 521, 523})


LATE_SECONDS = 120.0
"""In which a request may still arrive that a gateway has answered: after that what AnythingLLM has
not begun it will not begin. Beginning leaves a trace (a file, a workspace); embedding goes on."""


class Effect(Enum):
    """What is known of the effect of a request that changes something.

    NOTHING  it had none and will have none: it may be repeated at once.
    OVER     it had one or none, and will have none any more: one look shows which.
    OPEN     it may still have one: it is looked for until something ends the doubt (`DoubtEnd`).
    """

    NOTHING = "nothing happened"
    OVER = "it is over, done or not"
    OPEN = "it may still take effect"


class DoubtEnd(Enum):
    """What ends a doubt, in words for the log.

    LISTED     a listing of the workspace shows it: a row is made last (measured on 1.16).
    RESTARTED  AnythingLLM was away since: a connection was refused, or two pings in a row were
               answered by the proxy that nobody is there. A killed server finishes nothing. A proxy
               that restarts, or whose health check gave up on a busy server, looks the same: then
               the sweep removes the second copy.
    NOT_THERE  after two minutes: no row, and no file, while the collector answers. AnythingLLM
               writes the file before it embeds (measured), so there is nothing that could come.
    OVER       the answer said that it was over, and a listing does not show it.
    TIME       the ambiguity time is over: AnythingLLM itself gives up after 600 s (its source).
    """

    LISTED = "it is listed"
    RESTARTED = "AnythingLLM was away since"
    NOT_THERE = "neither its row nor its file is there, and the collector is not behind"
    OVER = "its answer ended it, and it is not listed"
    TIME = "the ambiguity time is over"


UNREADABLE = LOST = STRANGE = Effect.OPEN
"""Of an answer that can't be read, that never came, that is not of AnythingLLM's API."""
SAID_NO = Effect.OVER
"""Of AnythingLLM's own 200 that says that it did not do it."""
NOT_SENT = Effect.NOTHING
"""Of a request of which no byte has left."""


def effect_of(status: int, reason: str, *, is_own: bool) -> Effect:
    """What a status says (the table above).

    Args:
        status: of the answer; 200 is not for this function.
        reason: the answer's ``error`` text.
        is_own: whether AnythingLLM itself answered (`is_anythingllm`).
    """
    if status == 500 and is_collector_trouble(reason):
        return Effect.NOTHING
    if status in _SERVER_GOES_ON:
        return Effect.OPEN
    if 400 <= status < 500:
        return Effect.NOTHING if is_own else Effect.OVER
    if 300 <= status < 400 or status in _REFUSED_BY_ANYBODY:
        return Effect.OVER
    return Effect.OVER if is_own and status == 500 else Effect.OPEN


def is_collector_trouble(reason: str) -> bool:
    """Whether a 500 says that the document collector was not reached: nothing was created."""
    return COLLECTOR_OFFLINE in reason or reason == COLLECTOR_STALE


def is_anythingllm(headers: Mapping[str, str], content_type: str, reason: str) -> bool:
    """Whether an error was answered by AnythingLLM itself, not by something before it.

    Args:
        headers: of the answer; names in any case.
        content_type: of the answer, without parameters; its own errors are no web pages.
        reason: the answer's ``error`` text.
    """
    is_framework = headers.get("X-Powered-By") == _FRAMEWORK and content_type != "text/html"
    return is_framework or reason in _OWN_TEXTS or COLLECTOR_OFFLINE in reason


def says_nobody_is_there(status: int | None) -> bool:
    """Whether a proxy answered a ping that it reaches no server."""
    return status in _NOBODY_THERE
