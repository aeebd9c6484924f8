"""Where the files are that operators start from, and what they hold."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
DEPLOY = REPOSITORY / "deploy"
MONITORING = DEPLOY / "monitoring"
ALERTS = MONITORING / "alerts.yaml"


def read_yaml(path: Path) -> Any:
    """The only document of a file."""
    return yaml.safe_load(path.read_text())


def alerts() -> list[dict[str, Any]]:
    """Every alert, as it stands in its file."""
    return [rule for group in read_yaml(ALERTS)["groups"] for rule in group["rules"]]


def program(name: str, package: str) -> str:
    """The path of a program of the system; the test is skipped where there is none."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} here (Debian's package {package} has it)")
    return found
