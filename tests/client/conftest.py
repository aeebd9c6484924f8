"""The client's tests run in virtual time."""

from __future__ import annotations

from tests.virtual.factories import pytest_asyncio_loop_factories as pytest_asyncio_loop_factories
