"""Which cases of a test `make test` runs, and which wait for `make test-all`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def quick_first(cases: Iterable[Any], *, quick: int = 1) -> list[Any]:
    """The cases of a test; those after the first ones are slow.

    For promises that are told apart by what all cases share: the others are there to be sure.

    Args:
        cases: values, or tuples of values where the test has several names for a case.
        quick: how many `make test` runs.
    """
    return [_case(case, is_slow=place >= quick) for place, case in enumerate(cases)]


def _case(case: Any, *, is_slow: bool) -> Any:
    values = case if isinstance(case, tuple) else (case,)
    return pytest.param(*values, marks=[pytest.mark.slow] if is_slow else [])
