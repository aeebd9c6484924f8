"""The fixture of tests that start commands of ours as processes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.e2e.support import Programs


@pytest.fixture
async def programs(tmp_path: Path) -> AsyncIterator[Programs]:
    """Starts processes of ours; none outlives the test, and none may have shown the API key."""
    started = Programs(tmp_path)
    try:
        yield started
    finally:
        await started.close()
