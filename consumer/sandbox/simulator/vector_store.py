"""The vector database behind the server: its tables, what is wrong with it, what it tells of it.

What differs between databases is in `SimulatedDatabase`, and what is broken now in `Faults`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from consumer.sandbox.simulator.embedder import Vector, score
from consumer.sandbox.simulator.faults import Faults
from consumer.sandbox.simulator.jsontext import has_lone_surrogate
from consumer.sandbox.simulator.state import Embedded, SourceFile
from consumer.sandbox.simulator.tables import RefusedError, StoredVector, TableError, Tables
from consumer.sandbox.simulator.vector_databases import LoneSurrogates, SimulatedDatabase


@dataclass(frozen=True, slots=True)
class Hit:
    """A search result before it becomes JSON; the score is None where the server says null."""

    stored: StoredVector
    distance: float
    score: float | None


class VectorStore:
    """One vector database as AnythingLLM 1.16 uses it.

    Args:
        tables: the vectors.
        faults: asked at every step, so that a change takes effect at once.
        database: which one it is.
        clock: epoch seconds.
        uuid: makes the ids of vectors.
    """

    def __init__(
        self,
        tables: Tables,
        faults: Faults,
        database: SimulatedDatabase,
        clock: Callable[[], float],
        uuid: Callable[[], str],
    ) -> None:
        self.database = database
        self._tables = tables
        self._faults = faults
        self._clock = clock
        self._uuid = uuid
        self._searches = 0

    async def insert(
        self,
        slug: str,
        doc_id: str,
        file: SourceFile,
        pieces: Sequence[Embedded],
        *,
        from_cache: bool,
    ) -> bool:
        """Store a document's vectors; false says they are lost and the server does not know.

        Raises:
            TableError: they are not stored, and the server knows it.
        """
        vectors = [
            StoredVector(self._id(file, from_cache), doc_id, file, piece) for piece in pieces
        ]
        if self._faults.database_down:
            raise TableError("the vector database is down")
        if self._loses(pieces):
            return False
        try:
            if self._faults.vectors_refused:
                raise RefusedError("the vector database refuses inserts")
            if any(self._refuses(piece.vector) for piece in pieces):
                raise RefusedError("the vector database takes no such numbers")
            await self._tables.insert(slug, doc_id, vectors, self._clock)
        except RefusedError:
            if not self.database.lies_on_insert:
                raise
            return False
        return True

    def remove(self, slug: str, doc_id: str) -> None:
        """Remove a document's vectors, or not, as the faults say.

        Raises:
            TableError: they are still there, and the server knows it.
        """
        if self._faults.database_down and not self.database.lies_when_down:
            raise TableError("the vector database is down")
        if self._faults.vectors_kept and not self.database.lies_on_delete:
            raise TableError("the vector database refuses deletes")
        if not self._deletes_fail():
            self._tables.remove(slug, doc_id)

    def count_of(self, slug: str, doc_id: str) -> int:
        """Vectors of one document."""
        table = self._tables.get(slug)
        return table.count_of(doc_id) if table else 0

    def drop(self, slug: str) -> None:
        """Remove all that is where a workspace's vectors are, or not; nobody is told."""
        if not self._deletes_fail():
            self._tables.drop(slug)

    def adds(self, slug: str) -> int:
        """Inserts ever made where a workspace's vectors are."""
        table = self._tables.get(slug)
        return table.adds if table else 0

    def count(self) -> int | str:
        """What ``vector-count`` says.

        Raises:
            TableError: the database is down, and the server knows it.
        """
        if self._looks_empty():
            return 0
        return self.database.count(self._tables.total)

    def is_empty(self, slug: str) -> bool:
        """Whether the server sees no vector for a workspace, before it looks at the query.

        Raises:
            TableError: it can't look.
        """
        if self._looks_empty():
            return True
        table = self._tables.get(slug)
        if table is None and self.database.no_search_unused:
            raise TableError("the collection was never made")
        return table is None or not table.count

    def search(self, slug: str, vector: Vector, limit: int, threshold: float) -> list[Hit]:
        """The nearest vectors whose score reaches the threshold, in the server's order.

        Raises:
            TableError: the vector has another dimension than the table, or the limit is too high.
        """
        if 0 < self._faults.most_hits < limit:
            raise TableError("more hits are asked for than the vector database gives")
        table = self._tables.get(slug)
        if table is None:
            return []
        if table.dimension != vector.dimension:
            raise TableError("the query's dimension is not the table's")
        if self._refuses(vector):
            raise TableError("the vector database searches for no such numbers")
        query = vector.as_query()
        nearest = table.nearest(
            query, limit, self._visible_until(), zeros_first=self.database.zeros_first
        )
        hits = [Hit(each, far, self._score(query, far, each)) for far, each in nearest]
        return [hit for hit in hits if self._shown(hit, threshold)]

    def _refuses(self, vector: Vector) -> bool:
        return vector.nonsense in self.database.refused_numbers

    def _id(self, file: SourceFile, from_cache: bool) -> str | None:
        random = self._uuid()
        if not self.database.file_ids:
            return random
        return None if from_cache else file.id

    def _loses(self, pieces: Sequence[Embedded]) -> bool:
        fate = self.database.lone_surrogates
        if fate is LoneSurrogates.KEPT or not any(has_lone_surrogate(p.text) for p in pieces):
            return False
        if fate is LoneSurrogates.REFUSED:
            raise TableError("the vector database refuses half an emoji")
        return True

    def _deletes_fail(self) -> bool:
        return self._faults.database_down or self._faults.vectors_kept

    def _looks_empty(self) -> bool:
        if not self._faults.database_down:
            return False
        if not self.database.lies_when_down:
            raise TableError("the vector database is down")
        return True

    def _visible_until(self) -> float:
        self._searches += 1
        is_late = self._searches % max(self._faults.late_every, 1) == 0
        late = self._faults.visible_after_seconds if is_late else 0.0
        return self._clock() - late if late else math.inf

    def _score(
        self, query: Mapping[int, float], distance: float, stored: StoredVector
    ) -> float | None:
        zeros = not query or not stored.embedded.vector.features
        return None if zeros and self.database.null_for_zeros else score(distance)

    def _shown(self, hit: Hit, threshold: float) -> bool:
        if self.database.hides_unlike and hit.distance >= 1.0:
            return False
        return hit.score is None or hit.score >= threshold
