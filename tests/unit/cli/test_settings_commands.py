"""``settings show`` and ``settings example``."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from consumer.settings import load_settings
from consumer.settings.example import example_file
from consumer.settings.table import TABLE
from tests.commands import CANARY, Commands

KEY = {"ANYTHINGLLM_API_KEY": CANARY}
_DEFAULT = re.compile(r"^#(?=[a-z_]+ = )", re.MULTILINE)


def shown(commands: Commands, *words: str, **settings: str) -> dict[str, dict[str, object]]:
    ended = commands.run_here("settings", "show", "--json", *words, settings=settings)
    assert (ended.code, ended.err) == (0, "")
    return {row["name"]: row for row in map(json.loads, ended.lines)}


def test_each_setting_is_told_with_where_it_comes_from(commands: Commands) -> None:
    """Default, file, environment (which wins), a secret's file: never the secret."""
    (commands.folder / "key").write_text(CANARY)
    (commands.folder / "settings.toml").write_text(
        '[kafka]\ngroup_id = "from-file"\nresults_topic = "r"\n'
        f'sasl_password = "{CANARY}"\nsasl_username = "me"\nsecurity_protocol = "SASL_SSL"\n'
        '[routing.map]\n"C++" = "cpp"\n'
    )
    given = {"KAFKA_GROUP_ID": "from-env", "ANYTHINGLLM_API_KEY_FILE": "key"}
    rows = shown(commands, "--config", "settings.toml", **given)

    assert list(rows) == [*TABLE, "[routing.map]"]
    group, results = rows["KAFKA_GROUP_ID"], rows["KAFKA_RESULTS_TOPIC"]
    assert (group["value"], group["origin"], group["given_as"]) == (
        "from-env", "environment", "KAFKA_GROUP_ID",
    )  # fmt: skip
    assert (results["value"], results["origin"]) == ("r", "file")
    assert results["given_as"] == "[kafka] results_topic"
    key, password = rows["ANYTHINGLLM_API_KEY"], rows["KAFKA_SASL_PASSWORD"]
    assert (key["secret"], key["set"], key["value"]) == (True, True, None)
    assert (key["given_as"], key["read_from"]) == ("ANYTHINGLLM_API_KEY_FILE", "key")
    assert (password["set"], password["value"], password["origin"]) == (True, None, "file")
    assert (rows["ADMIN_PORT"]["origin"], rows["ADMIN_PORT"]["default"]) == ("default", True)
    assert rows["[routing.map]"]["value"] == "C++=cpp"
    assert rows["[routing.map]"]["given_as"] == "[routing.map]"


def test_people_get_a_table_and_only_what_differs_where_they_want(commands: Commands) -> None:
    """A setting that was given its default is no difference."""
    given = {**KEY, "ADMIN_PORT": "8080", "FUSE_SHARE": "0.25"}
    ended = commands.run_here("settings", "show", "--changed", settings=given)

    assert [line.split("\t") for line in ended.lines] == [
        ["setting", "value", "from"],
        ["ANYTHINGLLM_API_KEY", "set, not shown", "environment"],
        ["FUSE_SHARE", "0.25", "environment"],
    ]


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_wrong_settings_are_told_as_run_does(commands: Commands, words: tuple[str, ...]) -> None:
    """The same text and exit code; nothing is shown half."""
    wrong = {"ADMIN_PORT": "x", "KAFKA_GROUP": "y"}
    ended = commands.run_here("settings", "show", *words, settings=wrong)
    of_run = commands.run_here("run", settings=wrong)

    assert (ended.code, ended.out, ended.err) == (2, "", of_run.err)


def test_the_example_changes_nothing_as_it_is(commands: Commands) -> None:
    """And so can be put in place before anything is decided."""
    made = commands.run_here("settings", "example", settings={})
    file = commands.folder / "settings.toml"
    file.write_text(made.out)

    assert made.code == 0
    assert made.out == example_file()
    assert load_settings(KEY, file) == load_settings(KEY)


def test_every_line_of_the_example_can_be_switched_on(tmp_path: Path) -> None:
    """All of them at once are the defaults: no value in it is wrong or another one."""
    text = _DEFAULT.sub("", example_file())
    file = tmp_path / "settings.toml"
    file.write_text(text)
    settings = load_settings(KEY, file)

    assert settings == load_settings(KEY)
    with_default = {name for name, row in TABLE.items() if row.spec.default is not None}
    assert set(settings.given_as) == with_default | {"ANYTHINGLLM_API_KEY"}


def test_the_example_names_every_setting_with_its_default_and_meaning() -> None:
    """In the group that it belongs to."""
    text = example_file()
    flat = " ".join(text.replace("\n#", " ").split())
    groups = dict(re.findall(r"^\[(\w+)\]\n(.*?)(?=^\[|\Z)", text, re.MULTILINE | re.DOTALL))

    for row in TABLE.values():
        assert f"#{row.key} = " in groups[row.group], row.name
        assert " ".join(row.spec.meaning.split()) in flat, row.name
        assert row.spec.kind.allowed in flat, row.name
        if row.spec.default is not None:
            line = re.search(rf'^#{row.key} = "?(.*?)"?$', groups[row.group], re.MULTILINE)
            assert line is not None
            assert line[1] == row.spec.default, row.name
        if row.spec.kind.secret:
            assert f"#{row.key}_file = " in groups[row.group]
    assert "#[routing.map]" in groups["routing"]


def test_programs_get_the_settings_there_are(commands: Commands) -> None:
    """One a line, with what is allowed; nothing is read for it."""
    ended = commands.run_here("settings", "example", "--json", settings={"ADMIN_PORT": "wrong"})
    rows = [json.loads(line) for line in ended.lines]

    assert [row["name"] for row in rows] == list(TABLE)
    assert rows[0] == {
        "name": "KAFKA_BOOTSTRAP_SERVERS", "group": "kafka", "key": "bootstrap_servers",
        "default": "localhost:9092", "required": False, "secret": False,
        "allowed": "host:port, several with commas between",
        "meaning": TABLE["KAFKA_BOOTSTRAP_SERVERS"].spec.meaning,
    }  # fmt: skip
