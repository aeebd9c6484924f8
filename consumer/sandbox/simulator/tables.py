"""The vector tables, with the creation race of AnythingLLM 1.16 on LanceDB.

A workspace's table is made by its first insert: look whether it is there, and if not create it,
with time passing between the two. Whoever looks in that time goes on to create it too, and then
either fails ("Table already exists": that upload is lost) or replaces the table (what others had
stored in it meanwhile is wiped, after their success was answered). Measured: of n concurrent first
uploads n-1 to 4 were lost in every trial; once the table exists nothing is. Removing all vectors
keeps the table; deleting the workspace drops it and re-opens the race.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from consumer.sandbox.simulator.embedder import distance
from consumer.sandbox.simulator.state import Embedded, SourceFile

CREATION_SECONDS = 0.05
"""How long creating a table takes: whoever looks for it in that time does not see it."""


class TableError(Exception):
    """The vector database refused; AnythingLLM answers success all the same."""


@dataclass(frozen=True, slots=True)
class StoredVector:
    """A searchable piece of a file; ``id`` is random and nothing refers to it."""

    id: str
    doc_id: str
    file: SourceFile
    embedded: Embedded


@dataclass(slots=True)
class Table:
    """One workspace's vectors, by document."""

    dimension: int
    by_document: dict[str, list[StoredVector]] = field(default_factory=dict)
    adds: int = 0
    """Inserts ever made: deleting gets slower with each."""

    @property
    def count(self) -> int:
        """Searchable vectors."""
        return sum(map(len, self.by_document.values()))

    def count_of(self, doc_id: str) -> int:
        """Searchable vectors of one row."""
        return len(self.by_document.get(doc_id, ()))

    def nearest(self, query: Mapping[int, float], limit: int) -> list[tuple[float, StoredVector]]:
        """The nearest vectors, nearest first."""
        ranked = [
            (distance(query, stored.embedded.vector), stored)
            for vectors in self.by_document.values()
            for stored in vectors
        ]
        ranked.sort(key=lambda pair: pair[0])
        return ranked[:limit]


class Tables:
    """All tables, by workspace slug.

    Args:
        rng: decides what becomes of a creation that finds the table made meanwhile.
        wiped: called with the slug and the rows' document ids whose vectors were just wiped.
        creation_seconds: the length of the race.
    """

    def __init__(
        self,
        rng: random.Random,
        wiped: Callable[[str, Sequence[StoredVector]], None],
        creation_seconds: float = CREATION_SECONDS,
    ) -> None:
        self._rng = rng
        self._wiped = wiped
        self._creation_seconds = creation_seconds
        self._tables: dict[str, Table] = {}

    def clear(self) -> None:
        """Drop all tables."""
        self._tables.clear()

    def get(self, slug: str) -> Table | None:
        """A workspace's table, if it was ever created."""
        return self._tables.get(slug)

    def drop(self, slug: str) -> None:
        """Drop a workspace's table, vectors and all."""
        self._tables.pop(slug, None)

    @property
    def total(self) -> int:
        """Vectors in all tables."""
        return sum(table.count for table in self._tables.values())

    async def insert(self, slug: str, doc_id: str, vectors: Sequence[StoredVector]) -> None:
        """Add a document's vectors, creating the table where it is not seen.

        Raises:
            TableError: the table has another dimension, or somebody else just created it.
        """
        dimension = vectors[0].embedded.vector.dimension
        if (table := self._tables.get(slug)) is None:
            await asyncio.sleep(self._creation_seconds * (0.5 + self._rng.random()))
            table = self._create(slug, dimension)
        if table.dimension != dimension:
            raise TableError(f"vectors of {dimension} in a table of {table.dimension}")
        table.by_document[doc_id] = list(vectors)
        table.adds += 1

    def remove(self, slug: str, doc_id: str) -> int:
        """Remove a document's vectors; how many there were. The emptied table stays."""
        table = self._tables.get(slug)
        return len(table.by_document.pop(doc_id, ())) if table else 0

    def _create(self, slug: str, dimension: int) -> Table:
        made_meanwhile = self._tables.get(slug)
        if made_meanwhile is not None:
            if self._rng.random() < 0.5:
                raise TableError("table already exists")
            lost = [v for vectors in made_meanwhile.by_document.values() for v in vectors]
            self._wiped(slug, lost)
        table = self._tables[slug] = Table(dimension)
        return table
