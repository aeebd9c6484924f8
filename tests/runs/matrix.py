"""Do the unit tests pass on oldest and newest Python, with the oldest and the newest packages?

``python -m tests.runs.matrix 3.11 3.13`` is ``make matrix``; a path of a Python will do as well.
Each that is found here gets two environments made from the sdist: one with the newest versions that
`pyproject.toml` allows, one with the lowest that it names (``--resolution lowest-direct``). Tools
of the tests are the newest that go with them. The tests run in the unpacked sdist.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parents[2]
RESOLUTIONS = ("highest", "lowest-direct")
TESTS = ("tests/unit", "-m", "not slow and not kafka", "-q", "-p", "no:cacheprovider")
_UV = Path(sys.executable).parent / "uv"


class Failed(Exception):
    """A step went wrong; the message is what it said last."""


def _run(*command: object, cwd: Path = REPOSITORY) -> str:
    ended = subprocess.run(
        [str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    if ended.returncode:
        raise Failed("\n".join((ended.stdout + ended.stderr).strip().splitlines()[-30:]))
    return ended.stdout


def unpacked_sdist(folder: Path) -> Path:
    """The sdist of this checkout, built and unpacked."""
    _run(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", folder, ".")
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "source", filter="data")
    (source,) = (folder / "source").iterdir()
    return source


def python_found(version: str) -> str | None:
    """The Python of this version, where there is one; none is downloaded."""
    try:
        return _run(_UV, "python", "find", "--no-python-downloads", version).strip()
    except Failed:
        return None


def lowest(source: Path, folder: Path, python: str) -> Path:
    """A file of constraints: the lowest versions of what `pyproject.toml` names for users."""
    project = tomllib.loads((source / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    direct = [*project["dependencies"], *extras["service"], *extras["otel"]]
    names = {canonicalize_name(Requirement(each).name) for each in direct}
    options = ["--resolution", "lowest-direct", "--python", python, "--no-annotate", "--no-header"]
    wanted = ["--extra", "service", "--extra", "otel", source / "pyproject.toml"]
    lines = _run(_UV, "pip", "compile", "--quiet", *options, *wanted).splitlines()
    pins = folder.parent / f"{folder.name}.txt"
    pins.write_text("".join(f"{line}\n" for line in lines if line.partition("==")[0] in names))
    return pins


def environment(source: Path, folder: Path, python: str, resolution: str) -> Path:
    """An environment for the tests; its Python."""
    _run(_UV, "venv", "--quiet", "--python", python, folder)
    own = folder / "bin" / "python"
    options = ["--quiet", "--python", own]
    if resolution == "lowest-direct":
        options += ["--constraint", lowest(source, folder, python)]
    _run(_UV, "pip", "install", *options, f"{source}[test]")
    return own


def figures(said: str) -> str:
    """Pytest's last line, without its frame and its seconds."""
    found = re.search(r"\d+ passed[^=\n]*?(?= in )", said)
    return found.group() if found else "no tests"


def main(versions: Sequence[str]) -> int:
    """One line for each of them; 1 where one is red, or not here."""
    red = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = unpacked_sdist(folder)
        for number, version in enumerate(versions):
            python = python_found(version)
            if python is None:
                red = 1
                print(f"Python {version}: none here; give its path", flush=True)
                continue
            for resolution in RESOLUTIONS:
                began = time.monotonic()
                title = f"Python {version}, {resolution}"
                try:
                    place = folder / f"{number}-{resolution}"
                    own = environment(source, place, python, resolution)
                    said = figures(_run(own, "-m", "pytest", *TESTS, cwd=source))
                    print(f"{title}: {said}, {time.monotonic() - began:.0f} s", flush=True)
                except Failed as error:
                    red = 1
                    print(f"{title}: RED\n{error}", flush=True)
    return red


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
