"""``/_sim/…``: the simulator's own endpoints, for tests and checkers in other processes.

    GET  /_sim/faults          the switches and rules, rules with how often they struck
    PUT  /_sim/faults          set the named switches, leave the others; "rules" replaces all rules
    GET  /_sim/state           workspaces with their rows and vectors, and the number of files
    GET  /_sim/chunks/{slug}   [docSource, text, searchable copies] of every row
    GET  /_sim/journal?since=n what was done after entry n
    POST /_sim/damage          {"kind", "slug", "location", "seconds"}: what crashes leave
    POST /_sim/reset           forget {"state", "faults", "journal"}: all, or those given as true

Rules are flat objects: ``{"kind": "status", "status": 429, "headers": {"Retry-After": "1"},
"path": "*/raw-text", "times": 2}``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from consumer.sandbox.simulator import faults
from consumer.sandbox.simulator.exchange import NOT_FOUND, WireAnswer, json_answer
from consumer.sandbox.simulator.journal import Journal
from consumer.sandbox.simulator.jsontext import loads
from consumer.sandbox.simulator.state import SimulatorState
from consumer.sandbox.simulator.tables import Tables

PREFIX = "/_sim/"


class Controlled(Protocol):
    """The parts of the simulator that these endpoints show and change."""

    faults: faults.Faults
    journal: Journal
    state: SimulatorState
    tables: Tables

    def chunks(self, slug: str) -> Sequence[tuple[str, str, int]]:
        """Every row of a workspace."""
        ...

    def damage(
        self, kind: str, slug: str, location: str | None = None, seconds: float = 0.0
    ) -> int:
        """Plant what crashes and races leave behind."""
        ...

    def reset(self, **what: bool) -> None:
        """Forget what is named, or everything."""
        ...


async def control(
    simulator: Controlled, method: str, path: str, since: str, body: bytes
) -> WireAnswer:
    """Answer a request to the simulator itself; wrong ones get 400 with the reason."""
    try:
        return _control(simulator, method, path.removeprefix(PREFIX), since, body)
    except (ValueError, TypeError, AttributeError) as error:
        return json_answer({"error": str(error)}, 400)


def _control(simulator: Controlled, method: str, what: str, since: str, body: bytes) -> WireAnswer:
    match method, what.split("/"):
        case "GET", ["faults"]:
            return json_answer(faults.to_json(simulator.faults))
        case "PUT", ["faults"]:
            simulator.faults.update(loads(body))
            return json_answer(faults.to_json(simulator.faults))
        case "GET", ["state"]:
            return json_answer(summary(simulator))
        case "GET", ["chunks", slug]:
            return json_answer({"chunks": simulator.chunks(slug)})
        case "GET", ["journal"]:
            return json_answer({"entries": simulator.journal.since(int(since or 0))})
        case "POST", ["damage"]:
            return json_answer({"rows": simulator.damage(**loads(body))})
        case "POST", ["reset"]:
            simulator.reset(**(loads(body) if body else {}))
            return json_answer({"reset": True})
        case _:
            return NOT_FOUND


def summary(simulator: Controlled) -> dict[str, Any]:
    """The state in numbers."""
    workspaces = {}
    for slug, workspace in simulator.state.workspaces.items():
        table = simulator.tables.get(slug)
        workspaces[slug] = {
            "id": workspace.id,
            "name": workspace.fields["name"],
            "rows": len(workspace.rows),
            "table": table is not None,
            "vectors": table.count if table else 0,
        }
    return {"workspaces": workspaces, "files": len(simulator.state.files)}
