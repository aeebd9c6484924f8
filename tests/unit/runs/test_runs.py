"""What runs the tests: nothing of what a session says or how it ends gets lost."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.runs.side_by_side import KAFKA_FOLDERS, SESSIONS, Interrupted, side_by_side
from tests.runs.side_by_side import run as run_sessions
from tests.runs.under_load import Run, busy_loop, report, run


def python(code: str) -> list[str]:
    return [sys.executable, "-u", "-c", code]


async def test_every_line_is_shown_under_its_name_and_every_code_is_kept(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One red session is enough, whichever it is."""
    wrong = "import sys; print('to stdout'); print('to stderr', file=sys.stderr); sys.exit(3)"
    codes = await side_by_side({"fine": python("print('all is well')"), "wrong": python(wrong)})

    assert codes == {"fine": 0, "wrong": 3}
    assert sorted(capsys.readouterr().out.splitlines()) == [
        "     fine | all is well",
        "    wrong | to stderr",
        "    wrong | to stdout",
    ]


def test_what_failed_is_said_once_more_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    """Who sees only the last lines of a run has to learn what was red, and why."""
    says = ("_ call of tests/a.py::one _", "a line", "E   assert 8 <= 5", "FAILED tests/a.py::one")
    wrong = python(f"print({chr(10).join(says)!r}); raise SystemExit(1)")

    assert run_sessions({"fine": python("print('all is well')"), "wrong": wrong}) == 1
    assert capsys.readouterr().out.splitlines()[-5:] == [
        "    wrong | _ call of tests/a.py::one _",
        "    wrong | E   assert 8 <= 5",
        "    wrong | FAILED tests/a.py::one",
        "     fine : green",
        "    wrong : RED, exit code 1",
    ]


_TAKES_DOWN = """
import signal, sys, time
def interrupted(*_):
    signal.signal(signal.SIGINT, lambda *_: sys.exit(9))
    print("taking down")
    time.sleep(0.5)
    sys.exit(2)
signal.signal(signal.SIGINT, interrupted)
print("ready")
time.sleep(60)
"""


async def test_an_interruption_reaches_every_session_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A second one would break into the taking down of what a session has started."""
    commands = {"a": python(_TAKES_DOWN), "b": python(_TAKES_DOWN)}
    running = asyncio.create_task(side_by_side(commands))
    said = ""
    async with asyncio.timeout(30):
        while said.count("ready") < 2:
            await asyncio.sleep(0.02)
            said += capsys.readouterr().out
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Interrupted, match=r"\{'a': 2, 'b': 2\}"):
            await running

    assert capsys.readouterr().out.count("taking down") == 2


_TWO_TESTS = """
import signal, subprocess, sys

def test_that_fails(capsys):
    code = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    said = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert said == "a child hears SIGINT: " + said

def test_that_comes_later(capsys):
    with capsys.disabled():
        print("THE LATER ONE")
"""


def test_a_failure_is_shown_when_it_happens(tmp_path: Path) -> None:
    """Before the next test, and the last page does not repeat it.

    A session in the background of a shell ignores SIGINT. Those it starts must not inherit that.
    """
    (tmp_path / "test_two.py").write_text(_TWO_TESTS)
    plugins = ["-p", "tests.runs.at_once", "-p", "tests.conftest", "-p", "no:cacheprovider"]
    words = [sys.executable, "-m", "pytest", "-q", *plugins, "--rootdir", str(tmp_path)]
    ignoring = "trap '' INT; exec \"$@\""
    # Where CI is set, pytest names a failure with all of its message.
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    done = subprocess.run(
        ["/bin/sh", "-c", ignoring, "sh", *words, str(tmp_path)],
        cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip

    shown, later = done.stdout.split("THE LATER ONE")
    assert done.returncode == 1
    assert "assert 'True\\n' == 'a child hears SIGINT: True\\n'" in shown
    assert "a child hears" not in later
    assert "1 failed, 1 passed" in later


_MARKS = ("kafka", "service", "processes", "slow", "release")
_FOLDERS = ("tests/virtual", "tests/unit", "tests/e2e")


@pytest.mark.parametrize("folder", _FOLDERS)
def test_every_test_is_in_one_session_and_no_more(folder: str) -> None:
    """However a test is marked; what needs Kafka is in a folder of those."""
    for each_mark in product((True, False), repeat=len(_MARKS)):
        marks = dict(zip(_MARKS, each_mark, strict=True))
        if (marks["release"] and not marks["slow"]) or marks["kafka"] > (folder in KAFKA_FOLDERS):
            continue  # which tests/conftest.py does not let be
        chosen = [
            (which, name)
            for which, sessions in SESSIONS.items()
            for name, session in sessions.items()
            if (not session.folders or folder in session.folders)
            and folder not in session.without
            and eval(session.marks, {}, marks)  # noqa: S307
        ]
        tier = "release" if marks["release"] else "slow" if marks["slow"] else "quick"
        assert [which for which, _ in chosen] == [tier], (marks, chosen)


def test_red_runs_are_counted_and_named(capsys: pytest.CaptureFixture[str]) -> None:
    """What failed how often says where to look; what was said is passed on."""
    fine = python("print('fine')")
    fails = python("print('FAILED tests/a.py::one - why'); raise SystemExit(1)")
    green, red = run({"a": fine}), run({"a": fine, "b": fails})

    assert (red.code, red.failed) == (1, ("tests/a.py::one",))
    assert (green.code, green.failed) == (0, ())
    assert "        b | FAILED tests/a.py::one - why\n" in capsys.readouterr().out
    told = report([Run(1, 2.0, ("a", "b")), Run(0, 3.0, ()), Run(1, 4.0, ("a",))])
    assert told.splitlines() == ["2 of 3 runs red; seconds: 2, 3, 4", "  2 times a", "  1 times b"]


async def test_the_artificial_load_ends_with_us() -> None:
    """Also when we are killed: nothing may keep a core busy for ever."""
    code = (
        "import os, time\nfrom tests.runs.under_load import busy_loop\n"
        "with busy_loop() as loop:\n    print(loop, flush=True)\n    time.sleep(60)"
    )
    us = await asyncio.create_subprocess_exec(
        *python(code), cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE
    )
    assert us.stdout is not None
    killed = int(await us.stdout.readline())
    us.kill()
    await us.wait()
    with busy_loop() as ended:
        assert _runs(ended)

    assert not _runs(ended)
    async with asyncio.timeout(30):
        while _runs(killed):  # noqa: ASYNC110 - a process of nobody's ends without a word
            await asyncio.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
