"""What `tests.commands` promises: a command in this process is as alone as a process."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import warnings
from pathlib import Path

import pytest
import structlog

from consumer.sandbox.simulator import Simulator
from tests.commands import CANARY, Commands

KEY = {"ANYTHINGLLM_API_KEY": "k" * 20}


def state() -> tuple[object, ...]:
    """Everything of this process that a command changes."""
    root = logging.getLogger()
    streams = (sys.stdin, sys.stdout, sys.stderr, warnings.showwarning)
    return (dict(os.environ), Path.cwd(), *streams, list(root.handlers), root.level,
            logging.getLogger("aiokafka").level, structlog.is_configured(),
            structlog.get_config())  # fmt: skip


def test_a_command_leaves_the_process_as_it_was(commands: Commands) -> None:
    """Also one that sets up logging and fails."""
    before = state()
    ended = commands.run_here("results", settings={"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"})

    assert ended.code == 1
    assert ended.err.startswith("error: Kafka: ")
    assert state() == before


def test_it_sees_the_given_settings_only(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the tester's shell says is not there."""
    monkeypatch.setenv("ADMIN_PORT", "x")
    (commands.folder / "empty.ndjson").touch()
    dry = ("publish", "--dry-run", "--json", "empty.ndjson")
    fine = commands.run_here(*dry, settings={})
    wrong = commands.run_here(*dry, settings={"ADMIN_PORT": "y"})

    assert (fine.code, fine.err.count("\n"), fine.json["valid"]) == (0, 1, 0)
    assert wrong.code == 2
    assert "ADMIN_PORT = 'y'" in wrong.err


def test_it_reads_the_given_standard_input(commands: Commands) -> None:
    """Bytes, as in a pipe."""
    ended = commands.run_here("validate", "-", settings={}, stdin=b"{nonsense\n")

    assert ended.code == 3
    assert ended.lines[-1] == "1 event: 0 valid, 1 invalid"


async def test_it_runs_beside_the_servers_of_the_test(
    commands: Commands, simulator: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    """It speaks to them, and what others say meanwhile is not taken for its output."""

    async def chatter() -> None:
        while True:
            print("chatter")
            await asyncio.sleep(0)

    others = asyncio.create_task(chatter())
    settings = {**KEY, "ANYTHINGLLM_API_KEY": simulator.api_key}
    settings["ANYTHINGLLM_ENDPOINT"] = simulator.endpoint
    ended = await commands.run("workspaces", "verify", settings=settings)
    others.cancel()

    assert (ended.code, ended.err) == (0, "")
    assert ended.lines == [
        "0 workspaces, 0 documents, 0 chunks, 0 documents of others: 0 found, 0 notes"
    ]
    assert "chatter" in capsys.readouterr().out


async def test_commands_at_once_go_one_after_the_other(commands: Commands) -> None:
    """Each with its own output: what they change is the whole process's."""
    (commands.folder / "one.ndjson").write_bytes(b"{}\n")
    words = [["--version"], ["validate", "one.ndjson"], ["--version"]]
    first, second, third = await asyncio.gather(
        *(commands.run(*each, settings={}) for each in words)
    )

    assert first.out == third.out
    assert first.out.startswith("anythingllm-consumer ")
    assert second.code == 3


def test_a_secret_that_was_shown_fails_the_test(tmp_path: Path) -> None:
    """As `Programs` does."""
    told = Commands(tmp_path)
    told.run_here("validate", CANARY, settings={})

    with pytest.raises(AssertionError, match="the API key was shown"):
        told.close()
