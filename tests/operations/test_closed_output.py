"""Commands whose output nobody reads any more: `… | head` ends all of them in silence."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.doubles.stage import MemoryStage
from tests.operations.conftest import Operator
from tests.operations.letters import failing

AT_ONCE = ["dlq export", "dlq list --json", "validate --limit 0 events.ndjson"]
ALL = [
    *AT_ONCE, "validate --json events.ndjson", "publish --dry-run --json events.ndjson",
    "dlq list", "dlq stats", "dlq stats --json", "dlq show guide", "dlq show guide --json",
    "dlq show guide --payload", "dlq replay", "dlq replay --json", "dlq replay --yes", "dlq runs",
    "dlq park", "dlq park --json", "dlq park --yes --json", "where guide", "where guide --json",
    "audit", "audit --json", "workspaces list", "workspaces list --json",
    "workspaces verify --json", "workspaces repair --json", "--version",
]  # fmt: skip


@pytest.fixture
async def filled(stage: MemoryStage, tmp_path: Path) -> MemoryStage:
    """A stage with letters, results and documents, and a file of events."""
    await failing(stage)
    await stage.stop()
    (tmp_path / "events.ndjson").write_bytes(b'{"id": 7}\n' * 30)
    return stage


@pytest.mark.parametrize(
    "lines", [AT_ONCE, pytest.param(ALL, marks=pytest.mark.slow)], ids=["some", "all"]
)
async def test_a_reader_that_goes_away_ends_a_command_in_silence(
    lines: list[str], filled: MemoryStage, operator: Operator
) -> None:
    """At the first byte, and after some: exit 1, and not a word about a fault."""
    for number, words in enumerate(lines):
        read = number % 2 * 20
        ended = await operator.commands.run(*words.split(), settings=filled.env, read=read)
        told = [line for line in ended.err.splitlines() if "error" in line.casefold()]
        assert (ended.code, told) == (1, []), words
        assert "Traceback" not in ended.err, words
        assert len(ended.out) <= read
