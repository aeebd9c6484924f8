"""Several servers in the settings: names, addresses, keys from files, and what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from consumer.settings import Settings, SettingsError, load_settings
from consumer.settings.checks import servers_are_listed
from consumer.settings.endpoints import endpoints, pins


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        (tmp_path / name).write_text(f"CANARY-{name}\n", encoding="utf-8")
    return tmp_path


def listed(keys: Path, *names: str) -> str:
    return ", ".join(f"{name} http://{name}.local:3001/ {keys / name}" for name in names)


def problem_with(env: dict[str, str], config: Path | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(env, config)
    return str(caught.value)


def test_each_server_has_its_key_from_its_file(keys: Path) -> None:
    found = endpoints().parse(listed(keys, "a", "b"))
    assert [(each.name, each.url) for each in found] == [
        ("a", "http://a.local:3001"),
        ("b", "http://b.local:3001"),
    ]
    assert [each.api_key.get_secret_value() for each in found] == ["CANARY-a", "CANARY-b"]
    assert "CANARY" not in repr(found)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("a http://a:1", "the file of its key"),
        ("A http://a:1 {keys}/a", "a name"),
        ("a ftp://a {keys}/a", "server a"),
        ("a http://u:p@a:1 {keys}/a", "no user and password"),
        ("a http://a:1 {keys}/a, a http://b:1 {keys}/b", "the same name"),
        ("a http://a:1 {keys}/a, b http://a:1/ {keys}/b", "the same url"),
        ("a http://a:1 CANARY-inline", "key-file can't be read"),
        (", ".join(f"s{n} http://s{n}:1 {{keys}}/a" for n in range(9)), "1 to 8 servers"),
    ],
)
def test_what_is_wrong_is_told_without_a_secret(keys: Path, given: str, words: str) -> None:
    told = problem_with({"ANYTHINGLLM_ENDPOINTS": given.format(keys=keys)})
    assert words in told
    assert "CANARY" not in told


def test_one_server_beside_several_is_a_contradiction(keys: Path) -> None:
    env = {"ANYTHINGLLM_ENDPOINTS": listed(keys, "a"), "ANYTHINGLLM_API_KEY": "CANARY-one"}
    told = problem_with(env)
    assert "leave one away" in told
    assert "CANARY" not in told


def test_several_servers_are_refused_unless_they_are_to_be_tried(keys: Path) -> None:
    """They can lose texts (README): nobody is to find that out in production."""
    env = {"ANYTHINGLLM_ENDPOINTS": listed(keys, "a", "b")}
    assert "several servers are on trial" in problem_with(env)
    tried: Settings = load_settings({**env, "ANYTHINGLLM_ENDPOINTS_TRIAL": "true"})
    assert len(tried.anythingllm.endpoints or ()) == 2


def test_a_pin_is_read_by_its_workspace() -> None:
    assert pins().parse("docs=a, blog = b") == {"docs": "a", "blog": "b"}


@pytest.mark.parametrize("given", ["docs", "docs=", "=a", "Docs=a", "docs=a,docs=b", "docs=A"])
def test_a_pin_that_says_two_things_or_none_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match=r"^$"):
        pins().parse(given)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("ANYTHINGLLM_PINS", "docs=c", "are not in ANYTHINGLLM_ENDPOINTS: c"),
    ],
)
def test_names_fit_the_list(keys: Path, name: str, value: str, words: str) -> None:
    told = problem_with({"ANYTHINGLLM_ENDPOINTS": listed(keys, "a"), name: value})
    assert words in told


def test_nothing_is_said_of_names_where_there_is_one_server() -> None:
    settings: Settings = load_settings({"ANYTHINGLLM_API_KEY": "k"})
    assert list(servers_are_listed(settings)) == []


def test_the_file_may_have_tables_of_servers_and_pins(keys: Path, tmp_path: Path) -> None:
    config = tmp_path / "consumer.toml"
    config.write_text(
        f"[anythingllm.endpoints]\na = 'http://a:1 {keys}/missing'\n[anythingllm.pins]\ndocs = 'c'",
        encoding="utf-8",
    )
    told = problem_with({}, config)
    assert "[anythingllm] endpoints = ***: server a: its key-file can't be read" in told
    assert "required" not in told
