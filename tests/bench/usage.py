"""CPU time and memory of a process and all that it started, as Linux counts them."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


def cpu_seconds(pid: int) -> float:
    """Of it and its descendants, those that have ended and were waited for among them."""
    ticks = 0
    for each in _tree(pid):
        fields = _fields(each)
        ticks += sum(map(int, fields[11:15]))  # utime, stime, cutime, cstime
    return ticks / _TICK


def memory_mb(pid: int) -> float:
    """The sum of what each process that lives has resident."""
    return sum(_kibibytes(each, "VmRSS") for each in _tree(pid)) / 1024


def peak_memory_mb(pid: int) -> float:
    """The sum of what each process that lives had resident at most."""
    return sum(_kibibytes(each, "VmHWM") for each in _tree(pid)) / 1024


def _kibibytes(pid: int, name: str) -> int:
    try:
        lines = (_PROC / str(pid) / "status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)


def _tree(pid: int) -> Iterator[int]:
    children = defaultdict(list)
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and (fields := _fields(int(entry.name))):
            children[int(fields[1])].append(int(entry.name))
    found = [pid]
    while found:
        each = found.pop()
        if _fields(each):
            yield each
        found += children[each]


def _fields(pid: int) -> list[str]:
    """What follows the name in ``stat``; empty where the process is gone."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
