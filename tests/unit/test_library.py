"""What is usable without the service: these modules import in an environment of the base packages.

The environment is played: an import of any installed package that `pyproject.toml` does not ask for
without an extra fails as if it were not there. `tests/library` installs the built wheel for real.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import orjson
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from consumer.cli.installed import SERVICE

REPOSITORY = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]

# A module that is promised to import without the extra `service`, and a name that is taken from it.
ALONE = {
    "consumer.anythingllm": "AnythingLLMClient",
    "consumer.contract.processed_document": "ProcessedDocument",
    "consumer.contract.received_result": "ReceivedResult",
    "consumer.contract.schemas": "event_schema",
    "consumer.publishing": "RecordMaker",
    "consumer.results": "Sieve",
    "consumer.sandbox.simulator": "simulator",
    "consumer.telemetry.logs": "set_up_logging",
}

# Run with the names that are not installed as its first word and the table as its second.
PROGRAM = """
import importlib, importlib.machinery, json, sys

absent, table = (json.loads(word) for word in sys.argv[1:])

class Installed:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in absent:
            return None
        return importlib.machinery.PathFinder.find_spec(name, path, target)

files = sys.meta_path.index(importlib.machinery.PathFinder)
sys.meta_path[files:] = [Installed]
for module, name in table.items():
    try:
        getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        print(f"{module}: {error!r}")
"""


def _closure(asked: Iterable[str]) -> set[str]:
    """The distributions that come with these requirements, on this platform."""
    found: set[str] = set()
    waiting = [Requirement(each) for each in asked]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        applies = not requirement.marker or requirement.marker.evaluate({"extra": ""})
        if name in found or not applies:
            continue
        try:
            wanted = requires(name) or ()
        except PackageNotFoundError:
            continue
        found.add(name)
        waiting.extend(map(Requirement, wanted))
    return found


@pytest.fixture(scope="module")
def absent() -> list[str]:
    """Everything importable here that an installation without extras would not have."""
    base = _closure(PROJECT["dependencies"]) | {"anythingllm-consumer"}
    return [
        name
        for name, owners in packages_distributions().items()
        if not base & {canonicalize_name(owner) for owner in owners}
    ]


def _in_base_environment(absent: list[str], program: str, *words: str) -> tuple[int, str, str]:
    ended = subprocess.run(
        [sys.executable, "-c", program, orjson.dumps(absent).decode(), *words],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return ended.returncode, ended.stdout, ended.stderr


def test_what_is_promised_imports_without_the_service(absent: list[str]) -> None:
    """No Kafka, no command line, no metrics, no OpenTelemetry: only the base packages."""
    assert {"aiokafka", "typer", "rich", "prometheus_client", "opentelemetry"} <= set(absent)

    ended = _in_base_environment(absent, PROGRAM, orjson.dumps(ALONE).decode())

    assert ended == (0, "", "")


def test_what_is_absent_is_noticed(absent: list[str]) -> None:
    """The check itself: what needs Kafka does not import in there."""
    wrong = {"consumer.kafka.publisher": "Publisher", "consumer.model": "Nothing"}

    _, said, _ = _in_base_environment(absent, PROGRAM, orjson.dumps(wrong).decode())

    kafka, name = said.splitlines()
    assert "No module named 'aiokafka'" in kafka
    assert "Nothing" in name


def test_the_program_says_what_to_install(absent: list[str]) -> None:
    """Without the extra there is one line and a failure, not a traceback."""
    program = PROGRAM.partition("for module")[0] + "from consumer.cli import main\nmain()\n"

    code, out, err = _in_base_environment(absent, program, "{}")

    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1
    assert 'pip install "anythingllm-consumer[service]"' in err
    assert "aiokafka" in err


def test_the_guard_knows_the_whole_extra() -> None:
    """A package that the extra gains is looked for by the program as well."""
    extra = {Requirement(each).name for each in PROJECT["optional-dependencies"]["service"]}

    assert {canonicalize_name(name) for name in SERVICE} == extra
