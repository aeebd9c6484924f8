"""What `make dist` and `make docs` build: complete, equal however it is built, and tested."""

from __future__ import annotations

import importlib
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.library.conftest import Built, run, tool

# Documented modules. What is not in the reference can't be found by those who install the package.
REFERENCE = ("consumer.anythingllm", "consumer.publishing", "consumer.results")

# Tests that look at each kind of file in the sdist; `make matrix` runs all of tests/unit from it.
FROM_SDIST = (
    "tests/unit/test_library.py",
    "tests/unit/test_readme.py",
    "tests/unit/test_schemas.py",
    "tests/deploy/test_compose.py",
)


def _contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.slow
def test_an_index_would_take_them(built: Built) -> None:
    """The README renders, and nothing is in the wheel that should not be installed."""
    run([tool("twine"), "check", "--strict", *built])
    run([tool("check-wheel-contents"), built.wheel])


@pytest.mark.slow
def test_the_sdist_builds_the_same_wheel(built: Built, tmp_path: Path) -> None:
    """`python -m build` has built it from the sdist; from the checkout it has the same bytes."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path]
    run([*command, "."])

    (direct,) = tmp_path.glob("*.whl")
    contents = _contents(direct)
    assert contents == _contents(built.wheel)
    assert {"consumer/py.typed", "consumer/_schemas/asyncapi.json"} <= contents.keys()


@pytest.mark.slow
def test_the_tests_run_from_the_sdist(built: Built, tmp_path: Path) -> None:
    """Whoever packages it for a distribution has the tests, and all they read."""
    with tarfile.open(built.sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()
    options = ["-q", "-p", "no:cacheprovider", "-m", "not slow and not kafka"]

    ended = run([sys.executable, "-m", "pytest", *options, *FROM_SDIST], cwd=folder)

    assert " passed" in ended.stdout
    assert {"Makefile", ".ci", "docs", "findings"} <= {each.name for each in folder.iterdir()}


@pytest.mark.slow
def test_the_reference_has_every_public_name(tmp_path: Path) -> None:
    """`make docs` is clean, with warnings as errors, and leaves out nothing of `__all__`."""
    run([sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "docs", tmp_path / "html"])

    pages = "".join(page.read_text() for page in (tmp_path / "html" / "library").glob("*.html"))
    for module in REFERENCE:
        for name in importlib.import_module(module).__all__:
            assert f'id="{module}.{name}"' in pages, name
