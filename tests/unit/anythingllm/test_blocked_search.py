"""A search is blocked when it fails so for two minutes on end."""

from __future__ import annotations

import pytest

from consumer.anythingllm import AnythingLLMError, AnythingLLMServerError
from consumer.anythingllm.blocked_search import BLOCKED_SECONDS, BlockedSearches


def _of_a_proxy() -> AnythingLLMError:
    error = AnythingLLMError("a page of a firewall")
    error.by_intermediary = True
    return error


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def _fails(blocked: BlockedSearches[str], clock: _Clock, query: str, *times: float) -> list[bool]:
    found = []
    for clock.now in times:
        found.append(blocked.failed(query, _of_a_proxy()))
    return found


def test_only_what_fails_on_end_is_blocked() -> None:
    """One that gets through in between begins anew; each query for itself."""
    clock = _Clock()
    blocked = BlockedSearches[str](clock)
    assert _fails(blocked, clock, "a", 0, 10, 20, BLOCKED_SECONDS - 1) == [False] * 4
    blocked.passed("a")
    assert _fails(blocked, clock, "a", 120, 130, 140) == [False] * 3
    assert _fails(blocked, clock, "b", 140, 150, 160, 170) == [False] * 4
    assert _fails(blocked, clock, "a", 239, 240) == [False, True]


def test_few_failures_far_apart_prove_nothing() -> None:
    """One before an outage and one behind it."""
    clock = _Clock()
    assert _fails(BlockedSearches[str](clock), clock, "a", 0, 500, 1_000) == [False] * 3
    assert _fails(BlockedSearches[str](clock), clock, "a", 0, 1_000, 2_000, 3_000) == [False] * 4


def test_what_says_nothing_of_the_query_is_raised() -> None:
    """AnythingLLM itself has failed, whatever was searched for."""
    blocked = BlockedSearches[str](lambda: 0.0)
    with pytest.raises(AnythingLLMServerError):
        blocked.failed("a", AnythingLLMServerError("500"))
