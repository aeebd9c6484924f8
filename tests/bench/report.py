"""Medians and ratios of a comparison's turns, as a table and as JSON: pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from tests.bench.catalog import Contestant
from tests.bench.runs import Turn


@dataclass(frozen=True, slots=True)
class Standing:
    """One contestant's turns together; ratios are to the bound in the same round.

    Args:
        name: of the contestant.
        title: for people.
        version: of it.
        chunks_per_second: the median.
        slowest: the smallest of them.
        fastest: the largest.
        ratio: the median of its speed over the bound's.
        cpu_us_per_chunk: the median.
        cpu_ratio: the median of its CPU time over the bound's.
        peak_memory_mb: the largest.
        calls_per_chunk: the median.
        surplus: uploads beyond one a chunk, in all turns.
    """

    name: str
    title: str
    version: str
    chunks_per_second: float
    slowest: float
    fastest: float
    ratio: float
    cpu_us_per_chunk: float
    cpu_ratio: float
    peak_memory_mb: float
    calls_per_chunk: float
    surplus: int


def standings(
    contestants: Sequence[Contestant], rounds: Sequence[Mapping[str, Turn]]
) -> list[Standing]:
    """One line each, in their order; the first is the bound.

    Args:
        contestants: who took part.
        rounds: the turns of each round, by name.
    """
    bound = contestants[0].name
    return [_standing(each, bound, rounds) for each in contestants]


def _standing(who: Contestant, bound: str, rounds: Sequence[Mapping[str, Turn]]) -> Standing:
    turns = [each[who.name] for each in rounds]
    bounds = [each[bound] for each in rounds]
    speeds = [turn.chunks_per_second for turn in turns]
    pairs = list(zip(turns, bounds, strict=True))
    return Standing(
        name=who.name,
        title=who.title,
        version=who.version,
        chunks_per_second=median(speeds),
        slowest=min(speeds),
        fastest=max(speeds),
        ratio=median(one.chunks_per_second / other.chunks_per_second for one, other in pairs),
        cpu_us_per_chunk=median(turn.cpu_us_per_chunk for turn in turns),
        cpu_ratio=median(one.cpu_us_per_chunk / other.cpu_us_per_chunk for one, other in pairs),
        peak_memory_mb=max(turn.peak_memory_mb for turn in turns),
        calls_per_chunk=median(turn.calls_per_chunk for turn in turns),
        surplus=sum(turn.surplus for turn in turns),
    )


_HEAD = ("contestant", "chunks/s", "from", "to", "of bound", "us/chunk", "of bound", "MB", "calls")


def table(lines: Sequence[Standing]) -> str:
    """For people, and for README.md."""
    return columns([_HEAD, *(_cells(each) for each in lines)])


def columns(rows: Sequence[Sequence[str]]) -> str:
    """A table; the first row is its head."""
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    shown = ["| " + " | ".join(_padded(row, widths)) + " |" for row in rows]
    shown.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(shown)


def _cells(line: Standing) -> tuple[str, ...]:
    return (
        line.title,
        f"{line.chunks_per_second:,.0f}",
        f"{line.slowest:,.0f}",
        f"{line.fastest:,.0f}",
        f"{line.ratio:.2f}",
        f"{line.cpu_us_per_chunk:,.0f}",
        f"{line.cpu_ratio:.2f}",
        f"{line.peak_memory_mb:.0f}",
        f"{line.calls_per_chunk:.2f}" + (f" ({line.surplus:+d} uploads)" if line.surplus else ""),
    )


def _padded(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    first, *others = zip(row, widths, strict=True)
    return [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]


def as_json(
    setting: Mapping[str, Any],
    lines: Sequence[Standing],
    rounds: Sequence[Mapping[str, Turn]],
    left_out: Mapping[str, str],
) -> dict[str, Any]:
    """All of it, for programs."""
    return {
        "setting": dict(setting),
        "standings": [asdict(each) for each in lines],
        "turns": [asdict(turn) for each in rounds for turn in each.values()],
        "left_out": dict(left_out),
    }
