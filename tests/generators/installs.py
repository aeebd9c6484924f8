"""What makes models of our schemas, in pinned versions, installed into a folder of the tests.

A registry that can't be reached is no fault of the schemas: the tests are skipped with the reason.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.registries import skip_or_fail

PROGRAMS = Path(__file__).parent / "programs"
DATAMODEL_CODEGEN = "datamodel-code-generator==0.89.0"
NPM = (
    "@asyncapi/modelina@5.10.1",
    "@asyncapi/parser@3.6.6",
    "@types/node@20.19.0",
    "quicktype@26.0.0",
    "typescript@7.0.2",
)
REACT_COMPONENT = "@asyncapi/react-component@3.2.1"
_COPY_DEPENDENCIES = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_SECONDS = 400.0
_LAST = 2_000  # characters


def run(
    *command: str | Path, cwd: Path, given: bytes = b"", env: Mapping[str, str] | None = None
) -> bytes:
    """What a command prints; the test fails where it fails."""
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        input=given,
        env={**os.environ, **(env or {})},
        capture_output=True,
        timeout=_SECONDS,
        check=False,
    )
    said = (done.stderr or done.stdout).decode(errors="replace")[-_LAST:]
    assert done.returncode == 0, f"{Path(command[0]).name} ended with {done.returncode}:\n{said}"
    return done.stdout


def _installed(*command: str | Path, cwd: Path) -> None:
    program = str(command[0])
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    try:
        run(*command, cwd=cwd)
    except (AssertionError, subprocess.TimeoutExpired) as error:
        skip_or_fail(f"what {program} should install", str(error))


def npm(folder: Path, *packages: str) -> Path:
    """A folder with ``node_modules``."""
    folder.mkdir()
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    options = ("--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", "--no-save")
    _installed("npm", "install", *options, *packages, cwd=folder)
    return folder


def npm_package(folder: Path, package: str) -> Path:
    """What one package holds, without those that it depends on."""
    folder.mkdir()
    _installed("npm", "pack", "--loglevel=error", package, cwd=folder)
    (archive,) = folder.glob("*.tgz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return folder / "package"


def pip(folder: Path, *packages: str) -> Path:
    """A folder for ``PYTHONPATH``."""
    folder.mkdir()
    options = ("--quiet", "--disable-pip-version-check", "--target", str(folder))
    _installed(sys.executable, "-m", "pip", "install", *options, *packages, cwd=folder)
    return folder


def jackson(folder: Path) -> Path:
    """A folder with the jars that Java models of Modelina and quicktype need."""
    folder.mkdir()
    shutil.copy(PROGRAMS / "pom.xml", folder)
    if shutil.which("javac") is None:
        pytest.skip("javac is not installed")
    options = ("--batch-mode", "--quiet", "--strict-checksums", "-Dstyle.color=never")
    _installed("mvn", *options, _COPY_DEPENDENCIES, "-DoutputDirectory=lib", cwd=folder)
    return folder / "lib"
