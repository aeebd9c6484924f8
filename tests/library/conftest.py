"""What a user installs: the built wheel, alone in an environment of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.registries import skip_or_fail

REPOSITORY = Path(__file__).resolve().parents[2]
_SECONDS = 100.0


class Built(NamedTuple):
    """What `make dist` gives."""

    wheel: Path
    sdist: Path


def run(
    command: Sequence[object], *, cwd: Path = REPOSITORY, code: int | None = 0
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; what it said is in the failure where its code is another.

    Args:
        command: the program and its words.
        cwd: where.
        code: the exit code that is right; None for any.
    """
    ended = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
    )
    assert code is None or ended.returncode == code, ended.stdout + ended.stderr
    return ended


def tool(name: str) -> Path:
    """A program of the development environment."""
    return Path(sys.executable).parent / name


def environment_of(folder: Path, *wanted: str | Path, python: str = sys.executable) -> Path:
    """A new virtual environment with these packages at the locked versions; its Python.

    The test is skipped where no package index answers.
    """
    run([tool("uv"), "venv", "--quiet", "--python", python, folder])
    path = folder / "bin" / "python"
    options = ["--quiet", "--python", path, "--constraint", REPOSITORY / "requirements.lock"]
    ended = run([tool("uv"), "pip", "install", *options, *wanted], code=None)
    if ended.returncode:
        skip_or_fail(" ".join(map(str, wanted)), ended.stderr)
    return path


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Sdist, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, "."])
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return Built(wheel, sdist)


@pytest.fixture(scope="session")
def client_alone(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has the wheel and what it asks for without extras."""
    return environment_of(tmp_path_factory.mktemp("alone") / "venv", built.wheel)
