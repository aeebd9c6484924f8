"""What an answer says about the effect of a request, and what ends the doubt: the one table. Pure.

A request that changes something and gets an answer that is not AnythingLLM's may have taken effect,
or may still: gateways give up, restart and judge while AnythingLLM goes on. So only an answer that
is known to mean "nothing happened" is believed. Everything else is looked for before it is sent
again, with uploads, embeddings (``update-embeddings``), removals and new workspaces alike.

The table is `STATUSES` and the rows below it, each with its source.

What ends a doubt is `DoubtEnd`, each with its source. Only the first of them is beyond doubt, so
whatever was sent again is looked for once more by the sweep when the ambiguity time is over.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum

# AnythingLLM's ``X-Powered-By`` (measured on 1.16). Gateways pass it on and have none of their own.
_FRAMEWORK = "Express"

# The texts with which AnythingLLM 1.16 answers 500 when its document collector is the trouble.
COLLECTOR_OFFLINE = "not online"
COLLECTOR_STALE = "fetch failed"

# Texts of AnythingLLM 1.16's own refusals, where a proxy removes the header.
_OWN_TEXTS = frozenset({"No valid api key found.", "A processing error occurred.", COLLECTOR_STALE})

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


@dataclass(frozen=True, slots=True)
class EffectRow:
    """One row of the table.

    Args:
        answer: what was answered, in words.
        effect: what that says.
        source: how we know.
        statuses: the answer's status is one of these.
        is_own: AnythingLLM itself has to have answered; False: whoever did.
    """

    answer: str
    effect: Effect
    source: str
    statuses: Collection[int] = ()
    is_own: bool = False


STATUSES = (
    EffectRow("408, gave up waiting", Effect.OPEN, "RFC 9110, 15.5.9; proxies", frozenset({408})),
    EffectRow(
        "499, who asked has left", Effect.OPEN, "nginx: the server goes on", frozenset({499})
    ),
    EffectRow(
        "AnythingLLM's own 4xx",
        Effect.NOTHING,
        "measured on 1.16: refused before it begins",
        range(400, 500),
        is_own=True,
    ),
    EffectRow(
        "4xx of somebody else",
        Effect.OVER,
        "RFC 9110, 15.5: refused. But a filter may refuse the answer to what was done (ModSecurity,"
        " phase 4), and raw-text's answer echoes the text",
        range(400, 500),
    ),
    EffectRow(
        "3xx", Effect.OVER, "RFC 9110, 15.4: whoever redirects does not act", range(300, 400)
    ),
    EffectRow(
        "501, 505", Effect.OVER, "RFC 9110, 15.6.2, 15.6.6: not served", frozenset({501, 505})
    ),
    EffectRow(
        "AnythingLLM's own 500",
        Effect.OVER,
        "measured on 1.16: its handler has ended; what it did before stays",
        frozenset({500}),
        is_own=True,
    ),
    EffectRow(
        "any other 5xx: 500 of somebody else, 502, 503, 504, 520, 522, 524",
        Effect.OPEN,
        "RFC 9110, 15.6; Cloudflare: a gateway got no answer that it could use, or not in time",
        range(500, 600),
    ),
)
"""Of a status; the first that fits."""

ANY_OTHER = EffectRow("any other status", Effect.OPEN, "nobody knows what it means")
COLLECTOR = EffectRow(
    '500 "... not online", "fetch failed"',
    Effect.NOTHING,
    "measured on 1.16: it did not reach its collector",
)
NOT_SENT = EffectRow(
    "no connection", Effect.NOTHING, "aiohttp: raised before the first byte has left"
)
LOST = EffectRow(
    "the time was over, the connection broke, the body was cut short",
    Effect.OPEN,
    "measured on 1.16: it goes on after its client has left, for up to 600 s",
)
UNREADABLE = EffectRow(
    "no HTTP, a header or a body that is too large",
    Effect.OPEN,
    "aiohttp: the answer to a request that was sent is lost",
)
STRANGE = EffectRow(
    "200 with a page, plain text, or JSON of another shape",
    Effect.OPEN,
    "measured on 1.16: it answers otherwise; login and maintenance pages of proxies",
)
SAID_NO = EffectRow(
    '200 "success": false', Effect.OVER, "AnythingLLM's source: its handler has ended"
)


def row_of(status: int, reason: str, *, is_own: bool) -> EffectRow:
    """The row of a status.

    Args:
        status: of the answer; 200 is not for this function.
        reason: the answer's ``error`` text.
        is_own: whether AnythingLLM itself answered (`is_anythingllm`).
    """
    if status == 500 and is_collector_trouble(reason):
        return COLLECTOR
    for row in STATUSES:
        if status in row.statuses and (is_own or not row.is_own):
            return row
    return ANY_OTHER


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
