"""Runs pytest sessions side by side, and shows each line under the name of its session.

``python -m tests.runs.side_by_side quick`` is ``make test``: the tests that need Kafka, which
mostly wait for it, beside all the others, which mostly compute; ``slow`` is ``make test-slow``.
Further words are options for pytest.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence

SESSIONS = {
    "quick": {"kafka": "kafka and not slow", "rest": "not kafka and not slow"},
    "slow": {"slow": "slow"},
}
_STOPS = (signal.SIGINT, signal.SIGTERM)


def pytest_command(expression: str, *options: str) -> list[str]:
    """Runs the tests that these markers choose; unbuffered, or a pipe holds back what it says."""
    return [
        *(sys.executable, "-u", "-m", "pytest", "-q", "-p", "tests.runs.at_once"),
        *("-p", "no:cacheprovider", "--durations=15", "--durations-min=1", "-m", expression),
        *options,
    ]


async def _show(name: str, stream: asyncio.StreamReader) -> None:
    while line := await stream.readline():
        sys.stdout.write(f"{name:>5} | {line.decode(errors='replace')}")
        sys.stdout.flush()


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


async def side_by_side(commands: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Exit codes by name.

    SIGINT or SIGTERM interrupts all of them, and they take down what they have started; the second
    time it kills them.
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
        await asyncio.gather(*(_show(n, p.stdout) for n, p in processes.items() if p.stdout))
        return {name: await process.wait() for name, process in processes.items()}
    finally:
        for number in _STOPS:
            loop.remove_signal_handler(number)


def main(which: str, *options: str) -> int:
    """0 where all sessions are green."""
    commands = {n: pytest_command(chosen, *options) for n, chosen in SESSIONS[which].items()}
    codes = asyncio.run(side_by_side(commands))
    for name, code in codes.items():
        print(f"{name:>5} : {'green' if code == 0 else f'RED, exit code {code}'}")
    return 0 if set(codes.values()) == {0} else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
