"""Commands of ours at a pseudo-terminal, in a process of their own: what they print and cost."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.commands import clean_environment

REPOSITORY = Path(__file__).resolve().parent.parent
_STYLE = re.compile(r"\x1b\[[0-9;]*m")
_ROWS = 24
# Not getrusage's memory: that of who started the process counts in it.
_MEASURED = """
import json, sys, time
from consumer.cli.main import run_line
began = time.monotonic()
code = run_line(sys.argv[2:])
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
cost = {"code": code, "seconds": round(time.monotonic() - began, 2), "cpu": time.process_time(),
        "peak_bytes": int(status["VmHWM"].split()[0]) * 1024}
json.dump(cost, open(sys.argv[1], "w"))
"""


@dataclass(frozen=True, slots=True)
class Screen:
    """What somebody at a terminal has seen when the command had ended.

    Args:
        code: its exit code.
        lines: of standard output, without colours.
        coloured: whether there were any.
        notes: what came on standard error, which is the same terminal, bars among it.
        seconds: until the end, by the clock.
        cpu: seconds of a processor.
        peak_bytes: the most memory it had.
    """

    code: int
    lines: list[str]
    coloured: bool
    notes: str
    seconds: float
    cpu: float
    peak_bytes: int


async def at_terminal(
    folder: Path, settings: Mapping[str, str], *words: str, columns: int = 80
) -> Screen:
    """A command to its end; the loop of the test goes on meanwhile."""
    return await asyncio.to_thread(_run, folder, settings, words, columns)


def _run(folder: Path, settings: Mapping[str, str], words: tuple[str, ...], columns: int) -> Screen:
    cost, errors = folder / "cost.json", folder / "standard-error"
    out, theirs = os.openpty()
    err, their_errors = os.openpty()
    for terminal in (theirs, their_errors):
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, columns, 0, 0))
    # This checkout, and not another one that may be installed.
    ours = {"TERM": "xterm-256color", "PYTHONPATH": str(REPOSITORY)}
    environment = clean_environment(folder, settings) | ours
    process = subprocess.Popen(
        [sys.executable, "-c", _MEASURED, str(cost), *words],
        stdin=subprocess.DEVNULL, stdout=theirs, stderr=their_errors, cwd=folder, env=environment,
    )  # fmt: skip
    os.close(theirs)
    os.close(their_errors)
    with errors.open("wb") as file:
        drain = subprocess.Popen(["cat"], stdin=err, stdout=file, stderr=subprocess.DEVNULL)
    os.close(err)
    written = written_to(out).decode()
    code = process.wait()
    drain.wait()
    told = json.loads(cost.read_text())
    assert told["code"] == code or code == 0
    return Screen(
        told["code"],
        _STYLE.sub("", written).replace("\r\n", "\n").splitlines(),
        _STYLE.search(written) is not None,
        errors.read_text(),
        told["seconds"],
        told["cpu"],
        told["peak_bytes"],
    )


def written_to(terminal: int) -> bytes:
    """All that is written to it, until nobody has it open any more; it is closed then."""
    written = b""
    with suppress(OSError):  # how a terminal says that
        while piece := os.read(terminal, 65_536):
            written += piece
    os.close(terminal)
    return written
