"""The code of commit cdefe5a, for tests in which it and the present code meet."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands import clean_environment
from tests.conftest import REPOSITORY

COMMIT = "cdefe5a"

RunOld = Callable[..., None]


@pytest.fixture(scope="session")
def old_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with that commit's packages, from the history of this repository."""
    git = ["git", "-C", str(REPOSITORY), "archive", COMMIT, "consumer", "schemas", "tests"]
    try:
        made = subprocess.run(git, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip(f"commit {COMMIT} can't be had: there is no git")
    if made.returncode:
        pytest.skip(
            f"commit {COMMIT} is not in this clone's history (git fetch --unshallow gets it): "
            + made.stderr.decode(errors="replace").strip()
        )
    folder = tmp_path_factory.mktemp(COMMIT)
    with tarfile.open(fileobj=io.BytesIO(made.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def run_old(old_code: Path, tmp_path: Path) -> RunOld:
    """Runs a program of this repository with that commit's packages before the present ones."""

    def run(program: Path, *words: str | Path, stdin: bytes = b"") -> None:
        ended = subprocess.run(
            [sys.executable, program, old_code, *words],
            input=stdin,
            capture_output=True,
            cwd=tmp_path,
            env=clean_environment(tmp_path, {}),
            check=False,
        )
        assert ended.returncode == 0, (ended.stdout + ended.stderr).decode()[-5000:]

    return run
