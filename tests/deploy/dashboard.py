"""The dashboard's queries, as Grafana sends them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.deploy.places import MONITORING

DASHBOARD: dict[str, Any] = json.loads((MONITORING / "grafana" / "dashboard.json").read_text())

# What Grafana puts in the place of its variables while everything is chosen.
_VARIABLES = {"$__rate_interval": "1m", "$job": ".*", "$instance": ".*"}


def panels() -> list[dict[str, Any]]:
    """Those that show something: rows only head them."""
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def queries() -> Iterator[tuple[str, str]]:
    """Title and expression of every query, also of the annotations."""
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], filled_in(target["expr"])
    for annotation in DASHBOARD["annotations"]["list"]:
        yield annotation["name"], filled_in(annotation["expr"])


def filled_in(expression: str) -> str:
    """An expression without variables."""
    for name, value in _VARIABLES.items():
        expression = expression.replace(name, value)
    return expression
