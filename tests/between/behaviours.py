"""How what stands between the service and AnythingLLM behaves, as values with a name. Pure.

A `Behaviour` says what becomes of a request that it strikes; which requests those are says an
`Operation`. Both are used by the tests and, by their names, by hand (``python -m tests.between``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

PHRASE = "'; DROP TABLE lanterns; --"
"""What a firewall takes for an attack."""

PATIENCE = 100.0  # seconds that a proxy waits for an answer: below the 120 of our uploads
LATE = 150.0  # seconds that AnythingLLM takes for what the proxy gives up on

HTML = "text/html; charset=utf-8"
TEXT = "text/plain; charset=utf-8"
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Answers:
    """It answers itself.

    Args:
        status: of its answer.
        content_type: of its answer.
        body: of its answer.
        after: seconds until it answers.
        effect: seconds from the request until AnythingLLM has it; None: never.
    """

    status: int
    content_type: str = HTML
    body: bytes = b"<!DOCTYPE html><title>Error</title><p>What stands in between says no.</p>\n"
    after: float = 0.0
    effect: float | None = None


class Point(StrEnum):
    """Where a connection breaks: nothing, or all, of the request has reached AnythingLLM."""

    REQUEST = "request"
    ANSWER = "answer"
    HALF_ANSWER = "half-answer"


@dataclass(frozen=True, slots=True)
class Breaks:
    """It breaks the connection: by a TCP reset, or by closing it."""

    at: Point
    reset: bool = True


class Spoil(StrEnum):
    """What an answer of AnythingLLM can look like when it has come through."""

    LARGE_HEADER = "large-header"
    UNREADABLE_HEADER = "unreadable-header"
    NO_HEADERS = "no-headers"
    TEXT_TYPE = "text-type"
    CUT_SHORT = "cut-short"
    CUT_JSON = "cut-json"


@dataclass(frozen=True, slots=True)
class Spoils:
    """It passes the request on, and an answer with something wrong back."""

    how: Spoil


@dataclass(frozen=True, slots=True)
class DropsBody:
    """It passes the request on without its body."""


@dataclass(frozen=True, slots=True)
class Restarts:
    """It, or the server behind it, goes away in the middle of requests, and comes back.

    Args:
        seconds: until it is back.
        status: what is answered meanwhile; None: connections are refused.
        server: whether AnythingLLM is killed in the middle of the request; else it is the proxy,
            and AnythingLLM carries the request out.
    """

    seconds: float
    status: int | None
    server: bool = False


Way: TypeAlias = Answers | Breaks | Spoils | DropsBody | Restarts


class Only(StrEnum):
    """Which requests of an operation a behaviour strikes."""

    ALL = "all"
    PHRASE = "phrase"
    DELETE_BODY = "delete-body"


@dataclass(frozen=True, slots=True)
class Behaviour:
    """A named way to be in the way.

    Args:
        name: for the command line and for the names of tests.
        sentence: what it does, for people.
        way: what becomes of a request that is struck.
        only: which requests are struck.
    """

    name: str
    sentence: str
    way: Way
    only: Only = Only.ALL

    @property
    def lasts(self) -> bool:
        """Whether it is how somebody has set it up: it does not end by itself."""
        return self.only is not Only.ALL

    def strikes(self, method: str, body: bytes) -> bool:
        """Whether it strikes such a request of its operation."""
        match self.only:
            case Only.PHRASE:
                return PHRASE.encode() in body
            case Only.DELETE_BODY:
                return method == "DELETE" and bool(body)
        return True


_GIVES_UP = (408, 499, 500, 502, 503, 504, 520, 522, 524)
_STATUSES = (
    *(204, 302, 307, *range(400, 402), *range(403, 416), 417, 418, *range(421, 424), 425, 426),
    *(428, 429, 431, 451, 494, 495, 497, 499, *range(500, 506), 507, 508, 511, *range(520, 528)),
    *(530, 598),
)


def _answering() -> Iterator[Behaviour]:
    for status in _GIVES_UP:
        yield Behaviour(
            f"gives-up-{status}",
            f"answers {status} after {PATIENCE:.0f} s; the request goes on and is carried out"
            f" {LATE - PATIENCE:.0f} s later",
            Answers(status, after=PATIENCE, effect=LATE),
        )
    for status in _STATUSES:
        yield Behaviour(
            f"answers-{status}",
            f"answers {status} at once; AnythingLLM never hears of the request",
            Answers(status),
        )
        yield Behaviour(
            f"answers-{status}-done",
            f"answers {status} after AnythingLLM has carried the request out",
            Answers(status, effect=0.0),
        )
    for name, kind, body in (
        ("html", HTML, b"<!DOCTYPE html><title>Sign in</title><p>Please sign in.</p>\n"),
        ("text", TEXT, b"OK\n"),
        ("json", JSON, b'{"status":"ok"}'),
        ("nothing", TEXT, b""),
    ):
        yield Behaviour(
            f"says-{name}",
            f"answers 200 with {name}; AnythingLLM never hears of the request",
            Answers(200, kind, body),
        )
        yield Behaviour(
            f"says-{name}-done",
            f"answers 200 with {name} after AnythingLLM has carried the request out",
            Answers(200, kind, body, effect=0.0),
        )


def _refusing() -> Iterator[Behaviour]:
    for status in (200, 403, 406, 502, 503):
        yield Behaviour(
            f"blocks-phrase-{status}",
            f"answers every request whose body has the phrase {PHRASE!r} with a page and {status}",
            Answers(status),
            Only.PHRASE,
        )
    for status in (400, 405, 411, 501):
        yield Behaviour(
            f"refuses-delete-{status}",
            f"answers {status} to every DELETE with a body",
            Answers(status),
            Only.DELETE_BODY,
        )
    yield Behaviour(
        "drops-delete-body",
        "passes every DELETE on without its body",
        DropsBody(),
        Only.DELETE_BODY,
    )


def _breaking() -> Iterator[Behaviour]:
    for reset in (True, False):
        verb = "resets" if reset else "closes"
        for at, when in (
            (Point.REQUEST, "before AnythingLLM has the request"),
            (Point.ANSWER, "when AnythingLLM has carried the request out, without an answer"),
            (Point.HALF_ANSWER, "in the middle of AnythingLLM's answer"),
        ):
            yield Behaviour(
                f"{verb}-{at}", f"{verb} the connection {when}", Breaks(at, reset=reset)
            )
    for how, what in (
        (Spoil.LARGE_HEADER, "gives the answer a header of 64 KiB"),
        (Spoil.UNREADABLE_HEADER, "gives the answer a header that is none"),
        (Spoil.NO_HEADERS, "strips every header off the answer"),
        (Spoil.TEXT_TYPE, "passes the answer on as plain text"),
        (Spoil.CUT_SHORT, "ends the answer before the length that it announced"),
        (Spoil.CUT_JSON, "passes half of the answer on as if that were all"),
    ):
        yield Behaviour(f"spoils-{how}", what, Spoils(how))


def _restarting() -> Iterator[Behaviour]:
    for status in (None, 502, 503):
        said = "refuses connections" if status is None else f"answers {status}"
        yield Behaviour(
            f"restarts-{status or 'refused'}",
            f"breaks all connections once the request was carried out, and {said} for 90 s",
            Restarts(90.0, status),
        )
    for status in (502, 503):
        yield Behaviour(
            f"server-restarts-{status}",
            f"AnythingLLM is killed in the middle of the request, and for 90 s it answers {status}",
            Restarts(90.0, status, server=True),
        )


BEHAVIOURS = {
    each.name: each for make in (_answering, _refusing, _breaking, _restarting) for each in make()
}
"""All of them, by name."""
