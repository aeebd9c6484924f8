"""Pytest fixtures of the simulated AnythingLLM; usable by anybody's tests.

In a conftest: ``pytest_plugins = ["tests.simulator_fixtures"]``, then ask for ``simulator``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from consumer.sandbox.simulator import Simulator
from consumer.sandbox.simulator import simulator as running_simulator


def wall_clock() -> Callable[[], float]:
    """Epoch seconds that go on as the running loop's time does, be it real or virtual."""
    loop = asyncio.get_running_loop()
    epoch: float = getattr(loop, "epoch", time.time() - loop.time())
    return lambda: epoch + loop.time()


def running_server(**options: Any) -> AbstractAsyncContextManager[Simulator]:
    """A simulated AnythingLLM on a port of its own, in the time of the running loop."""
    return running_simulator(clock=wall_clock(), **options)


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """A fresh simulated AnythingLLM on a port of its own, in the time of the test's loop."""
    async with running_server() as server:
        yield server
