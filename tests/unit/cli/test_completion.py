"""Completion in shells: what is offered, and that a shell takes our script."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from consumer.cli.commands import COMMANDS, GROUPS
from tests.commands import Commands

REPOSITORY = Path(__file__).resolve().parents[3]
VARIABLE = "_ANYTHINGLLM_CONSUMER_COMPLETE"


def offered(commands: Commands, line: str) -> set[str]:
    """What bash would be offered at the end of a line."""
    words = line.split(" ")
    asked = {"COMP_WORDS": line, "COMP_CWORD": f"{len(words) - 1}"}
    ended = commands.run_here(settings={VARIABLE: "complete_bash", **asked})
    assert ended.code == 0, ended.err
    return set(ended.lines) - {""}


def test_commands_and_options_are_offered(commands: Commands) -> None:
    """Also those of commands that are imported only when they are called."""
    groups = {each.words for each in COMMANDS if " " not in each.words} | set(GROUPS)

    assert offered(commands, "anythingllm-consumer ") == groups
    assert offered(commands, "anythingllm-consumer dlq re") == {"replay"}
    assert "--reason" in offered(commands, "anythingllm-consumer dlq list --")
    assert offered(commands, "anythingllm-consumer dlq list --wi") == {"--wide"}


@pytest.mark.slow
def test_the_script_of_the_readme_works_in_bash(tmp_path: Path) -> None:
    """As a person gets it: the line of the README in a file that bash reads, then a tab."""
    program = tmp_path / "anythingllm-consumer"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m consumer "$@"\n')
    program.chmod(0o755)
    script = (
        'eval "$(anythingllm-consumer --show-completion)"\n'
        "COMP_WORDS=(anythingllm-consumer workspaces ve)\nCOMP_CWORD=2\n"
        "_anythingllm_consumer_completion anythingllm-consumer\n"
        'echo "${COMPREPLY[@]}"\n'
    )
    assert script.splitlines()[0] in (REPOSITORY / "README.md").read_text()
    path = f"{tmp_path}:{os.environ['PATH']}"
    environment = {"PATH": path, "PYTHONPATH": str(REPOSITORY), "HOME": str(tmp_path)}
    ended = subprocess.run(
        ["bash", "-c", script], env=environment, capture_output=True, timeout=60, check=False
    )

    assert ended.stderr == b""
    assert ended.stdout.decode().split() == ["verify"]
