"""Fixtures of the journey's tests: readers are given what a real run has published."""

from __future__ import annotations

from tests.integration.service_fixtures import make_stage as make_stage
