"""What the Dockerfile promises, as far as its text shows it; `make image` builds and runs it."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatch

import pytest

from consumer.settings.table import TABLE
from tests.deploy.commands import known
from tests.deploy.places import DEPLOY, REPOSITORY

_TEXT = re.sub(r"\\\n", " ", (DEPLOY / "Dockerfile").read_text())
_STEPS = [line.split(None, 1) for line in _TEXT.splitlines() if line and line[0] not in "# "]


def _steps(word: str) -> list[str]:
    return [rest for name, rest in _STEPS if name == word]


def test_every_package_is_pinned_by_hash() -> None:
    """An install that asks a registry takes what the lock files name, and nothing else."""
    installs = [part for run in _steps("RUN") for part in run.split("&&") if " install " in part]

    assert len(installs) == 3
    for install in installs:
        assert "--require-hashes" in install or {"--no-deps", "--no-index"} <= set(install.split())


def test_the_base_is_named_by_version() -> None:
    """Both stages have the same one, and it can be pinned from outside."""
    (base,) = [value for value in _steps("ARG") if value.startswith("BASE=")]

    assert re.fullmatch(r"BASE=python:\d+\.\d+-slim", base)
    assert {stage.split()[0] for stage in _steps("FROM")} == {"${BASE}"}


def test_it_runs_as_nobody_and_hears_signals() -> None:
    """A number, since Kubernetes can't tell from a name; no shell that would keep SIGTERM."""
    entrypoint, command = json.loads(_steps("ENTRYPOINT")[0]), json.loads(_steps("CMD")[0])

    assert _steps("USER")[-1] == "10001:10001"
    assert entrypoint == ["anythingllm-consumer"]
    assert _steps("STOPSIGNAL") == ["SIGTERM"]
    known(command)
    assert _steps("EXPOSE") == [str(TABLE["ADMIN_PORT"].spec.default)]


def test_what_is_copied_is_sent_to_the_engine() -> None:
    """`.dockerignore` lets through what the image is built of, and no secrets."""
    rules = (REPOSITORY / ".dockerignore").read_text().split("\n")
    sent = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    copied = {name for copy in _steps("COPY") if "--from" not in copy for name in copy.split()[:-1]}

    assert "*" in rules
    assert copied == sent
    assert [name for name in copied if not (REPOSITORY / name).exists()] == []


@pytest.mark.parametrize("secret", [".env", "deploy/anythingllm-api-key", ".git"])
def test_secrets_are_not_sent(secret: str) -> None:
    """Nothing that is let through could be one."""
    rules = (REPOSITORY / ".dockerignore").read_text().split("\n")
    assert not any(fnmatch(secret, rule[1:]) for rule in rules if rule.startswith("!"))
