"""Is a search blocked for what it searches for? Only what fails so again and again is.

Something between us and AnythingLLM may dislike a text, and answers each search for it while others
pass (`errors.is_about_the_query`). Any such answer alone may be a hiccup: believed at once, a text
would count as stored or as gone that nobody has looked for.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from consumer.anythingllm.errors import AnythingLLMError, is_about_the_query
from consumer.resilience.refusals import Refusals

BLOCKED_SECONDS = 120.0  # for which a search has to fail so; one that gets through ends it
AGAIN_SECONDS = 10.0  # between two searches for the same
LATELY = 60.0  # seconds before a failure, from when on others have to be found
_FORGOTTEN_SECONDS = 900.0  # without one; a round of many searches takes minutes
_MOST_KEPT = 10_000  # queries; the longest known go first

QueryT = TypeVar("QueryT", bound=Hashable)


class BlockedSearches(Generic[QueryT]):
    """How long searches have failed for what they search for.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures: OrderedDict[QueryT, Refusals] = OrderedDict()

    def passed(self, query: QueryT) -> None:
        """Note that a search was answered."""
        self._failures.pop(query, None)

    def failed(self, query: QueryT, error: AnythingLLMError) -> bool:
        """Whether this search is blocked; False where it is to be asked again later.

        Raises:
            AnythingLLMError: this one, where it says nothing of what was searched for.
        """
        if not is_about_the_query(error):
            raise error
        row = self._failures.get(query)
        if row is None:
            row = self._failures[query] = Refusals(
                self._clock, for_good=BLOCKED_SECONDS, forgotten=_FORGOTTEN_SECONDS
            )
            while len(self._failures) > _MOST_KEPT:
                self._failures.popitem(last=False)
        row.refused()
        return row.is_for_good
