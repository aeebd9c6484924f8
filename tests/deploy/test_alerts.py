"""Every alert asks for what there is, fires, clears, and has an entry in the runbook."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.commands import known
from tests.deploy.places import ALERTS, DEPLOY, MONITORING, REPOSITORY, alerts, program, read_yaml
from tests.deploy.promql import asked_of, strangers

RUNBOOK = (DEPLOY / "RUNBOOK.md").read_text()
TESTS = MONITORING / "alerts.test.yaml"


@pytest.fixture(scope="module")
def looks() -> dict[str, list[bool]]:
    """By alert what its rules test looks for, in order of time: whether it fires."""
    return {
        test["name"].partition(":")[0]: [
            bool(look["exp_samples"]) for look in test["promql_expr_test"]
        ]
        for test in read_yaml(TESTS)["tests"]
    }


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: str(rule["alert"]))
def test_an_alert_asks_for_what_there_is(rule: dict[str, Any]) -> None:
    """A metric or label that was renamed would silence its alert without a word."""
    assert asked_of(rule["expr"])
    assert strangers(rule["expr"]) == []


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("anythingllm_consumer_lag > 0", "no metric anythingllm_consumer_lag"),
        (
            "sum by (topics) (rate(anythingllm_consumer_lag_records[5m]))",
            "anythingllm_consumer_lag_records has no label topics",
        ),
        (
            'max_over_time(anythingllm_consumer_breaker_state{state="ajar"}[5m:1m]) unless up',
            "anythingllm_consumer_breaker_state has no state=ajar",
        ),
        (
            "sum by (state) (anythingllm_consumer_breaker_state and on (jobs) up)",
            "up has no label jobs",
        ),
    ],
)
def test_what_there_is_not_is_noticed(expression: str, found: str) -> None:
    """However deep in an expression it stands."""
    assert strangers(expression) == [found]


def test_alerts_say_what_happened_and_how_urgent_it_is() -> None:
    """Severities are the two that the runbook explains; nothing is left to guess."""
    for rule in alerts():
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert set(rule["annotations"]) == {"summary", "description", "runbook"}
        assert f"*{rule['labels']['severity']}.*" in _entry(rule["alert"])


def _entry(alert: str) -> str:
    found = re.search(rf"^## {alert}\n(.*?)(?=^## |\Z)", RUNBOOK, re.MULTILINE | re.DOTALL)
    assert found is not None, f"no entry for {alert}"
    return found[1]


def test_the_runbook_has_an_entry_for_each_alert_and_no_other() -> None:
    """In the same order, and each alert links to its own."""
    assert re.findall(r"^## (.*)$", RUNBOOK, re.MULTILINE) == [each["alert"] for each in alerts()]
    for rule in alerts():
        place, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert (REPOSITORY / place).samefile(DEPLOY / "RUNBOOK.md")
        assert anchor == rule["alert"].lower()


def test_commands_of_the_runbook_exist() -> None:
    """What somebody pastes at night is known, with its options."""
    shown = re.findall(r"(?<!/)(?<!--namespace )(anythingllm-consumer [^`\n]+)", RUNBOOK)
    assert len(shown) > 5
    for line in shown:
        known(shlex.split(line)[1:])


def test_each_alert_is_tested_before_while_and_after_it_fires(looks: dict[str, list[bool]]) -> None:
    """A test that sees an alert fire only would let one pass that always does."""
    assert looks.keys() == {rule["alert"] for rule in alerts()}
    for alert, fires in looks.items():
        assert (fires[0], True in fires, fires[-1]) == (False, True, False), alert


def _promtool(*words: str, folder: Path = MONITORING) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program("promtool", "prometheus"), *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_rules_are_sound() -> None:
    """Prometheus itself takes them, with their templates."""
    ended = _promtool("check", "rules", ALERTS.name)

    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.slow
def test_each_alert_fires_and_clears() -> None:
    """By Prometheus's own clock and evaluation, over made-up series."""
    ended = _promtool("test", "rules", TESTS.name)

    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["vector(1)", "vector(1) > 1"], ids=["always", "never"])
def test_an_alert_that_is_wrong_is_noticed(wrong: str, tmp_path: Path) -> None:
    """Rules that always fire, and rules that never do, fail every single test."""
    rules = read_yaml(ALERTS)
    for rule in rules["groups"][0]["rules"]:
        rule["expr"] = wrong
        rule.pop("for", None)
    (tmp_path / ALERTS.name).write_text(yaml.safe_dump(rules))
    (tmp_path / TESTS.name).write_text(TESTS.read_text())

    ended = _promtool("test", "rules", TESTS.name, folder=tmp_path)

    assert ended.returncode != 0
    assert set(_failed(ended.stderr + ended.stdout)) == {rule["alert"] for rule in alerts()}


def _failed(said: str) -> Iterator[str]:
    yield from re.findall(r'alertname=\\?"(\w+)', said)
