"""Pytest fixtures of the simulated AnythingLLM; usable by anybody's tests.

In a conftest: ``pytest_plugins = ["tests.simulator_fixtures"]``, then ask for ``simulator``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from consumer.sandbox.simulator import Simulator
from consumer.sandbox.simulator import simulator as running_simulator


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """A fresh simulated AnythingLLM on a port of its own."""
    async with running_simulator() as server:
        yield server
