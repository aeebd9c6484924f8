"""``publish`` up to where it needs Kafka; on Kafka it is in ``tests/e2e/test_commands.py``."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from consumer.sandbox.samples import sample_documents
from tests.commands import PATIENCE, Commands, Ended

NOWHERE = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}


def written(path: Path, *events: bytes | dict[str, Any]) -> Path:
    """A file of one event a line."""
    lines = [event if isinstance(event, bytes) else json.dumps(event).encode() for event in events]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


@pytest.fixture
def events(tmp_path: Path) -> Path:
    """A file of three valid events."""
    return written(tmp_path / "events.ndjson", *sample_documents(3, shape="mixed"))


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A file of two valid events with two invalid ones between them."""
    first, second, broken = sample_documents(3)
    del broken["title"]
    return written(tmp_path / "mixed.ndjson", first, broken, b"{nonsense", second)


def one_error(ended: Ended) -> str:
    """The only line of standard error, which is an error."""
    (line,) = ended.err.splitlines()
    assert line.startswith("error: ")
    return line


def test_a_dry_run_needs_no_kafka(commands: Commands, events: Path, mixed: Path) -> None:
    """It says what would happen, with the exit code that it would have; no API key is needed."""
    dry = ("publish", "--dry-run", "--json")
    fine = commands.run_here(*dry, str(events), settings=NOWHERE)
    wrong = commands.run_here(*dry, str(mixed), settings=NOWHERE)

    assert fine.json == {"valid": 3, "invalid": 0, "published": 0, "dry_run": True}
    assert wrong.json == {"valid": 2, "invalid": 2, "published": 0, "dry_run": True}
    assert (fine.code, wrong.code) == (0, 3)


def test_publishing_without_a_kafka_ends_soon(commands: Commands, events: Path) -> None:
    """Neither a hang nor a flood of the library's lines."""
    ended = commands.run_here("publish", str(events), settings=NOWHERE)

    assert ended.code == 1
    assert NOWHERE["KAFKA_BOOTSTRAP_SERVERS"] in one_error(ended)
    assert ended.out == ""
    assert ended.seconds < PATIENCE / 2


def test_a_file_that_can_not_be_read_is_wrong_usage(commands: Commands, tmp_path: Path) -> None:
    """Exit 2 and the file's name, whether it is missing, a folder, or damaged."""
    damaged = tmp_path / "damaged.gz"
    damaged.write_bytes(gzip.compress(b"{}" * 1000)[:30])
    for path in (tmp_path / "missing", tmp_path, damaged):
        ended = commands.run_here("publish", str(path), settings=NOWHERE)
        assert ended.code == 2
        assert f"{path}: can't be read" in one_error(ended)


def test_an_empty_file_publishes_nothing(commands: Commands, tmp_path: Path) -> None:
    """A crawl without a page is no error, and Kafka is not even asked."""
    empty = written(tmp_path / "empty.ndjson", b"")
    ended = commands.run_here("publish", "--json", str(empty), settings=NOWHERE)

    assert ended.code == 0
    assert ended.json == {"valid": 0, "invalid": 0, "published": 0, "dry_run": False}


def test_what_was_not_published_is_said(commands: Commands, events: Path, tmp_path: Path) -> None:
    """The count 0 alone leaves open why."""
    empty = written(tmp_path / "empty.ndjson", b"")
    dry = commands.run_here("publish", "--dry-run", str(events), settings=NOWHERE)
    none = commands.run_here("publish", str(empty), settings=NOWHERE)

    assert "nothing was published: that was only the --dry-run" in dry.err
    assert "nothing was published: there is no event in what was given" in none.err


def test_a_file_is_no_id(commands: Commands, events: Path) -> None:
    """Taken for one all the same, since an id may look like that; but it is said."""
    dry = ("publish", "--delete", "--dry-run")
    named = commands.run_here(*dry, str(events), settings=NOWHERE)
    other = commands.run_here(*dry, "lantern-care", "x" * 5_000, settings=NOWHERE)

    assert f"there is a file {events}" in named.err
    assert "there is a file" not in other.err
    assert (named.code, other.code) == (0, 0)


def test_deleting_leaves_out_nothing(commands: Commands) -> None:
    """An option that would do nothing is refused."""
    ended = commands.run_here("publish", "--delete", "a", "--skip-invalid", settings=NOWHERE)

    assert (ended.code, "--skip-invalid is for events" in ended.err) == (2, True)
