"""Who may see the status page, and by which name. Pure.

Rules:

1. The page is for people on this machine: it is served on connections that begin and end on the
   loopback interface, and that no proxy says it has passed on. A setting opens it to everybody who
   reaches the port. To everybody else it does not exist.
2. It is asked for by a name of the loopback interface, or one from the settings. A web page whose
   own name was made to lead here (DNS rebinding) asks by that one.
3. What a page elsewhere starts in a browser (`Sec-Fetch-Site`) gets nothing but what a link may
   open: it must not use up the event streams.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv6Address, ip_address

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
PROXY_HEADERS = (
    "Forwarded",
    "Via",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Real-IP",
)

_HOST = re.compile(r"(?P<name>[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


class PageRefusal(IntEnum):
    """Why the page is not shown, as the status of the answer."""

    NO_NAME = 400
    NOT_SAME_ORIGIN = 403
    HIDDEN = 404
    STRANGE_NAME = 421


@dataclass(frozen=True, slots=True)
class PageRules:
    """Who may see it.

    Args:
        page: ``loopback``, ``on`` or ``off``, as ``ADMIN_PAGE``.
        names: in lower case and without port, by which it may be asked for as well.
    """

    page: str = "loopback"
    names: Collection[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Visitor:
    """A request as the rules see it.

    Args:
        ends: addresses of both ends of the connection; None where one is not known.
        hosts: every ``Host`` of it.
        is_forwarded: whether it has one of `PROXY_HEADERS`.
        site: its ``Sec-Fetch-Site``; None where its client says nothing of that kind.
        may_be_linked: whether a link on a page elsewhere may open it.
    """

    ends: Sequence[str | None]
    hosts: Sequence[str]
    is_forwarded: bool = False
    site: str | None = None
    may_be_linked: bool = False


def refusal_of(visitor: Visitor, rules: PageRules) -> PageRefusal | None:
    """Why a visitor does not get what belongs to the page; None where nothing is against it."""
    if not _is_there_for(visitor, rules):
        return PageRefusal.HIDDEN
    if len(visitor.hosts) != 1:
        return PageRefusal.NO_NAME
    if (found := _HOST.fullmatch(visitor.hosts[0])) is None:
        return PageRefusal.NO_NAME
    name = found["name"].lower().removesuffix(".")
    if name not in LOOPBACK_NAMES and name not in rules.names:
        return PageRefusal.STRANGE_NAME
    is_elsewhere = visitor.site not in (None, "none", "same-origin")
    return PageRefusal.NOT_SAME_ORIGIN if is_elsewhere and not visitor.may_be_linked else None


def _is_there_for(visitor: Visitor, rules: PageRules) -> bool:
    if rules.page == "on":
        return True
    is_here = not visitor.is_forwarded and all(map(_is_loopback, visitor.ends))
    return rules.page == "loopback" and is_here


def _is_loopback(address: str | None) -> bool:
    try:
        # A scope, as in fe80::1%eth0, is none of the loopback interface's.
        at = ip_address(address or "")
    except ValueError:
        return False
    if isinstance(at, IPv6Address) and at.ipv4_mapped is not None:
        return at.ipv4_mapped.is_loopback
    return at.is_loopback


def prefers_json(accept: str) -> bool:
    """Whether an ``Accept`` header asks for JSON rather than for a page.

    Browsers name ``text/html``; scripts that want JSON name ``application/json``. Where both are
    named, the larger quality decides, and of equal ones the page.
    """
    json, page = _quality(accept, "application/json"), _quality(accept, "text/html")
    return json > page


def _quality(accept: str, kind: str) -> float:
    for part in accept.lower().split(","):
        name, *parameters = (each.strip() for each in part.split(";"))
        if name == kind:
            given = [each[2:] for each in parameters if each.startswith("q=")]
            return _number(given[0]) if given else 1.0
    return 0.0


def _number(text: str) -> float:
    # Python's own numbers may be "nan", or have ten thousand digits.
    return float(text) if re.fullmatch(r"[01](\.[0-9]{0,3})?", text) else 0.0
