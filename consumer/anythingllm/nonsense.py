"""Vectors that no search could use, told from those that it can: pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

PROBE_TEXTS = ("ready", "the wick of a lantern is trimmed before sunrise")
"""Two texts that no model takes for one."""


def nonsense(vectors: Sequence[object], *, of: int) -> str | None:
    """Why no search could use these vectors of different texts, for people; None: it could.

    Args:
        vectors: as JSON gives them: NaN is null there.
        of: how many texts were embedded.
    """
    if len(vectors) != of:
        return f"{len(vectors)} vectors for {of} texts"
    problems = (_problem(vector) for vector in vectors)
    if (problem := next(filter(None, problems), None)) is not None:
        return problem
    numbers = [tuple(vector) for vector in vectors if isinstance(vector, list)]
    if len({len(each) for each in numbers}) > 1:
        return "vectors of different lengths"
    if len(set(numbers)) < of:
        return "the same vector for different texts"
    return None


def _problem(vector: object) -> str | None:
    if not isinstance(vector, list) or not vector:
        return "no vector"
    numbers = [each for each in vector if isinstance(each, int | float)]
    if len(numbers) < len(vector) or not all(map(math.isfinite, numbers)):
        return "vectors with null in them, or something else that is no number"
    return None if any(numbers) else "vectors of nothing but zeros"
