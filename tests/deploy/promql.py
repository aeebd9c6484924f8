"""What a PromQL expression asks for, and whether our metrics have it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import promql_parser
from prometheus_client.parser import text_string_to_metric_families
from promql_parser import (
    AggregateExpr,
    BinaryExpr,
    Expr,
    LabelModifierType,
    MatchOp,
    VectorSelector,
)

from consumer.model.names import ServerName
from consumer.telemetry.metrics import Metrics
from consumer.telemetry.servers_metrics import ServersMetrics

OF_THE_SCRAPE = frozenset({"job", "instance"})
"""Labels that Prometheus itself adds."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One selector of an expression.

    Args:
        name: of the metric.
        matched: labels that it chooses by.
        grouped: labels that aggregations around it keep.
        values: by label, those that are asked for exactly.
    """

    name: str
    matched: frozenset[str]
    grouped: frozenset[str]
    values: Mapping[str, str]


def asked_of(expression: str) -> list[Asked]:
    """Every selector in an expression.

    Raises:
        ValueError: it is no PromQL.
    """
    return list(_selectors(promql_parser.parse(expression), frozenset()))


def _selectors(expression: Expr, grouped: frozenset[str]) -> Iterator[Asked]:
    if isinstance(expression, AggregateExpr) and expression.modifier is not None:
        grouped |= set(expression.modifier.labels)
    if isinstance(expression, VectorSelector):
        matchers = expression.matchers.matchers
        yield Asked(
            expression.name or "",
            frozenset(matcher.name for matcher in matchers),
            grouped,
            {each.name: each.value for each in matchers if each.op == MatchOp.Equal},
        )
    for part in _parts(expression):
        yield from _selectors(part, _kept(expression, part, grouped))


def _kept(expression: Expr, part: Expr, grouped: frozenset[str]) -> frozenset[str]:
    """What a part needs of ``grouped``: the right side of ``and on`` has only what it names."""
    if not (isinstance(expression, BinaryExpr) and part is expression.rhs):
        return grouped
    matching = expression.modifier and expression.modifier.matching
    if matching and matching.type == LabelModifierType.Include:
        return frozenset(matching.labels)
    return grouped


def _parts(expression: Expr) -> Iterator[Expr]:
    for name in ("lhs", "rhs", "expr", "vector_selector", "param"):
        part = getattr(expression, name, None)
        if isinstance(part, Expr):
            yield part
    yield from getattr(expression, "args", ())


def known_metrics() -> dict[str, dict[str, set[str]]]:
    """By name of a series its labels, and by label the values that a fresh process has."""
    known: dict[str, dict[str, set[str]]] = {"up": {}}
    for metrics in (Metrics(), ServersMetrics([ServerName("eu-1")])):
        # These have no series before there is something to tell.
        metrics.set_lags({("documents", 0): 1}, {("documents", 0): 1})
        for family in text_string_to_metric_families(metrics.render().decode()):
            for sample in family.samples:
                labels = known.setdefault(sample.name, {})
                for label, value in sample.labels.items():
                    labels.setdefault(label, set()).add(value)
    return known


def strangers(expression: str) -> list[str]:
    """What an expression asks for and our metrics do not have."""
    known = known_metrics()
    found = []
    for asked in asked_of(expression):
        if asked.name not in known:
            found.append(f"no metric {asked.name}")
            continue
        labels = known[asked.name]
        found += [
            f"{asked.name} has no label {label}"
            for label in sorted((asked.matched | asked.grouped) - labels.keys() - OF_THE_SCRAPE)
        ]
        found += [
            f"{asked.name} has no {label}={value}"
            for label, value in asked.values.items()
            if value not in labels.get(label, {value})
        ]
    return found
