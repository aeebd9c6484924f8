"""What an answer to a removal means, and when it is believed that none is let through."""

from __future__ import annotations

import pytest

from consumer.anythingllm.effects import LOST
from consumer.anythingllm.errors import (
    AnythingLLMConnectionError,
    AnythingLLMError,
    AnythingLLMForbiddenError,
    AnythingLLMTimeoutError,
    failure_of,
    leave_in_doubt,
)
from consumer.anythingllm.removal_way import ProxyRefusal, RemovalWay, refusal_of


def answered(status: int, retry_after: float | None = None) -> AnythingLLMError:
    return failure_of("DELETE", status, changes=True, retry_after=retry_after)


@pytest.mark.parametrize(
    ("error", "patience"),
    [
        *((answered(status), 0.0) for status in (400, 405, 411, 501)),
        *((answered(status), 60.0) for status in (404, 406, 413, 418, 422, 451, 500, 505)),
        *((answered(status), 600.0) for status in (302, 408, 499, 502, 503, 504, 507, 524)),
        (leave_in_doubt(AnythingLLMTimeoutError("late"), LOST), 600.0),
        (leave_in_doubt(AnythingLLMConnectionError("broke"), LOST), 600.0),
        *((answered(status), None) for status in (401, 403, 429)),
        (answered(503, retry_after=5.0), None),
        (AnythingLLMForbiddenError("forbidden", http_status=403), None),
        (AnythingLLMTimeoutError("not sent"), None),
        (AnythingLLMConnectionError("not sent"), None),
    ],
)
def test_what_an_outage_looks_like_is_believed_late(
    error: AnythingLLMError, patience: float | None
) -> None:
    """And what AnythingLLM forbids, or asks for, or never had, not at all."""
    refusal = refusal_of(error)

    assert (refusal.patience if refusal is not None else None) == patience


@pytest.mark.parametrize(
    ("patience", "looks", "is_shut"),
    [
        (0.0, [0], True),
        (60.0, [0, 59], False),
        (60.0, [0, 60], True),
        (600.0, [0, 300, 600], True),
        (600.0, [0, 1_000], False),
        (60.0, [0, 1_000, 1_060], True),
    ],
)
def test_it_is_seen_for_as_long_as_it_may_pass(
    patience: float, looks: list[float], is_shut: bool
) -> None:
    """Two looks with a long silence in between show nothing; one that passes ends it."""
    now = [0.0]
    way = RemovalWay(lambda: now[0])
    for moment in looks:
        now[0] = moment
        way.refused(ProxyRefusal("refuses", patience), 502)
    assert way.is_shut is is_shut
    way.passed()

    assert not way.is_shut
