"""What the vector databases behind AnythingLLM 1.16 are like, as far as a client meets it. Pure.

AnythingLLM shows one API for ten vector databases, and does not hide what they do differently. All
that differs for us stands here, one entry a database; the rest of the code asks an entry and knows
no database by name. An entry says whether its rules were *run* (measured on a running server) or
only *read* (in AnythingLLM's source, commit 72aabbd1). Which database a server has is asked in
`consumer.anythingllm.database_in_use`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from consumer.model.names import Slug

_BEST_SCORE = 1.0
_MOST_CHROMA = 63  # characters of a collection's name
_LEAST_CHROMA = 3
_CHROMA_PREFIX = "anythingllm-"
_UNLIMITED = 100_000  # hits: more were never asked for


_RESET = (
    "go back to the former embedding model, or have the workspace made anew (`workspaces rebuild "
    "SLUG --delete-workspace`), or reset its vector database in its settings in AnythingLLM and "
    "run `audit --republish`"
)
_DROP = (
    "go back to the former embedding model, or drop the table of all workspaces in PostgreSQL "
    "(DROP TABLE anythingllm_vectors) and run `workspaces repair --yes`; "
    "deleting or resetting workspaces does not help"
)


def _from_cosine(score: float) -> float | None:
    """The score is the cosine, or was made from the distance."""
    return 1.0 - score


def _from_certainty(score: float) -> float | None:
    """The score is half of one more than the cosine."""
    return 2.0 - 2.0 * score


def _unknown(score: float) -> float | None:
    """Nobody knows what the score means."""
    return None


def _itself(slug: str) -> str:
    return slug


def _chroma(slug: str) -> str:
    """Chroma takes 3 to 63 letters, digits, ``_`` and ``-``, the first and last no sign."""
    name = re.sub(r"[^a-zA-Z0-9_-]", "-", slug)
    if name and not name[0].isalnum():
        name = _CHROMA_PREFIX + name[1:]
    if name and not name[-1].isalnum():
        name = name[:-1]
    if len(name) < _LEAST_CHROMA:
        return _CHROMA_PREFIX + name
    return name if len(name) <= _MOST_CHROMA else _chroma(name[:_MOST_CHROMA])


def _underscored(slug: str) -> str:
    """Letters, digits and ``_``; everything else becomes ``_``."""
    return re.sub(r"[^a-zA-Z0-9_]", "_", slug)


def _camel_case(slug: str) -> str:
    """A class of Weaviate: no ``_`` and no ``-``, and what follows one is a capital letter."""
    return "".join(word[:1].upper() + word[1:] for word in re.split(r"[^a-zA-Z0-9]+", slug))


@dataclass(frozen=True, slots=True)
class VectorDatabase:
    """One entry.

    Args:
        name: as AnythingLLM calls it (VECTOR_DB).
        was_run: whether it was measured on a running server; else read in the source.
        cached_proves: whether a file that says ``cached`` has its vectors: the database's refusal
            reaches AnythingLLM before it says so.
        takes_halves: whether it takes texts with half a character in them, which AnythingLLM makes
            where it cuts in the middle of one.
        tells_removals: whether a removal that failed is answered with an error. Elsewhere row and
            file go, the vectors stay, and nothing can reach them any more.
        has_creation_race: whether concurrent first uploads overwrite each other's vectors.
        names_files: whether the id of a hit is the one in its file's name, or there is none.
        is_empty_when_down: whether a search is answered with an empty list while it is down.
        finds_in_fresh: whether a workspace can be searched in which nothing was ever stored; else
            that is answered with 500.
        distance_of: the distance by a hit's score; None where nobody knows.
        hides_far: whether the score is 1, the best, for every distance of 1 and more as well.
        collection_of: the name of a workspace's collection; workspaces with one name share it.
        most_hits: the largest ``topN`` that is answered.
        visible_seconds: until a search surely finds what was stored.
        reaches_all: whether a search gives all vectors, however far away; else those with nothing
            in common are left out.
        has_one_dimension: whether all workspaces have the dimension of the first upload ever.
        new_dimension: what people do where the embedder's dimension is another than the stored one.
    """

    name: str
    was_run: bool
    cached_proves: bool = True
    takes_halves: bool = False
    tells_removals: bool = True
    has_creation_race: bool = False
    names_files: bool = False
    is_empty_when_down: bool = False
    finds_in_fresh: bool = True
    distance_of: Callable[[float], float | None] = _from_cosine
    hides_far: bool = False
    collection_of: Callable[[str], str] = _itself
    most_hits: int = _UNLIMITED
    visible_seconds: float = 0.0
    reaches_all: bool = True
    has_one_dimension: bool = False
    new_dimension: str = _RESET

    @property
    def may_share(self) -> bool:
        """Whether workspaces with different slugs can have one collection."""
        return self.collection_of is not _itself


UNKNOWN = VectorDatabase(
    "unknown",
    was_run=False,
    cached_proves=False,
    tells_removals=False,
    has_creation_race=True,
    is_empty_when_down=True,
    finds_in_fresh=False,
    distance_of=_unknown,
    most_hits=1_000,
    visible_seconds=120.0,
    reaches_all=False,
    new_dimension=f"{_RESET}. Where it is pgvector: {_DROP}",
)
"""One that is not in the table, or that a proxy hides: the least that can be relied upon."""

# Run as Milvus Lite 3.2.2 only, which keeps an insert's refusal to itself. Ids are read.
_MILVUS = VectorDatabase(
    "milvus",
    was_run=True,
    cached_proves=False,
    tells_removals=False,
    names_files=True,
    finds_in_fresh=False,
    collection_of=_underscored,
    most_hits=1_000,
    visible_seconds=10.0,
    reaches_all=False,
)

_ENTRIES = (
    # Run: 0.15.0. Its hits tell the distance.
    VectorDatabase(
        "lancedb", was_run=True, takes_halves=True, has_creation_race=True, hides_far=True
    ),
    # Run: PostgreSQL 16.2, pgvector 0.6.2. INSERT and DELETE may fail without a word.
    VectorDatabase(
        "pgvector",
        was_run=True,
        cached_proves=False,
        tells_removals=False,
        names_files=True,
        is_empty_when_down=True,
        hides_far=True,
        has_one_dimension=True,
        new_dimension=_DROP,
    ),
    # Run: server 1.5.9.
    VectorDatabase("chroma", was_run=True, names_files=True, hides_far=True, collection_of=_chroma),
    # Read. Quotas may refuse more hits.
    VectorDatabase(
        "chromacloud",
        was_run=False,
        hides_far=True,
        collection_of=_chroma,
        most_hits=1_000,
    ),
    _MILVUS,
    # Read: as Milvus.
    replace(_MILVUS, name="zilliz", was_run=False),
    # Read. A collection's creation that loses its race fails, and is not said to be stored.
    VectorDatabase("qdrant", was_run=False, reaches_all=False),
    # Read. QUERY_MAXIMUM_RESULTS is the server's own setting; 10,000 is the vendor's default.
    VectorDatabase(
        "weaviate",
        was_run=False,
        distance_of=_from_certainty,
        collection_of=_camel_case,
        most_hits=10_000,
    ),
    # Read. It is eventually consistent; at most 10,000 hits, by the vendor.
    VectorDatabase(
        "pinecone", was_run=False, most_hits=10_000, visible_seconds=60.0, reaches_all=False
    ),
    # Read. Searches by vector give at most 1,000 hits, by the vendor.
    VectorDatabase(
        "astra", was_run=False, collection_of=_underscored, most_hits=1_000, reaches_all=False
    ),
)

DATABASES: Mapping[str, VectorDatabase] = {each.name: each for each in _ENTRIES}
"""By the names that AnythingLLM 1.16 gives them."""


def distances(
    told: list[tuple[float | None, float | None]], database: VectorDatabase
) -> list[float | None]:
    """The distances of a search's hits, in the server's order.

    Where a score of 1 may be the best or the worst, only what follows tells which: equal texts come
    before all others, and those that have nothing in common come last.

    Args:
        told: for each hit the distance that the server tells, or None, and its score, or None.
        database: knows what a score means.
    """
    found: list[float | None] = []
    worse_follows = False
    for distance, score in reversed(told):
        if distance is None and score is not None and math.isfinite(score):
            is_either = database.hides_far and score >= _BEST_SCORE
            distance = database.distance_of(score) if worse_follows or not is_either else None
            worse_follows = worse_follows or score < _BEST_SCORE
        found.append(distance)
    return found[::-1]


def sharing(slugs: Iterable[Slug], database: VectorDatabase) -> list[tuple[Slug, ...]]:
    """Workspaces that have one collection, each group sorted, in the order of the first ones."""
    groups: dict[str, list[Slug]] = {}
    for slug in sorted(slugs):
        groups.setdefault(database.collection_of(slug), []).append(slug)
    return [tuple(group) for group in groups.values() if len(group) > 1]
