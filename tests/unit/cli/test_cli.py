"""The command line: exit codes, errors in one line, and help that is fast and complete."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
import tomllib
import types
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path

import orjson
import pytest

from consumer import __version__
from consumer.cli import output, progress, streams
from consumer.cli.commands import COMMANDS, GROUPS, Command
from consumer.cli.common import CommandFailed, ExitCode, end
from consumer.cli.main import run_line
from consumer.sandbox.samples import sample_events
from tests.commands import CANARY, Commands

REPOSITORY = Path(__file__).resolve().parents[3]
SAMPLE = "tests_sample_commands"


def succeed() -> None:
    """Do it."""
    output.line("done")


def find_something() -> None:
    """Look."""
    end(ExitCode.FOUND)


def fail() -> None:
    """Fail for a reason."""
    raise CommandFailed("the broker at x:1 does not answer; is it running?")


def explode() -> None:
    """Meet a fault in the program."""
    raise KeyError("unexpected\x1b[2J thing")


def interrupt() -> None:
    """Get a Ctrl-C."""
    raise KeyboardInterrupt


def read_settings() -> None:
    """Read settings that are wrong."""
    from consumer.settings import load_settings

    load_settings({"ADMIN_PORT": "x", "ANYTHINGLLM_API_KEY": "CANARY key"})


@pytest.fixture
def samples() -> Iterator[tuple[Command, ...]]:
    """Commands of a module that is there for one test."""
    module = types.ModuleType(SAMPLE)
    module.__spec__ = types.SimpleNamespace(name=SAMPLE)  # type: ignore[assignment]
    functions = (succeed, find_something, fail, explode, interrupt, read_settings)
    for function in functions:
        setattr(module, function.__name__, function)
    sys.modules[SAMPLE] = module
    yield tuple(Command(one.__name__, f"{SAMPLE}:{one.__name__}", "") for one in functions)
    del sys.modules[SAMPLE]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (["succeed"], 0),
        (["find_something"], 3),
        (["fail"], 1),
        (["explode"], 1),
        (["interrupt"], 130),
        (["read_settings"], 2),
        (["unknown"], 2),
        (["succeed", "--unknown"], 2),
        ([], 2),
        (["--help"], 0),
        (["--version"], 0),
    ],
)
def test_exit_codes_tell_scripts_what_happened(
    line: list[str], code: int, samples: tuple[Command, ...]
) -> None:
    """0 done, 1 failed, 2 settings or usage, 3 a check found something, 130 interrupted."""
    assert run_line(line, samples) == code


def test_an_expected_failure_is_one_line_on_standard_error(
    samples: tuple[Command, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """Standard output stays clean for scripts."""
    run_line(["fail"], samples)

    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == "error: the broker at x:1 does not answer; is it running?\n"


def test_an_unexpected_failure_shows_a_traceback_only_when_asked(
    samples: tuple[Command, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """Operators get a line, developers the place; neither gets control characters."""
    run_line(["explode"], samples)
    plain = capsys.readouterr().err
    run_line(["--debug", "explode"], samples)
    debugging = capsys.readouterr().err

    assert plain.startswith("error: unexpected KeyError")
    assert "\x1b" not in plain
    assert "Traceback" not in plain
    assert "Traceback" in debugging


def test_all_wrong_settings_are_listed_without_secrets(
    samples: tuple[Command, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """Each on a line of its own."""
    run_line(["read_settings"], samples)

    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" = ")[0] for line in lines] == [
        "error: 2 problems with the settings:",
        "  ANYTHINGLLM_API_KEY",
        "  ADMIN_PORT",
    ]
    assert "CANARY" not in "".join(lines)


def program(
    *words: str, env: dict[str, str] | None = None, stdout: int = subprocess.PIPE
) -> subprocess.CompletedProcess[bytes]:
    line = [sys.executable, "-m", "consumer", *words]
    return subprocess.run(
        line, env=env, stdout=stdout, stderr=subprocess.PIPE, timeout=60, check=False
    )


def test_python_m_consumer_is_the_program() -> None:
    """The same as the installed command."""
    ended = program("--version")

    assert ended.returncode == 0
    assert ended.stdout.decode() == f"anythingllm-consumer {__version__}\n"


@pytest.mark.parametrize("words", ["run", "check", "publish x", "results", "topics create"])
def test_wrong_settings_are_exit_2_everywhere(commands: Commands, words: str) -> None:
    """One mistake has one code and one text, whatever the command; nothing is contacted."""
    wrong = {"ANYTHINGLLM_API_KEY": "k" * 9, "KAFKA_BOOTSTRAP_SERVERS": "a:b", "ADMIN_PORT": "x"}
    ended = commands.run_here(*words.split(), settings=wrong)

    assert ended.code == 2
    assert ended.out == ""
    assert "KAFKA_BOOTSTRAP_SERVERS" in ended.err
    assert "ADMIN_PORT" in ended.err


def test_wrong_settings_of_run_are_all_named_at_once(commands: Commands) -> None:
    """On their face wrong they are no outage to wait for: each is told with what is allowed."""
    wrong = {
        "KAFKA_BOOTSTRAP_SERVERS": "no-port",
        "KAFKA_GROUP": "x",
        "ANYTHINGLLM_ENDPOINT": "ftp://x",
        "ANYTHINGLLM_API_KEY": CANARY + "\n",
        "UPLOAD_ATTEMPTS": "0",
        "UPLOAD_TIMEOUT": "3",
        "ADMIN_PORT": "99999",
    }
    ended = commands.run_here("run", settings=wrong)

    assert ended.code == 2
    assert ended.out == ""
    told = {line.split()[0].rstrip(":") for line in ended.err.splitlines()[1:]}
    assert told == set(wrong)
    assert "did you mean UPLOAD_TIMEOUT_SECONDS?" in ended.err


def test_run_ends_with_a_line_where_opentelemetry_can_not_be_set_up(commands: Commands) -> None:
    """It reads its variables itself and raises what it likes; that is no fault in the program."""
    wrong = {
        "ANYTHINGLLM_API_KEY": CANARY,
        "TRACING_ENABLED": "true",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "99999",
    }
    ended = commands.run_here("run", settings=wrong)

    assert ended.code == 1
    (line,) = ended.err.splitlines()
    assert line.startswith("error: OpenTelemetry can't be set up: ValueError: ")
    assert "see the OTEL_… variables" in line


def test_run_ends_with_2_where_a_setting_is_wrong() -> None:
    """As a process, which is what an orchestrator sees."""
    ended = program("run", env={"PATH": os.environ["PATH"], "ADMIN_PORT": "x"})

    assert ended.returncode == 2
    for name in ("ADMIN_PORT", "ANYTHINGLLM_API_KEY"):
        assert name in ended.stderr.decode()
    assert ended.stdout == b""


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_gone_is_no_traceback(unbuffered: str) -> None:
    """`… | head -1` ends quietly, whether Python notices while writing or at its end."""
    reading, writing = os.pipe()
    os.close(reading)
    environment = {"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": unbuffered}
    try:
        ended = program("--version", env=environment, stdout=writing)
    finally:
        os.close(writing)

    assert ended.stderr == b""
    assert ended.returncode == 1


# Rooms that a list of commands, the help of a command, and `validate` may load anything of.
_FOR_A_LIST = {"cli", "telemetry"}
_FOR_HELP = _FOR_A_LIST | {"model", "operations"}
_FOR_VALIDATE = _FOR_HELP | {"contract", "pipeline", "settings", "wiring"}
# Of the libraries in pyproject.toml; not asyncio either, which takes as long to import as typer.
_FOR_ALL = {"orjson", "pydantic", "rich", "typer"}
_LOOKS_AT_IMPORTS = """
import contextlib, io, json, sys
from consumer.cli.main import run_line

lines, into, loaded = json.loads(sys.argv[1]), io.StringIO(), []
for line in lines:
    with contextlib.redirect_stdout(into):
        code = run_line(line)
    loaded.append([code, sorted(sys.modules)])
print(json.dumps(loaded))
"""


def test_short_commands_load_only_what_they_need(tmp_path: Path) -> None:
    """Help that takes a second is not read: no command's help needs a client of any server.

    `validate` needs the contract and no more. All in one process, whose modules only grow.
    """
    file = tmp_path / "events.ndjson"
    file.write_text("{}")
    groups = [[*group.split(), "--help"] for group in ("", *GROUPS)]
    lines = [*groups, *([*one.words.split(), "--help"] for one in COMMANDS)]
    script = [sys.executable, "-c", _LOOKS_AT_IMPORTS]
    words = json.dumps([*lines, ["validate", str(file)]])
    ended = subprocess.run([*script, words], capture_output=True, timeout=60)

    assert ended.returncode == 0, ended.stderr.decode()
    *helps, (code, for_validate) = json.loads(ended.stdout)
    for_a_list, for_help = helps[len(groups) - 1][1], helps[-1][1]
    assert [*(each[0] for each in helps), code] == [*(0 for _ in helps), ExitCode.FOUND]
    assert _rooms(for_a_list) <= _FOR_A_LIST
    assert {one.target.partition(":")[0] for one in COMMANDS}.isdisjoint(for_a_list)
    assert _rooms(for_help) <= _FOR_HELP
    assert _rooms(for_validate) <= _FOR_VALIDATE
    assert ({"asyncio", *_libraries()} & set(for_validate)) <= _FOR_ALL


def _rooms(loaded: Iterable[str]) -> set[str]:
    """The rooms of ours that something was loaded of."""
    return {name.split(".")[1] for name in loaded if name.startswith("consumer.")}


def _libraries() -> set[str]:
    """The top-level packages that pyproject.toml names as dependencies."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    names = (re.match(r"[\w-]+", each) for each in project["dependencies"])
    return {name[0].replace("-", "_") for name in names if name}


def test_summaries_are_those_of_the_commands() -> None:
    """A list of commands says of each what its own help begins with."""
    for command in COMMANDS:
        module, _, function = command.target.partition(":")
        paragraph = (inspect.getdoc(getattr(import_module(module), function)) or "").split("\n\n")[
            0
        ]

        assert command.summary == " ".join(paragraph.split()), command.words


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.words)
def test_every_command_has_help(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """And is known under the words of the contract."""
    assert run_line([*command.words.split(), "--help"]) == 0
    assert command.words.split()[-1] in capsys.readouterr().out


def test_groups_are_those_of_the_table() -> None:
    """A group without commands would be an empty promise."""
    assert {one.words.split()[0] for one in COMMANDS if " " in one.words} == set(GROUPS)


def test_json_lines_are_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is in them."""
    output.json_line({"title": "a\nb", "n": 1})

    assert orjson.loads(capsys.readouterr().out) == {"title": "a\nb", "n": 1}


def test_tables_are_tab_separated_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    """A title with a tab or an escape sequence neither shifts columns nor reaches the terminal."""
    output.table(["id", "title"], [["1", "a\tb\x1b[2J"], [2, None]])

    assert capsys.readouterr().out == "id\ttitle\n1\ta\\tb\\x1b[2J\n2\t\n"


def test_progress_is_silent_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    """A log file full of bars helps nobody."""
    with progress.bar("publishing", 3) as advance:
        advance(3)
    with progress.reading_bar() as move:
        move(1, 2)
        move(0, 0)
    with progress.stages(quiet=False) as stage:
        stage("one", 1, 2)
        stage("two", 0, 0)

    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("words", ["--port 99999", "--port -1", "--upload-cost -1"])
def test_numbers_that_make_no_sense_are_wrong_usage(commands: Commands, words: str) -> None:
    """Not a fault in the program."""
    ended = commands.run_here("simulate", *words.split(), settings={})

    assert ended.code == ExitCode.WRONG_USAGE
    assert "Invalid value" in ended.err


def test_the_null_device_takes_the_place_of_a_closed_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is written there is dropped; streams that are open stay what they are."""
    err = sys.stderr
    monkeypatch.setattr(sys, "stdout", None)
    streams.open_closed_ones()
    out = sys.stdout
    try:
        output.line("into nothing")
        assert streams.flushed(out) is None
        assert sys.stderr is err
        assert os.path.samestat(os.fstat(out.fileno()), os.stat(os.devnull))
    finally:
        os.close(out.fileno())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("closed", "words", "code", "told"),
    [
        ("0", "validate -", 0, b"-: note: the file holds no event\n"),
        ("1", "validate good.json", 0, b""),
        ("2", "validate missing", 2, b"0 events: "),
        ("012", "--version", 0, b""),
    ],
)
def test_a_stream_that_was_closed_is_no_fault(
    closed: str, words: str, code: int, told: bytes, tmp_path: Path
) -> None:
    """`>&-`: what goes there is dropped, the exit code stays, and no file gets the number."""
    (tmp_path / "good.json").write_bytes(next(iter(sample_events(1))))
    redirected = " ".join(f"{number}{'<' if number == '0' else '>'}&-" for number in closed)
    ended = subprocess.run(
        ["/bin/sh", "-c", f"exec {sys.executable} -m consumer {words} {redirected}"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        cwd=tmp_path,
        capture_output=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stderr) == (code, b"")
    assert ended.stdout.startswith(told)


@pytest.mark.slow
def test_a_full_disk_is_a_line() -> None:
    """It is no fault in the program."""
    with open("/dev/full", "wb") as full:
        ended = program("--version", stdout=full.fileno())

    assert ended.returncode == 1
    assert ended.stderr.startswith(b"error: No space left on device: standard output")
