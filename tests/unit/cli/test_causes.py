"""Causes where there is little room."""

from __future__ import annotations

import pytest

from consumer.cli.causes import short_cause

REFUSED = "AnythingLLM POST /v1/document/raw-text: answered 422, the server refuses this content"


@pytest.mark.parametrize(
    ("cause", "document", "short"),
    [
        (f"a_1: {REFUSED}", "a", "1: answered 422, the server refuses this content"),
        (f"other: {REFUSED}", None, "other: answered 422, the server refuses this content"),
        ("chunks.0.content: is blank", "a", "chunks.0.content: is blank"),
        ("-", "a", "-"),
    ],
)
def test_what_tells_rows_apart_comes_first(cause: str, document: str | None, short: str) -> None:
    """Which chunk, and what was said; not the request, which is the same in all rows."""
    assert short_cause(cause, document) == short
