"""What shows that the vector database keeps what is sent."""

from __future__ import annotations

import pytest

from consumer.anythingllm.database_control import DatabaseControl
from consumer.anythingllm.transport import Check
from consumer.model.names import Slug, TraceId

DOCS = Slug("docs")
NOW = 5.0


class _Tests:
    """Test documents that are all found."""

    def __init__(self) -> None:
        self.count = 0

    async def store(self, slug: Slug, trace_id: TraceId | None, check: Check) -> None:
        self.count += 1


async def _answers(slug: Slug, trace_id: TraceId | None) -> bool:
    return True


@pytest.mark.parametrize(("found", "tests"), [(NOW + 1, 0), (NOW, 1), (NOW - 1, 1)])
async def test_what_was_found_counts_where_it_was_sent_later(found: float, tests: int) -> None:
    """At one moment of a clock it may have been found before the database went away."""
    stored = _Tests()
    control = DatabaseControl(
        stored.store, stored.store, new_dimension=str, another_answers=_answers, clock=lambda: NOW
    )
    control.found(found)
    await control.passes(DOCS, NOW, None)
    await control.passes(DOCS, NOW, None)

    assert stored.count == tests, "a test document that was sent for it counts at once"
