"""A search is blocked when it fails so for two minutes on end."""

from __future__ import annotations

import pytest

from consumer.anythingllm import AnythingLLMError, AnythingLLMServerError
from consumer.anythingllm.blocked_search import BLOCKED_SECONDS, BlockedSearches


def _of_a_proxy() -> AnythingLLMError:
    error = AnythingLLMError("a page of a firewall")
    error.by_intermediary = True
    return error


def test_only_what_fails_on_end_is_blocked() -> None:
    """One that gets through in between begins anew; each query for itself."""
    now = 0.0
    blocked = BlockedSearches[str](lambda: now)
    assert not blocked.failed("a", _of_a_proxy())
    now = BLOCKED_SECONDS - 1
    assert not blocked.failed("a", _of_a_proxy())
    blocked.passed("a")
    now = BLOCKED_SECONDS
    assert not blocked.failed("a", _of_a_proxy())
    assert not blocked.failed("b", _of_a_proxy())
    now = 2 * BLOCKED_SECONDS
    assert blocked.failed("a", _of_a_proxy())


def test_what_says_nothing_of_the_query_is_raised() -> None:
    """AnythingLLM itself has failed, whatever was searched for."""
    blocked = BlockedSearches[str](lambda: 0.0)
    with pytest.raises(AnythingLLMServerError):
        blocked.failed("a", AnythingLLMServerError("500"))
