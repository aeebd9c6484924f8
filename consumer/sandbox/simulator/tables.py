"""The vector tables, with the creation races of AnythingLLM 1.16.

On LanceDB a workspace's table is made by its first insert: look whether it is there, and if not
create it, with time passing between the two. Whoever looks in that time goes on to create it too,
and then either fails ("Table already exists": that upload is lost) or replaces the table (what
others had stored in it meanwhile is wiped, after their success was answered). Measured: of n
concurrent first uploads n-1 to 4 were lost in every trial; once the table exists nothing is.
Removing all vectors keeps the table; deleting the workspace drops it and re-opens the race.

pgvector has one table for all workspaces: while it does not exist, concurrent uploads fail now and
then, and nothing is wiped (measured: up to 4 of 8). Chroma and Milvus have no race.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from consumer.sandbox.simulator.embedder import Nonsense, cut, distance
from consumer.sandbox.simulator.state import Embedded, SourceFile
from consumer.sandbox.simulator.vector_databases import LANCEDB, Race, SimulatedDatabase

CREATION_SECONDS = 0.05
"""How long creating a table takes: whoever looks for it in that time does not see it."""


class TableError(Exception):
    """The vector database failed; AnythingLLM answers an upload with success all the same."""


class RefusedError(TableError):
    """The vector database would not take these vectors."""


@dataclass(frozen=True, slots=True)
class StoredVector:
    """A searchable piece of a file; nothing refers to ``id``, and some hits have none."""

    id: str | None
    doc_id: str
    file: SourceFile
    embedded: Embedded


@dataclass(slots=True)
class Table:
    """One workspace's vectors, by document."""

    dimension: int
    by_document: dict[str, list[StoredVector]] = field(default_factory=dict)
    stored_at: dict[str, float] = field(default_factory=dict)
    """When each document's vectors came, in epoch seconds."""
    adds: int = 0
    """Inserts ever made: deleting gets slower with each."""

    @property
    def count(self) -> int:
        """Searchable vectors."""
        return sum(map(len, self.by_document.values()))

    def count_of(self, doc_id: str) -> int:
        """Searchable vectors of one row."""
        return len(self.by_document.get(doc_id, ()))

    def nearest(
        self,
        query: Mapping[int, float],
        limit: int,
        until: float = math.inf,
        *,
        zeros_first: bool = False,
    ) -> list[tuple[float, StoredVector]]:
        """The nearest vectors that came until then, nearest first; vectors of zeros are last."""
        ranked = [
            (distance(query, stored.embedded.vector), stored)
            for doc_id, vectors in self.by_document.items()
            if self.stored_at[doc_id] <= until
            for stored in vectors
        ]

        def rank(pair: tuple[float, StoredVector]) -> tuple[bool, float, bool]:
            vector = pair[1].embedded.vector
            is_zero = not vector.features and vector.nonsense is not Nonsense.NAN
            return not (zeros_first and is_zero), pair[0], not vector.features

        ranked.sort(key=rank)
        return ranked[:limit]

    def remove(self, doc_id: str) -> int:
        """Remove a document's vectors; how many there were."""
        self.stored_at.pop(doc_id, None)
        return len(self.by_document.pop(doc_id, ()))


class Tables:
    """All tables, by what the database makes of workspace slugs.

    Args:
        rng: decides what becomes of a creation that finds the table made meanwhile.
        wiped: called with the slug and the rows' document ids whose vectors were just wiped.
        creation_seconds: the length of the race.
        database: says which race there is and which workspaces share a table.
    """

    def __init__(
        self,
        rng: random.Random,
        wiped: Callable[[str, Sequence[StoredVector]], None],
        creation_seconds: float = CREATION_SECONDS,
        database: SimulatedDatabase = LANCEDB,
    ) -> None:
        self._rng = rng
        self._wiped = wiped
        self._creation_seconds = creation_seconds
        self._database = database
        self._tables: dict[str, Table] = {}
        self._dimension: int | None = None

    def clear(self) -> None:
        """Drop all tables."""
        self._tables.clear()
        self._dimension = None

    def put_back(self, tables: Mapping[str, Table], dimension: int | None) -> None:
        """Hold these, and nothing else (`state_file`)."""
        self._tables = dict(tables)
        self._dimension = dimension

    @property
    def every(self) -> Mapping[str, Table]:
        """All tables, by their names in the database."""
        return self._tables

    @property
    def dimension(self) -> int | None:
        """Of the last table that was made; where all share one, of all of them."""
        return self._dimension

    def get(self, slug: str) -> Table | None:
        """A workspace's table, if it was ever created."""
        return self._tables.get(self._database.collection(slug))

    def drop(self, slug: str) -> None:
        """Drop a workspace's table, vectors and all, whoever shares it."""
        self._tables.pop(self._database.collection(slug), None)

    @property
    def total(self) -> int:
        """Vectors in all tables."""
        return sum(table.count for table in self._tables.values())

    async def insert(
        self,
        slug: str,
        doc_id: str,
        vectors: Sequence[StoredVector],
        clock: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """Add a document's vectors, creating the table where it is not seen.

        Raises:
            RefusedError: the table has another dimension.
            TableError: somebody else just created the table.
        """
        dimension = vectors[0].embedded.vector.dimension
        table = self.get(slug) or await self._created(slug, dimension)
        if dimension > table.dimension and self._database.cuts_longer:
            vectors = [_cut(each, table.dimension) for each in vectors]
        elif table.dimension != dimension:
            raise RefusedError(f"vectors of {dimension} in a table of {table.dimension}")
        table.by_document[doc_id] = list(vectors)
        table.stored_at[doc_id] = clock()
        table.adds += 1

    def remove(self, slug: str, doc_id: str) -> int:
        """Remove a document's vectors; how many there were. The emptied table stays."""
        table = self.get(slug)
        return table.remove(doc_id) if table else 0

    async def _created(self, slug: str, dimension: int) -> Table:
        race = self._database.race
        if race is Race.WIPES:
            await self._creation()
            self._wipe(slug)
        elif race is Race.REFUSES and not self._anything_made():
            await self._creation()
            if self._anything_made():
                self._lose_at_random()
        if race is not Race.WIPES and (made_meanwhile := self.get(slug)):
            return made_meanwhile
        return self._create(slug, dimension)

    def _anything_made(self) -> bool:
        return self._dimension is not None

    async def _creation(self) -> None:
        await asyncio.sleep(self._creation_seconds * (0.5 + self._rng.random()))

    def _lose_at_random(self) -> None:
        if self._rng.random() < 0.5:
            raise TableError("table already exists")

    def _wipe(self, slug: str) -> None:
        """Replace a table that somebody made meanwhile, or lose against them."""
        made_meanwhile = self.get(slug)
        if made_meanwhile is not None:
            self._lose_at_random()
            lost = [v for vectors in made_meanwhile.by_document.values() for v in vectors]
            self._wiped(slug, lost)

    def _create(self, slug: str, dimension: int) -> Table:
        if self._dimension is None or not self._database.shared_dimension:
            self._dimension = dimension
        table = self._tables[self._database.collection(slug)] = Table(self._dimension)
        return table


def _cut(stored: StoredVector, dimension: int) -> StoredVector:
    piece = stored.embedded
    return replace(stored, embedded=Embedded(piece.text, cut(piece.vector, dimension)))
