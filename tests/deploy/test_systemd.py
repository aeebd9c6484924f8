"""The unit for systemd is sound, and confines the service as far as it can."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from consumer.cli.common import ExitCode
from consumer.settings import load_settings
from tests.deploy.commands import known
from tests.deploy.places import DEPLOY, program

FOLDER = DEPLOY / "systemd"
UNIT = FOLDER / "anythingllm-consumer.service"


def _assignments(path: Path) -> list[tuple[str, str]]:
    """Every ``name=value`` of a file, in order."""
    lines = [line for line in path.read_text().splitlines() if line and line[0] not in "#["]
    return [(name, value) for name, _, value in (line.partition("=") for line in lines)]


def _values(name: str) -> list[str]:
    return [value for key, value in _assignments(UNIT) if key == name]


def test_the_service_takes_its_settings(tmp_path: Path) -> None:
    """Those of the example and of the unit, as it reads them itself."""
    (credential,) = _values("LoadCredential")
    name = credential.partition(":")[0]
    (tmp_path / name).write_text("a-secret")
    (own,) = _values("Environment")
    variable, _, value = own.partition("=")
    environment = dict(_assignments(FOLDER / "settings.env"))

    settings = load_settings({**environment, variable: value.replace("%d", str(tmp_path))})

    assert settings.anythingllm.api_key.get_secret_value() == "a-secret"
    (seconds,) = _values("TimeoutStopSec")
    assert int(seconds) >= settings.shutdown.drain_seconds + 10


def test_it_runs_the_service_and_gives_up_on_wrong_settings_only() -> None:
    """A start with settings that are wrong is as wrong the next time."""
    (command,) = _values("ExecStart")
    known(command.split()[1:])

    assert _values("RestartPreventExitStatus") == [str(int(ExitCode.WRONG_USAGE))]
    assert _values("StartLimitIntervalSec") == ["0"]


def test_the_time_of_the_start_can_be_read() -> None:
    """Without /proc/stat there is no `process_start_time_seconds`, and an alert would be mute."""
    assert _values("ProcSubset") == []


def test_systemd_takes_it(tmp_path: Path) -> None:
    """With a program in its place that is there."""
    (command,) = _values("ExecStart")
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace(command.split()[0], sys.executable))

    ended = subprocess.run(
        [program("systemd-analyze", "systemd"), "verify", str(unit)], capture_output=True, text=True
    )

    assert (ended.returncode, ended.stdout + ended.stderr) == (0, "")


def test_systemd_finds_little_that_is_exposed() -> None:
    """At most 2 of 10; what is left is the network, and the root of the machine to read."""
    ended = subprocess.run(
        [
            *(program("systemd-analyze", "systemd"), "security", "--no-pager"),
            *("--offline=true", "--threshold=20", str(UNIT)),
        ],
        capture_output=True,
        text=True,
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
