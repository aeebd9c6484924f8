from __future__ import annotations

from typing import Any

import pytest

from consumer.anythingllm import AnythingLLMConfig, CircuitBreakerConfig


@pytest.mark.parametrize(
    ("endpoint", "base"),
    [
        ("http://localhost:3001", "http://localhost:3001/api"),
        ("http://localhost:3001/", "http://localhost:3001/api"),
        ("http://localhost:3001/api", "http://localhost:3001/api"),
        ("http://localhost:3001/api/", "http://localhost:3001/api"),
        ("http://localhost:3001/api/v1", "http://localhost:3001/api"),
        ("http://localhost:3001//api//v1//", "http://localhost:3001/api"),
        ("https://llm.example.com/any/api/v1/", "https://llm.example.com/any/api"),
        ("https://llm.example.com/any/v1", "https://llm.example.com/any/v1/api"),
        ("https://llm.example.com/papi", "https://llm.example.com/papi/api"),
        (" https://llm.example.com/any/ ", "https://llm.example.com/any/api"),
        ("http://[::1]:3001", "http://[::1]:3001/api"),
    ],
)
def test_the_endpoint_may_end_as_people_write_it(endpoint: str, base: str) -> None:
    """With or without a trailing slash, /api or /api/v1; a proxy's own path stays."""
    assert AnythingLLMConfig(endpoint, "key").base_url == base


@pytest.mark.parametrize(
    "wrong",
    [
        {"endpoint": "localhost:3001"},
        {"endpoint": "ftp://host"},
        {"endpoint": "http://"},
        {"endpoint": "http://user:hidden-key@host"},
        {"endpoint": "http://host?x=1"},
        {"endpoint": "http://host:99999"},
        {"api_key": ""},
        {"api_key": "hidden-key\n"},
        {"api_key": "hidden-kéy"},
        {"user_agent": "a\r\nX: y"},
        {"upload_timeout": 0},
        {"max_chunks_in_flight": 0},
        {"ambiguity_seconds": -1},
        {"identity": "{technology}"},
    ],
)
def test_what_is_wrong_on_its_face_is_refused_without_showing_a_secret(
    wrong: dict[str, Any],
) -> None:
    """A wrong value never gets as far as a connection, and its message can be logged."""
    with pytest.raises(ValueError, match=r".") as refused:
        AnythingLLMConfig(**{"endpoint": "http://host", "api_key": "key", **wrong})

    assert "hidden" not in str(refused.value)


def test_the_key_is_in_no_repr() -> None:
    """Configurations end up in logs and tracebacks."""
    assert "hidden" not in repr(AnythingLLMConfig("http://host", "hidden-key"))


def test_the_defaults_are_those_of_the_requirement() -> None:
    """Three failures, a minute, thirty seconds; five chunks at once, three attempts."""
    config = AnythingLLMConfig("http://host", "key")

    assert config.circuit_breaker == CircuitBreakerConfig(3, 60, 30)
    assert (config.max_chunks_in_flight, config.retry.attempts) == (5, 3)
    with pytest.raises(ValueError, match="recovery_timeout"):
        CircuitBreakerConfig(recovery_timeout=0)
