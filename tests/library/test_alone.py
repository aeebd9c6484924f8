"""The wheel in an empty environment, as somebody has it who only wants the client."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from consumer.sandbox.simulator import simulator
from tests.library.conftest import REPOSITORY, run, tool
from tests.registries import skip_or_fail
from tests.unit.test_library import ALONE

EXAMPLE = REPOSITORY / "tests" / "library" / "example"
PYRIGHT = "pyright@1.1.414"

# What a person would try: every promised module, and what came along with them.
LOOK = """
import importlib, json, sys
from importlib.metadata import distributions
for module in sys.argv[1:]:
    importlib.import_module(module)
print(json.dumps(sorted({each.metadata["Name"].lower() for each in distributions()})))
"""


@pytest.mark.slow
def test_the_client_comes_without_the_service(client_alone: Path, tmp_path: Path) -> None:
    """Neither Kafka nor the command line is installed, and everything promised imports."""
    packages = json.loads(run([client_alone, "-c", LOOK, *ALONE], cwd=tmp_path).stdout)

    assert {"aiohttp", "ijson", "orjson", "pybreaker", "pydantic", "structlog"} <= set(packages)
    assert not {"aiokafka", "typer", "rich", "prometheus-client", "cramjam"} & set(packages)


@pytest.mark.slow
def test_the_command_says_what_to_install(client_alone: Path, tmp_path: Path) -> None:
    """One line on standard error, and a failure."""
    program = client_alone.parent / "anythingllm-consumer"
    for command in ([program, "--version"], [client_alone, "-m", "consumer", "run"]):
        ended = run(command, cwd=tmp_path, code=1)

        assert ended.stdout == ""
        assert ended.stderr.count("\n") == 1
        assert 'pip install "anythingllm-consumer[service]"' in ended.stderr


@pytest.mark.slow
async def test_the_example_runs(client_alone: Path, tmp_path: Path) -> None:
    """The project of a user works with the installed wheel."""
    async with simulator() as server:
        process = await asyncio.create_subprocess_exec(
            *(client_alone, EXAMPLE / "notes.py", server.endpoint, server.api_key),
            cwd=tmp_path,
            stdout=subprocess.PIPE,
        )
        said, _ = await process.communicate()

    lines = said.decode().splitlines()
    assert process.returncode == 0
    assert "succeeded Oil the hinges in spring." in lines
    assert "removed: True" in lines


@pytest.mark.slow
def test_it_is_typed_for_mypy(client_alone: Path, tmp_path: Path) -> None:
    """A user's strict mypy finds the types of the installed package."""
    options = ["--strict", "--python-executable", client_alone, "--cache-dir", tmp_path / "cache"]
    shutil.copytree(EXAMPLE, tmp_path / "example")
    readme = (REPOSITORY / "README.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    of_client = [block for block in blocks if "AnythingLLMClient" in block]
    assert len(of_client) == 2
    for number, block in enumerate(of_client):
        (tmp_path / "example" / f"readme_{number}.py").write_text(block)

    run([tool("mypy"), *options, "example"], cwd=tmp_path)
    wrong = tmp_path / "example" / "notes.py"
    wrong.write_text(wrong.read_text().replace("limit=1", "limit='1'"))
    said = run([tool("mypy"), *options, "example"], cwd=tmp_path, code=1).stdout

    assert '"limit"' in said


@pytest.mark.slow
def test_it_is_typed_for_pyright(client_alone: Path, tmp_path: Path) -> None:
    """Pyright, too, which infers nothing of a package that is not typed."""
    if shutil.which("npm") is None:
        pytest.skip("no npm here (Debian's package npm has it)")
    options = ["--loglevel=error", "--no-audit", "--no-fund", "--prefix", tmp_path]
    installed = run(["npm", "install", *options, PYRIGHT], cwd=tmp_path, code=None)
    if installed.returncode:
        skip_or_fail(PYRIGHT, installed.stderr)
    shutil.copytree(EXAMPLE, tmp_path / "example")
    settings = {"include": ["example"], "typeCheckingMode": "strict", "pythonPlatform": "Linux"}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    pyright = [tmp_path / "node_modules" / ".bin" / "pyright", "--pythonpath", client_alone]

    ended = run([*pyright, "--outputjson"], cwd=tmp_path, code=None)

    found = json.loads(ended.stdout)
    assert found["summary"]["filesAnalyzed"] == len(list(EXAMPLE.glob("*.py")))
    assert [each["message"] for each in found["generalDiagnostics"]] == []
