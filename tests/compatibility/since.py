"""What was changed on purpose since commit cdefe5a, and is therefore not compared any more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import pytest

CHANGED: Mapping[str, str] = MappingProxyType(
    {
        "names.json: simulate": "--vector-db names the vector database that is simulated",
        "names.json: upload-result.schema.json": "a word about failed: also what can't be removed",
    }
)
"""``file: case`` as the tests name it, with the reason; whoever changes a contract adds to it."""


def compared(file: str, names: Iterable[str]) -> list[object]:
    """Parameters of a test, those skipped that were changed on purpose."""
    return [
        pytest.param(
            name,
            marks=[pytest.mark.skip(reason=f"changed since: {CHANGED[where]}")]
            if (where := f"{file}: {name}") in CHANGED
            else [],
        )
        for name in names
    ]
