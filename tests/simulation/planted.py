"""A pytest plugin: all of the run is with one planted fault, whose name is in the environment."""

from __future__ import annotations

import os
from contextlib import ExitStack

import pytest

from tests.simulation.mutants import MUTANTS, PLANTED


def pytest_configure(config: pytest.Config) -> None:
    """Plant it until the run ends."""
    (mutant,) = (each for each in MUTANTS if each.name == os.environ[PLANTED])
    until_the_end = ExitStack()
    until_the_end.enter_context(mutant.planted())
    config.add_cleanup(until_the_end.close)
