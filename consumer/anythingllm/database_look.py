"""Is the vector database well? What AnythingLLM's answers say of it, without storing anything.

Most databases that are down make AnythingLLM answer 500 to a count of all vectors. One broken table
may do that as well, so nothing is concluded from it while a workspace can be searched. Where the
count is answered and every search is not, the embedder may give vectors of another length than the
stored ones: that is told, and each workspace is tried before anything is stored in it. On the
others everything looks empty meanwhile (`VectorDatabase.is_empty_when_down`). There a few
workspaces that list documents are searched: where one has hits, the database answers. One workspace
without any may have lost its vectors, so more than one is looked at where there are several. Where
none has any, only a test document tells an outage from a loss (`database_control`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from consumer.anythingllm.api import Api
from consumer.anythingllm.errors import (
    AnythingLLMError,
    AnythingLLMNotFoundError,
    AnythingLLMServerError,
)
from consumer.anythingllm.transport import Errand
from consumer.anythingllm.vector_databases import VectorDatabase
from consumer.model.names import Slug
from consumer.model.slug import is_slug

_MOST_SEARCHED = 3  # workspaces: a search may take a second
_QUERY = "ready"  # any text: the nearest is given however far away it is


@dataclass(frozen=True, slots=True)
class SearchedInVain:
    """A workspace that was searched.

    Args:
        slug: of the workspace.
        rows: how many documents it lists, at least one.
        error: what the search was answered with; None for an answer.
    """

    slug: Slug
    rows: int
    error: str | None = None

    def __str__(self) -> str:
        said = "nothing is found" if self.error is None else "a search fails"
        return f"{said} in {self.slug} (documents listed: {self.rows:,})"


@dataclass(frozen=True, slots=True)
class DatabaseLook:
    """What was seen.

    Args:
        database: what it is like.
        in_vain: the workspaces that were searched without a hit; none where one had hits.
        count_error: what the count of all vectors was answered with; None where it was answered,
            or was not asked for.
    """

    database: VectorDatabase
    in_vain: tuple[SearchedInVain, ...] = ()
    count_error: str | None = None

    @property
    def suspects(self) -> tuple[Slug, ...]:
        """Where a test document tells an outage from a loss: searches answer and find nothing."""
        return tuple(each.slug for each in self.in_vain if each.error is None)

    @property
    def is_outage(self) -> bool:
        """Whether nothing can be stored, without any test."""
        if self.suspects or (self.count_error is None and not self.in_vain):
            return False
        return self.count_error is not None or self.database.has_one_dimension

    @property
    def trouble(self) -> str | None:
        """One line for people; None where the database is well, as far as was seen."""
        if not self.in_vain and not self.is_outage:
            return None
        seen = [str(each) for each in self.in_vain]
        if self.count_error is not None:
            seen.append(f"its vectors can't be counted ({self.count_error})")
        return "; ".join(seen)

    @property
    def what_to_do(self) -> str:
        """For people, where there is trouble."""
        if self.count_error is None and not self.suspects:
            return f"{_CHECK}. If the embedding model was changed: {self.database.new_dimension}"
        return _CHECK


_CHECK = "check that it runs and that AnythingLLM reaches it, and see AnythingLLM's log"


async def look_at_database(api: Api, database: VectorDatabase, errand: Errand) -> DatabaseLook:
    """Look at it; the embedder is known to work.

    What can't be looked at for another reason than the database's is not held against it.

    Args:
        api: the endpoints.
        database: what it is like.
        errand: for all of it together.
    """
    count_error = None
    if not database.is_empty_when_down:
        count_error = await _count_error(api, errand)
    in_vain = await _in_vain(api, database, errand)
    if in_vain is None:
        return DatabaseLook(database)
    are_all_errors = bool(in_vain) and all(each.error is not None for each in in_vain)
    if are_all_errors and database.is_empty_when_down:
        count_error = await _count_error(api, errand)
    return DatabaseLook(database, in_vain, count_error)


async def another_answers(api: Api, slug: Slug, errand: Errand) -> bool:
    """Whether something is found in another workspace: then one that is not is sick by itself.

    Raises:
        AnythingLLMError: nobody can say.
    """
    counts = await api.row_counts(errand)
    others = [each for each in _by_rows(counts) if each != slug]
    for other in others[:_MOST_SEARCHED]:
        try:
            if await api.search(errand, other, _QUERY, 1):
                return True
        except (AnythingLLMServerError, AnythingLLMNotFoundError):
            continue
    return False


def _by_rows(counts: Mapping[Slug, int]) -> list[Slug]:
    """The workspaces that list documents, the largest first."""
    listing = sorted((-rows, slug) for slug, rows in counts.items() if rows and is_slug(slug))
    return [slug for _, slug in listing]


async def _count_error(api: Api, errand: Errand) -> str | None:
    try:
        await api.vector_count(errand)
    except AnythingLLMServerError as error:
        return error.message
    except AnythingLLMError:  # a proxy may not know that path
        return None
    return None


async def _in_vain(
    api: Api, database: VectorDatabase, errand: Errand
) -> tuple[SearchedInVain, ...] | None:
    """The workspaces that were searched; None where the database is seen to answer."""
    try:
        counts = await api.row_counts(errand)
    except AnythingLLMError:
        return ()
    searched: list[SearchedInVain] = []
    for slug in _by_rows(counts)[:_MOST_SEARCHED]:
        try:
            hits = await api.search(errand, slug, _QUERY, 1)
        except AnythingLLMServerError as error:
            searched.append(SearchedInVain(slug, counts[slug], error.message))
        except AnythingLLMError:  # the workspace is gone, or the time is over
            continue
        else:
            if hits or not database.is_empty_when_down:
                return None
            searched.append(SearchedInVain(slug, counts[slug]))
    return tuple(searched)
