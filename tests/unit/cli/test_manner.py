"""How a call is to speak: options of every command, before its name or behind it."""

from __future__ import annotations

import json
from typing import Any

import pytest
import typer

from consumer.cli import output
from consumer.cli.commands import COMMANDS, Command
from consumer.cli.main import build, run_line
from consumer.cli.manner import Manner, manner, speak
from tests.commands import Commands

KEY = {"ANYTHINGLLM_API_KEY": "k" * 9}
# With what `settings show` says of the log's level, which is the same for every command.
LEVEL = ("settings", "show", "--json")


def _options_of(program: Any, command: Command) -> set[str]:
    found = program
    for word in command.words.split():
        found = found.get_command(typer.Context(found), word)
    return {name for each in found._imported().params for name in each.opts}


def test_every_command_speaks_to_scripts_and_as_it_is_told() -> None:
    """`--json` and the common options are nowhere missing."""
    wanted = {"--json", "--verbose", "-v", "--quiet", "-q", "--wide"}
    program = build()
    missing = {each.words: wanted - _options_of(program, each) for each in COMMANDS}

    assert {words: options for words, options in missing.items() if options} == {}


def _level(commands: Commands, *words: str) -> tuple[str, str]:
    ended = commands.run_here(*words, settings=KEY)
    assert ended.code == 0, ended.err
    (row,) = [row for row in map(json.loads, ended.lines) if row["name"] == "LOG_LEVEL"]
    return row["value"], row["origin"]


def test_verbose_and_quiet_stand_anywhere(commands: Commands) -> None:
    """Before the command, behind its group, behind it: the log's level is the same."""
    assert _level(commands, *LEVEL) == ("info", "default")
    for place, option in enumerate(("-v", "-q", "--verbose", "-q")):
        level = "error" if option == "-q" else "debug"
        words = [*LEVEL[:place], option, *LEVEL[place:]]
        assert _level(commands, *words) == (level, "option"), words


def test_verbose_and_quiet_at_once_are_wrong_usage(commands: Commands) -> None:
    """Wherever each of them stands."""
    ended = commands.run_here("-v", "settings", "show", "--quiet", settings=KEY)

    assert ended.code == 2
    assert "--verbose and --quiet" in ended.err


def test_quiet_leaves_notes_out_and_no_errors(capsys: pytest.CaptureFixture[str]) -> None:
    """What was asked for is told all the same."""
    speak(Manner(quiet=True))
    try:
        output.note("a remark")
        output.line("the answer")
        output.error("what went wrong")
    finally:
        speak(Manner())

    assert capsys.readouterr() == ("the answer\n", "error: what went wrong\n")


def test_quiet_keeps_the_log_of_warnings_back(commands: Commands) -> None:
    """A doubtful setting is a warning; who asks for quiet has read it."""
    doubtful = {**KEY, "ANYTHINGLLM_ENDPOINT": "http://allm.example:3001"}
    told = commands.run_here("settings", "show", settings=doubtful)
    quiet = commands.run_here("settings", "show", "-q", settings=doubtful)

    assert "settings.warning" in told.err
    assert (quiet.code, quiet.err) == (0, "")
    assert quiet.out.replace("error\toption, --quiet", "info\tdefault") == told.out


def test_run_logs_json_where_that_is_asked_for(commands: Commands) -> None:
    """Whatever LOG_FORMAT says; here it ends at once, after a warning about a setting."""
    ends_at_once = {"TRACING_ENABLED": "true", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "99999"}
    doubtful = {"ANYTHINGLLM_ENDPOINT": "http://allm.example:3001", "LOG_FORMAT": "console"}
    plain = commands.run_here("run", settings={**KEY, **ends_at_once, **doubtful})
    ended = commands.run_here("run", "--json", settings={**KEY, **ends_at_once, **doubtful})

    assert (plain.code, ended.code) == (1, 1)
    assert not plain.lines[0].startswith("{")
    assert json.loads(ended.lines[0])["event"] == "settings.warning"


def test_schemas_say_to_scripts_what_was_written(commands: Commands) -> None:
    """And which differ from the models."""
    written = commands.run_here("schemas", "export", "new", "--json", settings={})
    (commands.folder / "new" / "asyncapi.json").write_text("{}")
    checked = commands.run_here("schemas", "export", "new", "--check", "--json", settings={})

    assert written.json["folder"] == "new"
    assert {"asyncapi.json", "upload-result.schema.json"} <= set(written.json["written"])
    assert checked.code == 3
    assert checked.json["differing"] == ["asyncapi.json"]
    assert checked.json["files"] == len(written.json["written"])


def test_one_call_s_manner_is_not_the_next_one_s() -> None:
    """Each begins anew."""
    assert run_line(["--wide", "--version"]) == 0
    assert run_line(["--version"]) == 0
    assert not manner().wide


def test_what_was_cut_is_said_once_and_not_with_quiet(commands: Commands) -> None:
    """Who reads a table at a narrow terminal knows that there is more, and how to see it."""
    settings = {**KEY, "KAFKA_BOOTSTRAP_SERVERS": ",".join(f"broker-{n}:9092" for n in range(9))}
    cut = commands.run_here("settings", "show", settings=settings, columns=80)
    quiet = commands.run_here("settings", "show", "-q", settings=settings, columns=80)
    wide = commands.run_here("settings", "show", "--wide", settings=settings, columns=80)

    assert cut.err.count("--wide shows") == 1
    assert "…" in cut.out
    assert quiet.err == ""
    assert wide.err == ""
    assert settings["KAFKA_BOOTSTRAP_SERVERS"].replace(",", ", ") in wide.out.replace(",b", ", b")
