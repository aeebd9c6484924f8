"""Shows that nothing is flaky: ``python -m tests.runs.under_load 10`` is ``make test-kafka``.

Runs the tests that need Kafka again and again while a busy loop takes its share of each core, which
is what a machine with other work is like. Says how many runs were red, and names what failed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tests.runs.side_by_side import ON_KAFKA, Interrupted, pytest_command, show, side_by_side

# Ends by itself when we are gone, even if we were killed.
_BUSY = "import os, sys\nwhile os.getppid() == int(sys.argv[1]): sum(range(100_000))\n"
_FAILED = re.compile(r"\| (?:FAILED|ERROR) (\S+)")


@dataclass(frozen=True, slots=True)
class Run:
    """How one run ended: the worst exit code, seconds, and what failed."""

    code: int
    seconds: float
    failed: tuple[str, ...]


@contextmanager
def busy_loop() -> Iterator[int]:
    """A process that computes for nothing while the block runs; its id."""
    command = [sys.executable, "-c", _BUSY, str(os.getpid())]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        try:
            yield process.pid
        finally:
            process.kill()


def run(commands: Mapping[str, Sequence[str]]) -> Run:
    """Run sessions side by side and pass on what they say."""
    began = time.monotonic()
    failed: dict[str, None] = {}

    def hear(line: str) -> None:
        show(line)
        failed.update(dict.fromkeys(_FAILED.findall(line)))

    codes = asyncio.run(side_by_side(commands, hear))
    return Run(max(codes.values(), key=abs), time.monotonic() - began, tuple(failed))


def report(runs: Sequence[Run]) -> str:
    """How many were red, how long they took, and what failed how often."""
    red = [each for each in runs if each.code]
    seconds = ", ".join(f"{each.seconds:.0f}" for each in runs)
    failed = Counter(name for each in red for name in each.failed)
    lines = [f"{len(red)} of {len(runs)} runs red; seconds: {seconds}"]
    return "\n".join(lines + [f"{count:>3} times {name}" for name, count in failed.most_common()])


def main(words: Sequence[str]) -> int:
    """0 where every run was green."""
    parser = argparse.ArgumentParser(prog="tests.runs.under_load", description=__doc__)
    parser.add_argument("times", type=int, help="how many runs")
    parser.add_argument("--loops", type=int, default=os.cpu_count() or 1, help="busy loops")
    parser.add_argument("options", nargs="*", help="further words for pytest")
    given = parser.parse_args(words)
    commands = {n: pytest_command(chosen, *given.options) for n, chosen in ON_KAFKA.items()}
    runs: list[Run] = []
    with ExitStack() as load:
        for _ in range(given.loops):
            load.enter_context(busy_loop())
        while len(runs) < given.times:
            show(f"--- run {len(runs) + 1} of {given.times}, {given.loops} busy loops")
            try:
                runs.append(run(commands))
            except Interrupted as error:
                show(f"--- interrupted; {error}")
                return 130
            finally:
                show(f"--- {report(runs)}")
    return 1 if any(each.code for each in runs) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
