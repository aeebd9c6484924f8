"""Settings, exit codes, log events, metrics, topics, schemas and help are those of commit cdefe5a.

New ones may come beside them; what there was keeps its name and its meaning.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from consumer.cli.common import ExitCode
from consumer.contract.schemas import files as schema_files
from consumer.settings import SettingsError, load_settings
from consumer.settings.names import NAMES
from consumer.settings.table import TABLE
from consumer.telemetry.events import EVENTS
from consumer.telemetry.metrics import Metrics
from consumer.wiring.topics import topic_specs
from tests.compatibility import present
from tests.compatibility.forms import FOLDER, digest, recorded
from tests.compatibility.interface import help_of, metrics_of
from tests.compatibility.since import ADDED_OPTIONS, compared

SETTINGS = recorded("settings.json")
NAMED = recorded("names.json")
ROWS = {row["name"]: row for row in SETTINGS["table"]}
METRICS = {metric["name"]: metric for metric in NAMED["metrics"]}
TOPICS = {topic["name"]: topic for topic in NAMED["topics"]}


@pytest.mark.parametrize("name", compared("settings.json", ROWS))
def test_a_setting_is_what_it_was(name: str) -> None:
    """Its place in the file, its default, and what is allowed."""
    row = TABLE[name]
    assert ROWS[name] == {
        "name": row.name,
        "file": f"[{row.group}] {row.key}",
        "default": row.spec.default,
        "required": row.spec.required,
        "allowed": row.spec.kind.allowed,
        "secret": row.spec.kind.secret,
    }


def test_every_variable_is_still_one() -> None:
    """Secrets from files among them."""
    assert set(SETTINGS["environment"]) <= NAMES


def test_a_file_of_then_means_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every setting in it has another value than its default."""
    monkeypatch.chdir(FOLDER)
    values = present.values_of(load_settings({}, FOLDER / "settings.toml"))
    assert {name: values[name] for name in SETTINGS["of_file"]} == SETTINGS["of_file"]


@pytest.mark.parametrize("number", range(len(SETTINGS["problems"])))
def test_wrong_settings_are_told_alike(number: int) -> None:
    """Every problem at once, in the same words."""
    case = SETTINGS["problems"][number]
    with pytest.raises(SettingsError) as caught:
        load_settings(case["environment"])
    assert str(caught.value) == case["told"]


def test_exit_codes_are_the_same() -> None:
    """Scripts decide by them."""
    codes = {code.name: int(code) for code in ExitCode}
    assert codes == codes | NAMED["exit_codes"]


def test_every_log_event_still_has_its_name() -> None:
    """Searches and alerts are written over them."""
    assert set(NAMED["log_events"]) <= set(EVENTS)


@pytest.mark.parametrize("name", compared("names.json", METRICS))
def test_a_metric_has_its_kind_and_labels(name: str) -> None:
    """Buckets and the series that are there from the start among them."""
    (metric,) = [each for each in metrics_of(Metrics().registry) if each["name"] == name]
    assert metric == METRICS[name]


@pytest.mark.parametrize("name", compared("names.json", TOPICS))
def test_a_topic_is_what_it_was(name: str) -> None:
    """What `topics create` makes and `check` asks for."""
    specs = topic_specs(load_settings({"ANYTHINGLLM_API_KEY": "k"}))
    (spec,) = [each for each in specs if each.name == name]
    assert TOPICS[name] == {
        "name": spec.name,
        "purpose": spec.purpose,
        "partitions": spec.partitions,
        "settings": dict(spec.settings),
    }


@pytest.mark.parametrize("name", compared("names.json", NAMED["schemas"]))
def test_a_schema_is_the_same_to_the_byte(name: str) -> None:
    """Generated, so that the models say the same as well."""
    assert digest(schema_files()[name]) == NAMED["schemas"][name]


@pytest.mark.parametrize("words", compared("names.json", NAMED["help"]))
def test_a_command_explains_itself_alike(words: str, tmp_path: Path) -> None:
    """Arguments, options, their defaults and every word about them."""
    now = help_of([words], tmp_path)[words]

    assert ADDED_OPTIONS in now
    assert now.replace(ADDED_OPTIONS, "") == NAMED["help"][words]
