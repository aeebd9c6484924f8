"""The status as JSON: a contract with scripts."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from consumer.admin.status import VERSION, plain
from tests.unit.admin.sample_status import sample_status
from tests.unit.pipeline.doubles import document

NAMES: dict[str, list[str]] = {
    "": [
        "at", "service", "state", "reasons", "worries", "servers", "partitions", "totals", "work",
        "rates", "results", "letters", "settings", "version", "pace",
    ],
    "service": ["release", "instance", "group", "started_at", "uptime_seconds"],
    "servers": ["name", "breaker", "fuse", "paused", "workspaces"],
    "servers.breaker": [
        "state", "trial_in", "failures", "last_failure_at", "last_error", "rest", "alone",
    ],
    "servers.fuse": ["blown", "trial_in", "share", "documents"],
    "servers.workspaces": ["workspace", "error", "seconds", "trial_in", "waiting"],
    "partitions": [
        "topic", "partition", "lag", "stable_lag", "open", "held_back", "oldest_seconds",
        "committed",
    ],
    "totals": ["partitions", "lag", "stable_lag", "open", "held_back", "oldest_seconds"],
    "work": ["documents", "places", "aside", "bytes", "waiting", "oldest"],
    "work.waiting": ["waits_for", "workspace", "server", "documents", "trial_in", "why"],
    "work.oldest": [
        "at", "identity", "document_id", "workspace", "trace_id", "station", "waits_for", "aside",
        "seconds", "bytes", "chunks", "error", "why",
    ],
    "work.oldest.chunks": ["total", "unchanged", "uploaded", "failed"],
    "rates": [
        "ago", "seconds", "documents", "uploads", "failures", "upload_mean", "upload_p95",
    ],
    "pace": ["seconds", "documents", "uploads", "failures", "eta_seconds"],
    "results": [
        "at", "status", "identity", "document_id", "workspace", "event_id", "chunks", "failed",
        "seconds", "dead_letter", "error",
    ],
    "letters": ["open", "forgotten", "causes"],
    "letters.causes": [
        "reason", "http_status", "message", "workspace", "document", "letters", "latest",
    ],
    "settings": ["name", "value", "is_default"],
}  # fmt: skip
"""Of version 1, by path. They may grow; one that goes or means something else is version 2."""


def names_in(value: Any, path: str = "") -> dict[str, list[str]]:
    if isinstance(value, list):
        found: dict[str, list[str]] = {}
        for each in value:
            found |= names_in(each, path)
        return found
    if not isinstance(value, dict):
        return {}
    found = {path: list(value)}
    for name, each in value.items():
        found |= names_in(each, f"{path}.{name}".strip("."))
    return found


def test_names_are_those_of_its_version() -> None:
    """Scripts and the command `status` read them."""
    status = orjson.loads(orjson.dumps(plain(sample_status(), str)))

    assert names_in(status) == NAMES
    assert status["version"] == VERSION == 1
    assert status["at"].startswith("2026-03-01T09:30:00")


def test_every_text_is_cleaned() -> None:
    """Whatever it is of: an unclean one may hold a secret, or what JSON can't."""
    status = plain(sample_status(title="CANARY\ud800"), lambda text: text[:3])

    assert "CANARY" not in str(status)
    assert orjson.dumps(status)


def test_what_is_no_part_of_a_status_is_never_shown() -> None:
    """A document that came here by mistake would be shown with its text."""
    with pytest.raises(TypeError, match="ProcessedDocument"):
        plain((document("a", "a text"),), str)
