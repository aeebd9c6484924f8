"""How AnythingLLM 1.16 behaves on each vector database: one value a database, no code elsewhere.

Measured on pgvector 0.6.2 (PostgreSQL 16.2), Chroma 1.5.9 and Milvus Lite 3.2.2; what is only read
in the server's source, or not known at all, is said where it stands.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from consumer.sandbox.simulator.embedder import Nonsense

_LONGEST_CHROMA_NAME = 63
_SHORTEST_CHROMA_NAME = 3
_PREFIX = "anythingllm-"
_NOT_IN_CHROMA = re.compile(r"[^a-zA-Z0-9_-]")
_NOT_IN_MILVUS = re.compile(r"[^a-zA-Z0-9_]")
_DROPPED_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")


class VectorDb(StrEnum):
    """The vector databases that are simulated, as ``VECTOR_DB`` and the metrics call them."""

    LANCEDB = "lancedb"
    PGVECTOR = "pgvector"
    CHROMA = "chroma"
    MILVUS = "milvus"


class Race(StrEnum):
    """What concurrent first uploads do to each other.

    ``none``    nothing.
    ``wipes``   one in two fails, the other wipes what was stored meanwhile (LanceDB).
    ``refuses`` one in two fails and says so by ``cached``, only while the database is empty.
    """

    NONE = "none"
    WIPES = "wipes"
    REFUSES = "refuses"


class LoneSurrogates(StrEnum):
    """What becomes of a text with half an emoji in it.

    ``kept``    it is stored.
    ``refused`` ``cached`` stays false, for ever.
    ``lost``    ``cached`` becomes true and the row is listed, and there is no vector.
    """

    KEPT = "kept"
    REFUSED = "refused"
    LOST = "lost"


def _as_it_is(value: str) -> str:
    return value


def _exact(vectors: int) -> int | str:
    return vectors


@dataclass(frozen=True, slots=True)
class SimulatedDatabase:
    """What a client of AnythingLLM 1.16 meets on one vector database.

    Args:
        name: what the metrics say.
        race: what concurrent first uploads do.
        collection: where a workspace's vectors are, by slug; workspaces may share one.
        shared_dimension: the first upload ever fixes the width of all workspaces' vectors.
        shows_distance: hits have a ``distance``.
        file_ids: the ``id`` of a hit is the one in the file's name, absent where the vectors came
            from the cache; otherwise it is random.
        null_for_zeros: a vector of zeros has the score null, and passes every threshold.
        zeros_first: vectors of zeros come before all others, whatever is searched for.
        refused_numbers: what it takes in no vector, neither stored nor searched for; other nulls
            are zeros to it.
        cuts_longer: vectors that are wider than its table are stored as far as they fit, with
            success; they are like nothing then.
        hides_unlike: what has nothing in common with the query is left out at any threshold. The
            real bound is a cosine below 0, which the simulated embedder never gives.
        no_search_unused: a search where nothing was ever stored answers 500.
        count: what ``vector-count`` says.
        stored_text: what becomes of a text that is stored.
        lone_surrogates: what becomes of half an emoji.
        lies_on_insert: a refused insert is told as success, ``cached`` included.
        lies_on_delete: a refused delete is told as success; the vectors stay.
        lies_when_down: a database that is down looks empty, and deletes are told as success.
        row_seconds: between a document's vectors and its ``cached``, and from there to its row: a
            server that is killed then leaves vectors that nothing lists.
    """

    name: VectorDb
    race: Race = Race.NONE
    collection: Callable[[str], str] = _as_it_is
    shared_dimension: bool = False
    shows_distance: bool = False
    file_ids: bool = True
    null_for_zeros: bool = False
    zeros_first: bool = False
    refused_numbers: frozenset[Nonsense] = frozenset({Nonsense.NULLS, Nonsense.NAN})
    cuts_longer: bool = False
    hides_unlike: bool = False
    no_search_unused: bool = False
    count: Callable[[int], int | str] = _exact
    stored_text: Callable[[str], str] = _as_it_is
    lone_surrogates: LoneSurrogates = LoneSurrogates.REFUSED
    lies_on_insert: bool = False
    lies_on_delete: bool = False
    lies_when_down: bool = False
    row_seconds: float = 0.0


def chroma_collection(slug: str) -> str:
    """The collection of a workspace on Chroma: 3 to 63 characters, no sign at either end.

    Slugs that are equal in their first 63 characters share one; so do ``x`` and ``x_``, ``_x`` and
    ``anythingllm-x``, ``go`` and ``anythingllm-go``.
    """
    name = _NOT_IN_CHROMA.sub("-", slug)
    if name and not name[0].isalnum():
        name = _PREFIX + name[1:]
    if name and not name[-1].isalnum():
        name = name[:-1]
    if len(name) < _SHORTEST_CHROMA_NAME:
        return _PREFIX + name
    if len(name) > _LONGEST_CHROMA_NAME:
        return chroma_collection(name[:_LONGEST_CHROMA_NAME])
    return name


def milvus_collection(slug: str) -> str:
    """The collection of a workspace on Milvus: ``a-b`` and ``a_b`` share one."""
    return _NOT_IN_MILVUS.sub("_", slug)


def without_controls(text: str) -> str:
    """A text as pgvector gives it back: control characters are gone but tab, LF and CR."""
    return _DROPPED_CONTROLS.sub("", text)


def _as_text(vectors: int) -> str:
    return str(vectors)


def _none(_: int) -> int:
    return 0


LANCEDB = SimulatedDatabase(
    VectorDb.LANCEDB,
    race=Race.WIPES,
    shows_distance=True,
    file_ids=False,
    # Measured on @lancedb/lancedb 0.15.0, as the server calls it: cosine, rows of vectors.
    null_for_zeros=True,
    zeros_first=True,
    refused_numbers=frozenset(),
    cuts_longer=True,
    lone_surrogates=LoneSurrogates.KEPT,  # not measured
)
PGVECTOR = SimulatedDatabase(
    VectorDb.PGVECTOR,
    race=Race.REFUSES,
    shared_dimension=True,
    null_for_zeros=True,
    # Read: pgvector/index.js makes numbers of nulls; PostgreSQL takes no NaN in a vector.
    refused_numbers=frozenset({Nonsense.NAN}),
    count=_as_text,
    stored_text=without_controls,
    lone_surrogates=LoneSurrogates.LOST,
    lies_on_insert=True,
    lies_on_delete=True,
    lies_when_down=True,
)
CHROMA = SimulatedDatabase(
    VectorDb.CHROMA,
    collection=chroma_collection,
    count=_none,
    row_seconds=0.005,  # measured: 7 of 8 uploads in one kill; elsewhere 1 of 204 at most
)
MILVUS = SimulatedDatabase(
    VectorDb.MILVUS,
    collection=milvus_collection,
    hides_unlike=True,
    no_search_unused=True,
    lone_surrogates=LoneSurrogates.LOST,  # Milvus Lite; Milvus itself may refuse them
    lies_on_delete=True,  # read, not measured: nobody looks at a delete's status
)
DATABASES: Mapping[VectorDb, SimulatedDatabase] = {
    each.name: each for each in (LANCEDB, PGVECTOR, CHROMA, MILVUS)
}
