from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from consumer.anythingllm.effects import is_anythingllm
from consumer.anythingllm.errors import (
    AnythingLLMAuthenticationError,
    AnythingLLMConnectionError,
    AnythingLLMError,
    AnythingLLMNotFoundError,
    AnythingLLMProtocolError,
    AnythingLLMRateLimitError,
    AnythingLLMRejectedError,
    AnythingLLMServerError,
    AnythingLLMTimeoutError,
    CircuitOpenError,
    failure_of,
    is_by_intermediary,
    is_sick,
    retry_after_of,
)
from consumer.model.fault import Fault

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
OFFLINE = "Document processing API is not online. Request will not be processed."


@pytest.mark.parametrize(
    ("status", "reason", "kind", "fault"),
    [
        (307, "", AnythingLLMProtocolError, Fault.THEIRS),
        (400, "", AnythingLLMError, Fault.UNCLEAR),
        (401, "", AnythingLLMAuthenticationError, Fault.THEIRS),
        (403, "", AnythingLLMAuthenticationError, Fault.THEIRS),
        (404, "", AnythingLLMNotFoundError, Fault.UNCLEAR),
        (413, "", AnythingLLMRejectedError, Fault.DOCUMENT),
        (418, "", AnythingLLMError, Fault.UNCLEAR),
        (422, "", AnythingLLMRejectedError, Fault.DOCUMENT),
        (429, "", AnythingLLMRateLimitError, Fault.BUSY),
        (500, "", AnythingLLMServerError, Fault.UNCLEAR),
        (500, "A processing error occurred.", AnythingLLMServerError, Fault.UNCLEAR),
        (500, OFFLINE, AnythingLLMServerError, Fault.THEIRS),
        (500, "fetch failed", AnythingLLMServerError, Fault.THEIRS),
        (502, "", AnythingLLMServerError, Fault.THEIRS),
        (503, "", AnythingLLMServerError, Fault.THEIRS),
        (504, "", AnythingLLMServerError, Fault.UNCLEAR),
        (507, "", AnythingLLMServerError, Fault.UNCLEAR),
        (999, "", AnythingLLMError, Fault.UNCLEAR),
    ],
)
def test_whose_fault_a_status_is(
    status: int, reason: str, kind: type[AnythingLLMError], fault: Fault
) -> None:
    """Every status has one error and one fault; one that nobody thought of is unclear."""
    failure = failure_of("AnythingLLM POST /x", status, changes=True, reason=reason)

    assert (type(failure), failure.fault, failure.http_status) == (kind, fault, status)


@pytest.mark.parametrize("status", [400, 422, 429, 500, 503])
def test_who_says_when_to_come_back_is_busy(status: int) -> None:
    """Retry-After makes any failure a clock for everybody: it counts nothing, opens nothing."""
    failure = failure_of("AnythingLLM POST /x", status, changes=True, retry_after=2.0)

    assert (failure.fault, failure.retry_after) == (Fault.BUSY, 2.0)
    assert not is_sick(failure)


@pytest.mark.parametrize("status", [408, 499, 504, 524])
def test_a_proxy_that_would_not_wait_is_like_our_own_time_being_over(status: int) -> None:
    """A text that hangs would be sent for ever, or its embedder would be said to refuse it."""
    failure = failure_of("AnythingLLM POST /x", status, changes=True)

    assert (failure.fault, failure.unanswered) == (Fault.UNCLEAR, True)
    assert not failure_of("AnythingLLM POST /x", 500, changes=True).unanswered


@pytest.mark.parametrize(
    ("status", "reason", "is_own", "ambiguous", "unproven"),
    [
        *((status, "", False, True, False) for status in (408, 499, 500, 502, 503, 504, 507)),
        *((status, "", False, True, False) for status in (520, 522, 524, 999)),
        *((status, "", False, False, True) for status in (307, 400, 401, 403, 404, 406, 413)),
        *((status, "", False, False, True) for status in (418, 422, 429, 501, 505)),
        *((status, "", True, False, False) for status in (400, 403, 404, 413, 422)),
        (500, "", True, False, True),
        (500, "A processing error occurred.", True, False, True),
        (503, "", True, True, False),
        (500, OFFLINE, False, False, False),
        (500, "fetch failed", False, False, False),
    ],
)
def test_what_is_known_of_the_effect_by_the_answer(
    status: int, reason: str, is_own: bool, ambiguous: bool, unproven: bool
) -> None:
    """Only AnythingLLM's own refusals prove that nothing happened; a GET never does anything."""
    failure = failure_of("x", status, changes=True, reason=reason, is_own=is_own)
    asked = failure_of("x", status, changes=False, reason=reason, is_own=is_own)

    assert (failure.ambiguous, failure.unproven) == (ambiguous, unproven)
    assert (asked.ambiguous, asked.unproven) == (False, False)


@pytest.mark.parametrize(
    ("headers", "content_type", "reason", "is_own"),
    [
        ({"X-Powered-By": "Express"}, "text/plain", "", True),
        ({"X-Powered-By": "Express"}, "application/octet-stream", "", True),
        ({"X-Powered-By": "Express"}, "text/html", "", False),
        ({"Server": "nginx"}, "text/html", "", False),
        ({"X-Powered-By": "PHP/8"}, "text/plain", "", False),
        ({}, "application/json", "No valid api key found.", True),
        ({}, "application/json", OFFLINE, True),
        ({}, "application/json", "Internal Server Error", False),
    ],
)
def test_who_has_answered(
    headers: dict[str, str], content_type: str, reason: str, is_own: bool
) -> None:
    """By the header that a proxy passes on, or by words that only AnythingLLM uses."""
    assert is_anythingllm(headers, content_type, reason) is is_own


def test_an_answers_text_never_gets_into_the_message() -> None:
    """Bodies may echo document text."""
    assert "secret" not in str(failure_of("x", 500, changes=True, reason="secret"))


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        (" 7 ", 7.0),
        ("3601", 3600.0),
        ("9" * 500, 3600.0),
        (format_datetime(NOW + timedelta(seconds=90)), 90.0),
        (format_datetime(NOW - timedelta(seconds=90)), 0.0),
        ("-3", None),
        ("1.5", None),
        ("٣", None),
        ("soon", None),
        ("", None),
        ("Mon, 99 Foo 2026", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_never_more_than_an_hour(
    header: str | None, seconds: float | None
) -> None:
    """Junk is ignored; an absurd wish is capped; a date is compared with the server's own time."""
    assert retry_after_of(header, NOW) == seconds


def test_what_the_breaker_counts() -> None:
    """Connection errors, timeouts and 5xx; no 4xx, no 429, not its own rejections."""
    sick = [
        AnythingLLMConnectionError("x"),
        AnythingLLMTimeoutError("x"),
        failure_of("x", 500, changes=True),
        failure_of("x", 502, changes=True),
    ]
    well = [failure_of("x", status, changes=True) for status in (400, 403, 404, 413, 422, 429)]

    assert all(is_sick(error) for error in sick)
    assert not any(is_sick(error) for error in [*well, CircuitOpenError("x"), ValueError("x")])


@pytest.mark.parametrize("status", [200, 403, 404, 406, 500, 502, 503, 520])
def test_a_web_page_is_an_answer_of_something_in_between(status: int) -> None:
    """AnythingLLM answers calls of its API with JSON or plain text."""
    assert is_by_intermediary(status, "text/html")


@pytest.mark.parametrize("status", [408, 499, 502, 503, 504, *range(520, 527)])
def test_what_a_proxy_answers_is_told_in_words(status: int) -> None:
    """A number of a cloud's own is in nobody's head at night."""
    told = failure_of("x", status, changes=True).message

    assert told.startswith(f"x: answered {status}, ")
    assert "AnythingLLM" in told


@pytest.mark.parametrize("status", [401, 403])
def test_a_page_that_refuses_is_no_refused_key(status: int) -> None:
    """An operator would make a new key, and the firewall would refuse it like the old one."""
    page = failure_of("x", status, changes=False, by_intermediary=True)
    refused = failure_of("x", status, changes=False)

    assert "firewall or proxy" in page.message
    assert "ANYTHINGLLM_API_KEY" not in page.message
    assert "ANYTHINGLLM_API_KEY" in refused.message


@pytest.mark.parametrize("status", [405, 406, 451, 501, 502, 503, 520, 526])
def test_some_statuses_are_never_anythingllms_own(status: int) -> None:
    """Whatever they come with."""
    assert is_by_intermediary(status, "application/json")
    assert is_by_intermediary(status, "application/octet-stream")


@pytest.mark.parametrize(
    ("status", "content_type"),
    [
        (200, "application/json"),
        (400, "text/plain"),
        (403, "application/json"),
        (404, "text/plain"),
        (422, "application/json"),
        (500, "application/json"),
        (500, "application/octet-stream"),
        (408, "text/html"),
        (504, "text/html"),
        (524, "text/html"),
    ],
)
def test_what_may_be_its_own_and_a_gateway_that_would_not_wait_are_not(
    status: int, content_type: str
) -> None:
    """A text that takes too long is another matter than one that something blocks."""
    assert not is_by_intermediary(status, content_type)
