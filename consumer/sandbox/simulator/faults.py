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
from typing import Any, Literal

from consumer.sandbox.simulator.embedder import Nonsense
from consumer.sandbox.simulator.fault_rules import (
    FaultKind,
    Rule,
    flat_rule,
    rule_from,
)


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


def to_json(faults: Faults) -> dict[str, Any]:
    """The switches and rules as ``/_sim/faults`` shows them, rules with their counts."""
    shown = {f.name: getattr(faults, f.name) for f in dataclasses.fields(faults)}
    shown["rules"] = [flat_rule(rule) for rule in faults.rules]
    return shown


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
