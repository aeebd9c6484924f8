"""With packs (`tests.packing`) tests that are about chunks which go alone are skipped."""

from __future__ import annotations

import pytest

from tests.packing import UNPACKED, packing_or


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip them, with the reason."""
    if packing_or("1") == "1":
        return
    for item in items:
        name = getattr(item, "originalname", item.name)
        if (reason := UNPACKED.get(name)) is not None:
            item.add_marker(pytest.mark.skip(reason=f"with packs: {reason}"))
