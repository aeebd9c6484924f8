"""Kubernetes manifests: as they stand, and as `kustomize` puts them together."""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.places import DEPLOY

FOLDER = DEPLOY / "kubernetes"
OF_KEDA = "keda.sh/"

Manifest = dict[str, Any]


def kustomizations() -> list[Path]:
    """The folders that can be built."""
    return sorted(path.parent for path in FOLDER.rglob("kustomization.yaml"))


def manifests_in(path: Path) -> list[Manifest]:
    """All documents of a file."""
    return list(yaml.safe_load_all(path.read_text()))


def kustomize() -> list[str]:
    """The words that build a folder; the test is skipped where nothing can."""
    if shutil.which("kustomize") is not None:
        return ["kustomize", "build"]
    if shutil.which("kubectl") is None:
        pytest.skip("neither kustomize nor kubectl here")
    told = subprocess.run(
        ["kubectl", "version", "--client", "--output", "json"], capture_output=True, text=True
    )
    version = json.loads(told.stdout or "{}").get("kustomizeVersion", "v0")
    if int(version.removeprefix("v").split(".")[0]) < 5:
        pytest.skip(f"kubectl has kustomize {version}; 5 is needed")
    return ["kubectl", "kustomize"]


@cache
def built(folder: Path) -> tuple[Manifest, ...]:
    """What a folder becomes.

    Raises:
        AssertionError: kustomize does not take it.
    """
    ended = subprocess.run([*kustomize(), str(folder)], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert not ended.stderr, ended.stderr
    return tuple(yaml.safe_load_all(ended.stdout))


def one(manifests: tuple[Manifest, ...], kind: str) -> Manifest:
    """The only one of its kind."""
    (found,) = [each for each in manifests if each["kind"] == kind]
    return found
