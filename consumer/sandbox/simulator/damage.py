"""Planting what crashes and races leave behind, so that tests can look for it.

Nothing here happens in answer to a request of AnythingLLM's API: it is what the API can only show
afterwards. What the API itself can bring about (doubles, files in no workspace, rows of one file
twice) needs no planting.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from consumer.sandbox.simulator.embedder import zeros
from consumer.sandbox.simulator.journal import Journal
from consumer.sandbox.simulator.jsontext import dumps, loads
from consumer.sandbox.simulator.state import Embedded, EmbeddedRow, SimulatorState
from consumer.sandbox.simulator.tables import StoredVector, Tables


class Damage(StrEnum):
    """What can be planted.

    ``vectors-lost``  the row stays and nothing is found, as after the creation race.
    ``row-lost``      the vectors stay and nothing lists them, as after a crash in between.
    ``aged``          the row was made so many seconds earlier.
    ``zeroed``        the vectors become zeros, as an embedder may give them.
    """

    VECTORS_LOST = "vectors-lost"
    ROW_LOST = "row-lost"
    AGED = "aged"
    ZEROED = "zeroed"


class Damages:
    """Plants damage in a simulated server.

    Args:
        state: rows.
        tables: vectors.
        journal: told of it.
    """

    def __init__(self, state: SimulatorState, tables: Tables, journal: Journal) -> None:
        self._state = state
        self._tables = tables
        self._journal = journal

    def plant(
        self, kind: Damage | str, slug: str, location: str | None = None, seconds: float = 0.0
    ) -> int:
        """Damage rows of a workspace.

        Args:
            kind: what becomes of them.
            slug: the workspace.
            location: only the oldest row of this file; None: every row.
            seconds: for ``aged``.

        Returns:
            How many rows were damaged.

        Raises:
            ValueError: an unknown kind or workspace.
        """
        damage, workspace = Damage(kind), self._state.workspaces.get(slug)
        if workspace is None:
            raise ValueError(f"no workspace {slug!r}")
        rows = [row for row in workspace.rows.values() if location in (None, row.file.location)]
        if location is not None:
            del rows[1:]
        for row in rows:
            self._damage(damage, row, seconds)
        self._journal.record("damage.planted", kind=damage, slug=slug, rows=len(rows))
        return len(rows)

    def _damage(self, damage: Damage, row: EmbeddedRow, seconds: float) -> None:
        match damage:
            case Damage.VECTORS_LOST:
                self._tables.remove(row.workspace, row.doc_id)
            case Damage.ROW_LOST:
                self._state.remove_row(row)
            case Damage.AGED:
                self._state.replace_row(row, _aged(row.json, seconds))
            case Damage.ZEROED:
                self._zero(row)

    def _zero(self, row: EmbeddedRow) -> None:
        table = self._tables.get(row.workspace)
        vectors = table.by_document.get(row.doc_id, []) if table else []
        vectors[:] = [_zeroed(stored) for stored in vectors]


def _zeroed(stored: StoredVector) -> StoredVector:
    nothing = zeros(stored.embedded.vector.dimension)
    return replace(stored, embedded=Embedded(stored.embedded.text, nothing))


def _aged(shown: bytes, seconds: float) -> bytes:
    fields = loads(shown)
    made = datetime.fromisoformat(fields["createdAt"]) - timedelta(seconds=seconds)
    instant = made.astimezone(UTC).isoformat(timespec="milliseconds")[:23] + "Z"
    return dumps({**fields, "createdAt": instant, "lastUpdatedAt": instant})
