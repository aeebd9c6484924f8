"""Which loop the tests of a folder run on: a hook of pytest-asyncio that its conftest imports.

A test runs in virtual time over connections in memory, unless ``@pytest.mark.network`` names the
kernel's network instead of it or beside it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest

from tests.virtual.loop import VirtualLoop

_LOOPS: Mapping[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "memory": VirtualLoop,
    "kernel": asyncio.SelectorEventLoop,
}


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """See the module's docstring."""
    marker = item.get_closest_marker("network")
    return {name: _LOOPS[name] for name in (marker.args if marker else ("memory",))}
