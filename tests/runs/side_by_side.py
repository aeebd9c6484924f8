"""Runs pytest sessions side by side, and shows each line under the name of its session.

``python -m tests.runs.side_by_side quick`` is ``make test``: three sessions that mostly wait, each
for a Kafka of its own, beside three that compute. ``slow`` is the rest of ``make test-all``, and
``release`` is ``make test-slow``: what does not fit in there. Further words are options for pytest.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

# Each session collects in these folders alone: all of the tests would be read five times.
# `tests/conftest.py` refuses a test on Kafka that is elsewhere.
KAFKA_FOLDERS = (
    *("tests/integration", "tests/e2e", "tests/operations", "tests/compatibility"),
    *("tests/generators", "tests/bench"),
)
WORLDS_FOLDERS = ("tests/virtual", "tests/between", "tests/contract")


@dataclass(frozen=True, slots=True)
class Session:
    """Which tests one pytest session runs.

    Args:
        marks: an expression over their marks.
        folders: where they are; none: everywhere.
        without: where they are not.
    """

    marks: str
    folders: tuple[str, ...] = ()
    without: tuple[str, ...] = ()


ON_KAFKA = {
    "kafka": Session("kafka and not service and not processes and not slow", KAFKA_FOLDERS),
    "service": Session("kafka and service and not processes and not slow", KAFKA_FOLDERS),
    "processes": Session("kafka and processes and not slow", KAFKA_FOLDERS),
}


def _slow(chosen: str) -> dict[str, Session]:
    return {
        "kafka": Session(f"{chosen} and kafka and not processes", KAFKA_FOLDERS),
        "processes": Session(f"{chosen} and kafka and processes", KAFKA_FOLDERS),
        "worlds": Session(f"{chosen} and not kafka", WORLDS_FOLDERS),
        "rest": Session(f"{chosen} and not kafka", without=WORLDS_FOLDERS),
    }


SESSIONS = {
    "quick": {
        **ON_KAFKA,
        "worlds": Session("not kafka and not slow", WORLDS_FOLDERS),
        "commands": Session("not kafka and not slow", KAFKA_FOLDERS),
        "rest": Session("not kafka and not slow", without=(*WORLDS_FOLDERS, *KAFKA_FOLDERS)),
    },
    "slow": _slow("slow and not release"),
    "release": _slow("release"),
}
# What failed and why, to be said once more at the end: a log that keeps only its last lines would
# say that a session was red, and not what.
_RED = re.compile(r"\| (?:FAILED |ERROR \S+::|E   )|_ (?:setup|call|teardown) of \S+ _")
_RED_LINES, _RED_LENGTH = 60, 300
_STOPS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):
    """Somebody has ended the sessions."""


def pytest_command(session: Session, *options: str) -> list[str]:
    """Runs the tests of a session; unbuffered, or a pipe holds back what it says."""
    return [
        *(sys.executable, "-u", "-m", "pytest", "-q", "-p", "tests.runs.at_once"),
        *("-p", "no:cacheprovider", "--durations=15", "--durations-min=1", "-m", session.marks),
        *(f"--ignore={folder}" for folder in session.without),
        *options,
        *session.folders,
    ]


def show(line: str) -> None:
    """Write a line at once."""
    print(line, flush=True)


async def side_by_side(
    commands: Mapping[str, Sequence[str]], hear: Callable[[str], None] = show
) -> dict[str, int]:
    """Run commands to their ends; exit codes by name.

    SIGINT or SIGTERM interrupts all of them, and they take down what they have started; the second
    time it kills them.

    Args:
        commands: by name.
        hear: gets every line of theirs when it is said.

    Raises:
        Interrupted: by one of these signals; all have ended.
    """
    processes = {name: await _start(command) for name, command in commands.items()}
    interrupted = False

    def stop() -> None:
        nonlocal interrupted
        for process in processes.values():
            if process.returncode is None and interrupted:
                os.killpg(process.pid, signal.SIGKILL)
            elif process.returncode is None:
                process.send_signal(signal.SIGINT)
        interrupted = True

    loop = asyncio.get_running_loop()
    for number in _STOPS:
        loop.add_signal_handler(number, stop)
    try:
        await asyncio.gather(*(_pass_on(name, p, hear) for name, p in processes.items()))
        codes = {name: await process.wait() for name, process in processes.items()}
    finally:
        for number in _STOPS:
            loop.remove_signal_handler(number)
    if interrupted:
        raise Interrupted(f"exit codes: {codes}")
    return codes


async def _start(command: Sequence[str]) -> asyncio.subprocess.Process:
    # A process group of its own: Ctrl-C reaches us alone, and every session hears of it once.
    # Twice would end a session in the middle of its taking down.
    return await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        process_group=0,
        limit=2**24,
    )


async def _pass_on(
    name: str, process: asyncio.subprocess.Process, hear: Callable[[str], None]
) -> None:
    assert process.stdout is not None
    while line := await process.stdout.readline():
        hear(f"{name:>9} | {line.decode(errors='replace').rstrip()}".rstrip())


def run(commands: Mapping[str, Sequence[str]]) -> int:
    """Run them and say last what failed; 0 where all are green."""
    red: list[str] = []

    def hear(line: str) -> None:
        show(line)
        if _RED.search(line):
            red.append(line[:_RED_LENGTH])

    try:
        codes = asyncio.run(side_by_side(commands, hear))
    except Interrupted as error:
        show(f"interrupted; {error}")
        return 130
    for line in red[-_RED_LINES:]:
        show(line)
    for name, code in codes.items():
        show(f"{name:>9} : {'green' if code == 0 else f'RED, exit code {code}'}")
    return 0 if set(codes.values()) == {0} else 1


def main(which: str, *options: str) -> int:
    """0 where all sessions are green."""
    return run({n: pytest_command(chosen, *options) for n, chosen in SESSIONS[which].items()})


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
