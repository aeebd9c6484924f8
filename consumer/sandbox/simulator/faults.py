"""What can go wrong, and how a test says so.

Two ways. **Switches** are parts of the modelled server that are broken until they are switched
back (`Faults.collector = "down"`). **Rules** pick single requests by method, path and text and do
something to them a limited number of times (`Faults.rules`). Both can be changed at any time, from
Python or through ``PUT /_sim/faults``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, Literal

from consumer.sandbox.simulator.embedder import Nonsense


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


@dataclass(slots=True)
class Faults:
    """The switches and rules of one simulated server; all fine by default.

    Args:
        embedder_down: every embedding fails; uploads still answer success.
        embedder_latency: seconds one embedding call takes.
        embedder_fails_every: every n-th embedding call fails; 0 never, 1 always.
        embedder_fails_share: this share of embedding calls fails, at random; 0 to 1.
        embedder_longest: characters of all texts of one embedding call; with more it fails. 0: any.
        embedder_per_minute: characters that are embedded in a minute; a call beyond fails. 0: any.
        embedder_pace: seconds that an embedding call takes for each 1,000 characters.
        embedder_poison: texts containing one of these are refused by the embedder, always.
        embedder_nonsense: what every embedding gives, with success: ``zeros``, ``nulls``, ``nan``
            or ``constant`` (one vector for all texts); "" is none of these.
        embedder_dimension: the width of vectors from now on; None is the normal one.
        workspace_dimensions: the same for single workspaces.
        collector: ``frozen`` lets uploads hang until it changes.
        fetch_failed_every: every n-th upload answers 500 "fetch failed" and stores nothing.
        key_revoked: every key is refused.
        vectors_refused: the vector database refuses inserts. pgvector's server tells success, with
            ``cached`` and a row; the others' leave ``cached`` false.
        vectors_kept: the vector database refuses deletes. On pgvector and Milvus the row and the
            file go, the vectors stay and are found; on the others removals answer 500, and the
            file is gone while row and vectors stay.
        database_down: the vector database is down. Uploads leave ``cached`` false. On pgvector
            everything looks empty and removals are told as success; on the others searches and
            removals answer 500.
        visible_after_seconds: searches find a vector so long after it was stored.
        late_every: only every n-th search is late, as where one of n replicas lags; 1: each is.
        most_hits: a search that asks for more answers 500; 0: any number is given.
        odd_hits: what each search gives before its own hits, such as ``{"score": null}``.
        latency: seconds before any request is looked at.
        rules: see `Rule`; the first that fits strikes, delays and broken parts add up.
    """

    embedder_down: bool = False
    embedder_latency: float = 0.0
    embedder_fails_every: int = 0
    embedder_fails_share: float = 0.0
    embedder_longest: int = 0
    embedder_per_minute: int = 0
    embedder_pace: float = 0.0
    embedder_poison: list[str] = field(default_factory=list)
    embedder_nonsense: Literal["", "zeros", "nulls", "nan", "constant"] = ""
    embedder_dimension: int | None = None
    workspace_dimensions: dict[str, int] = field(default_factory=dict)
    collector: Literal["up", "down", "frozen"] = "up"
    fetch_failed_every: int = 0
    key_revoked: bool = False
    vectors_refused: bool = False
    vectors_kept: bool = False
    database_down: bool = False
    visible_after_seconds: float = 0.0
    late_every: int = 1
    most_hits: int = 0
    odd_hits: list[Any] = field(default_factory=list)
    latency: float = 0.0
    rules: list[Rule] = field(default_factory=list)

    def add(self, kind: FaultKind | str, **details: Any) -> Rule:
        """Add a rule; details are those of `Rule` and `Action` together.

        Example: ``faults.add("status", status=429, headers={"Retry-After": "1"}, times=2)``.
        """
        rule = rule_from({"kind": kind, **details})
        self.rules.append(rule)
        return rule

    def clear(self) -> None:
        """Everything fine again; held requests go on."""
        self.update(to_json(Faults()))

    def update(self, wanted: Mapping[str, Any]) -> None:
        """Set the named switches and leave the others; ``rules`` replaces all rules.

        Raises:
            ValueError: an unknown name, or a value of the wrong kind.
        """
        normal = to_json(Faults())
        for name, value in wanted.items():
            _check(name, value, normal)
        new = dict(wanted)
        if "rules" in wanted:
            new["rules"] = [rule_from(rule) for rule in wanted["rules"]]
        for name, value in new.items():
            setattr(self, name, value)


def rule_from(details: Mapping[str, Any]) -> Rule:
    """A rule from one flat object, as ``/_sim/faults`` takes it.

    Raises:
        ValueError: an unknown name or kind.
    """
    known_action = {f.name for f in dataclasses.fields(Action)}
    in_action = {name: value for name, value in details.items() if name in known_action}
    in_rule = {name: value for name, value in details.items() if name not in known_action}
    try:
        action = Action(**{**in_action, "kind": FaultKind(in_action["kind"])})
        return Rule(action, **in_rule)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not a rule: {error}") from None


def to_json(faults: Faults) -> dict[str, Any]:
    """The switches and rules as ``/_sim/faults`` shows them, rules with their counts."""
    shown = {f.name: getattr(faults, f.name) for f in dataclasses.fields(faults)}
    shown["rules"] = [_flat(rule) for rule in faults.rules]
    return shown


def _flat(rule: Rule) -> dict[str, Any]:
    flat = {f.name: getattr(rule, f.name) for f in dataclasses.fields(rule) if f.name != "action"}
    action = {f.name: getattr(rule.action, f.name) for f in dataclasses.fields(rule.action)}
    return {**action, **flat}


def _check(name: str, value: Any, normal: Mapping[str, Any]) -> None:
    if name not in normal:
        raise ValueError(f"unknown switch {name!r}; known are {', '.join(normal)}")
    if name == "collector" and value not in ("up", "down", "frozen"):
        raise ValueError("collector is up, down or frozen")
    if name == "embedder_nonsense" and value not in ("", *Nonsense):
        raise ValueError(f"embedder_nonsense is empty or one of {', '.join(Nonsense)}")
    usual = type(normal[name])
    wanted = {float: (int, float), type(None): (int, type(None))}.get(usual, (usual,))
    if type(value) not in wanted:
        raise ValueError(f"{name} takes {' or '.join(kind.__name__ for kind in wanted)}")
