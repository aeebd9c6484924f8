"""Rules: what happens to single requests, picked by method, path and text (`faults`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any


class FaultKind(StrEnum):
    """What a rule does to a request.

    Before the request takes effect: ``delay`` (seconds), ``hold`` (until the rule is released or
    gone).
    Instead of it: ``reset`` (TCP reset, request not read), ``fin`` (connection closed), ``status``
    (with headers and body; a web page, or what is applied, comes from a proxy, so it has no header
    of AnythingLLM's), ``html`` (200 with a web page), ``redirect`` (307 to ``body``);
    ``apply`` lets it take effect all the same, ``late`` only so many seconds afterwards. With
    ``seconds`` the answer comes after these: a proxy that gives up waiting.
    After it took effect: ``reset-after`` and ``fin-after`` (the answer is lost), ``hold-after``,
    ``half-body`` (connection breaks in the middle), ``truncated`` (complete HTTP, cut JSON),
    ``drip`` (64 bytes every ``seconds``), ``large-header`` (64 KiB), ``unreadable-header``.
    Lies: ``pretend`` (success for an upload that is not stored), ``wrong-location`` (success with
    the location of another file).
    The whole server: ``kill`` (it dies: connections break, what is under way never takes effect,
    and for ``seconds`` connections are refused; with ``apply`` the request took effect before).
    With ``gateway`` a proxy stands before it, and answers ``status`` instead of all that.
    Parts broken for this request only: ``embedder-fails``, ``fetch-failed`` (the server's stale
    connection to its collector), ``collector-down``, ``key-refused``.
    """

    DELAY = "delay"
    HOLD = "hold"
    RESET = "reset"
    FIN = "fin"
    STATUS = "status"
    HTML = "html"
    REDIRECT = "redirect"
    RESET_AFTER = "reset-after"
    FIN_AFTER = "fin-after"
    HOLD_AFTER = "hold-after"
    HALF_BODY = "half-body"
    TRUNCATED = "truncated"
    DRIP = "drip"
    LARGE_HEADER = "large-header"
    UNREADABLE_HEADER = "unreadable-header"
    PRETEND = "pretend"
    WRONG_LOCATION = "wrong-location"
    KILL = "kill"
    EMBEDDER_FAILS = "embedder-fails"
    FETCH_FAILED = "fetch-failed"
    COLLECTOR_DOWN = "collector-down"
    KEY_REFUSED = "key-refused"


INSTEAD = frozenset(
    {
        FaultKind.STATUS,
        FaultKind.HTML,
        FaultKind.REDIRECT,
        FaultKind.RESET,
        FaultKind.FIN,
        FaultKind.KILL,
    }
)
AFTER = frozenset(
    {
        FaultKind.RESET_AFTER,
        FaultKind.FIN_AFTER,
        FaultKind.HALF_BODY,
        FaultKind.TRUNCATED,
        FaultKind.DRIP,
        FaultKind.LARGE_HEADER,
        FaultKind.UNREADABLE_HEADER,
    }
)
FLAGS = frozenset(
    {
        FaultKind.PRETEND,
        FaultKind.WRONG_LOCATION,
        FaultKind.EMBEDDER_FAILS,
        FaultKind.FETCH_FAILED,
        FaultKind.COLLECTOR_DOWN,
        FaultKind.KEY_REFUSED,
    }
)
"""The kinds that the endpoints themselves act on."""


@dataclass(frozen=True, slots=True)
class Action:
    """What a rule does, in detail.

    Args:
        kind: what happens (`FaultKind`).
        status: for ``status``.
        headers: for ``status``, such as ``{"Retry-After": "2"}``.
        body: the answer's text for ``status``, the address for ``redirect``.
        seconds: for ``delay``, ``drip`` and ``kill``, and before what comes instead of the request.
        apply: for what comes instead of the request: it takes effect all the same.
        late: with ``apply``: so many seconds after the answer, as behind a proxy that gave up.
        gateway: for ``kill``: a proxy answers ``status`` while the server is dead.
    """

    kind: FaultKind
    status: int = 503
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    seconds: float = 0.0
    apply: bool = False
    late: float = 0.0
    gateway: bool = False


@dataclass(slots=True)
class Rule:
    """One thing that happens to some requests.

    Args:
        action: what.
        method: upper case, ``*`` for any.
        path: pattern as in a shell, over the lower-case path without query: ``*/raw-text``.
        contains: only requests whose text, query, input or names contain this.
        longer: only requests whose text, query or input has more characters; 0: any.
        times: how often at most; None is for ever.
        skip: matching requests left alone first.
        every: then only each n-th matching request, beginning with the first.
        released: set true to let the requests go on that ``hold`` keeps.
    """

    action: Action
    method: str = "*"
    path: str = "*"
    contains: str = ""
    longer: int = 0
    times: int | None = None
    skip: int = 0
    every: int = 1
    released: bool = False
    seen: int = field(default=0, compare=False)
    fired: int = field(default=0, compare=False)

    def take(self, method: str, path: str, text: str) -> bool:
        """Whether the rule strikes this request; counts it if it does."""
        if self.method not in ("*", method) or not fnmatchcase(path, self.path):
            return False
        if self.contains not in text or (self.longer and len(text) <= self.longer):
            return False
        self.seen += 1
        due = self.seen > self.skip and (self.seen - self.skip - 1) % self.every == 0
        if not due or (self.times is not None and self.fired >= self.times):
            return False
        self.fired += 1
        return True


def rule_from(details: Mapping[str, Any]) -> Rule:
    """A rule from one flat object, as ``/_sim/faults`` takes it.

    Raises:
        ValueError: an unknown name or kind, or a value that makes no sense.
    """
    kind = details.get("kind")
    if kind not in list(FaultKind):
        raise ValueError(f"not a rule: kind is {kind!r}; known are {', '.join(FaultKind)}")
    normal = flat_rule(Rule(Action(FaultKind(kind))))
    for name, value in details.items():
        _check(name, value, normal)
    in_action = {f.name for f in dataclasses.fields(Action)} - {"kind"}
    action = {name: value for name, value in details.items() if name in in_action}
    rest = {name: value for name, value in details.items() if name in normal.keys() - in_action}
    rest.pop("kind")
    return Rule(Action(FaultKind(kind), **action), **rest)


def _check(name: str, value: object, normal: Mapping[str, Any]) -> None:
    if name not in normal:
        raise ValueError(f"not a rule: unknown field {name!r}; known are {', '.join(normal)}")
    if name == "kind":
        return
    kind = type(normal[name])
    wanted = {float: (int, float), type(None): (int, type(None))}.get(kind, (kind,))
    if type(value) not in wanted:
        says = {"NoneType": "null", "dict": "object", "str": "text"}
        named = " or ".join(says.get(each.__name__, each.__name__) for each in wanted)
        raise ValueError(f"not a rule: {name} takes {named}, not {value!r}")
    if isinstance(value, dict) and not all(isinstance(each, str) for each in value.values()):
        raise ValueError(f"not a rule: {name} takes texts, not {value!r}")
    least = _LEAST.get(name, 0)
    if isinstance(value, int | float) and not isinstance(value, bool) and value < least:
        raise ValueError(f"not a rule: {name} is {least} at least, not {value!r}")


_LEAST = {"every": 1, "status": 100}


def flat_rule(rule: Rule) -> dict[str, Any]:
    """A rule as ``/_sim/faults`` shows it, with its counts: `rule_from` takes it."""
    flat = {f.name: getattr(rule, f.name) for f in dataclasses.fields(rule) if f.name != "action"}
    action = {f.name: getattr(rule.action, f.name) for f in dataclasses.fields(rule.action)}
    return {**action, **flat}
