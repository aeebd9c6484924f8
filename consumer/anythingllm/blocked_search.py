"""Is a search blocked for what it searches for? Only what fails so again and again is.

Something between us and AnythingLLM may dislike a text, and answers each search for it while others
pass (`errors.is_about_the_query`). Any such answer alone may be a hiccup: believed at once, a text
would count as stored or as gone that nobody has looked for.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from consumer.anythingllm.errors import AnythingLLMError, is_about_the_query

BLOCKED_SECONDS = 120.0  # for which a search has to fail so; one that gets through ends it
AGAIN_SECONDS = 10.0  # between two searches for the same

QueryT = TypeVar("QueryT", bound=Hashable)


class BlockedSearches(Generic[QueryT]):
    """Since when searches fail for what they search for.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since: dict[QueryT, float] = {}

    def passed(self, query: QueryT) -> None:
        """Note that a search was answered."""
        self._since.pop(query, None)

    def failed(self, query: QueryT, error: AnythingLLMError) -> bool:
        """Whether this search is blocked; False where it is to be asked again later.

        Raises:
            AnythingLLMError: this one, where it says nothing of what was searched for.
        """
        if not is_about_the_query(error):
            raise error
        now = self._clock()
        return now - self._since.setdefault(query, now) >= BLOCKED_SECONDS
