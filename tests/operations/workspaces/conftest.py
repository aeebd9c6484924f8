"""Looking after workspaces is tested in virtual time, commands on real sockets."""

from __future__ import annotations

from tests.programs_fixtures import programs as programs
from tests.virtual.factories import pytest_asyncio_loop_factories as pytest_asyncio_loop_factories
