"""Fixtures of the journey's tests."""

from __future__ import annotations

from tests.integration.service_fixtures import make_stage as make_stage
from tests.integration.service_fixtures import stage as stage
from tests.programs_fixtures import programs as programs
