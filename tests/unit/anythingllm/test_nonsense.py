"""Vectors that no search could use are told from those that it can."""

from __future__ import annotations

import pytest

from consumer.anythingllm.nonsense import nonsense


@pytest.mark.parametrize(
    ("vectors", "problem"),
    [
        ([[0.1, 0.2], [0.2, 0.1]], None),
        ([[0, 1], [1, 0]], None),
        ([[0.0, 0.0], [0.0, 0.0]], "zeros"),
        ([[0.1, 0.2], [0.0, 0.0]], "zeros"),
        ([[0.1, None], [0.2, 0.1]], "null"),
        ([["0.1", "0.2"], [0.2, 0.1]], "no number"),
        ([[0.1, float("inf")], [0.2, 0.1]], "no number"),
        ([[], []], "no vector"),
        ([None, [0.1]], "no vector"),
        ([[0.1, 0.2], [0.2, 0.1, 0.3]], "lengths"),
        ([[0.1, 0.2], [0.1, 0.2]], "same vector"),
        ([[0.1, 0.2]], "1 vectors for 2 texts"),
    ],
)
def test_what_is_wrong_with_them(vectors: list[object], problem: str | None) -> None:
    """In words for people; None where nothing is."""
    found = nonsense(vectors, of=2)

    assert found is None if problem is None else problem in (found or "")
