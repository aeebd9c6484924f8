"""Runs many schedules, side by side, and tells what they found."""

from __future__ import annotations

import gc
import logging
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import TextIO

from tests.simulation.findings import Finding, Wrong, kinds
from tests.simulation.generate import generate
from tests.simulation.run import run

_AT_ONCE = 25  # seeds a task of a process
_EVERY = 2.0  # seconds between two lines of progress


@dataclass
class Tally:
    """What a number of schedules came to."""

    runs: int = 0
    failing: dict[int, tuple[Finding, ...]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    virtual_seconds: float = 0.0
    slowest: tuple[float, int] = (0.0, 0)

    def add(self, other: Tally) -> None:
        """Take in what others counted."""
        self.runs += other.runs
        self.failing |= other.failing
        self.counts += other.counts
        self.virtual_seconds += other.virtual_seconds
        self.slowest = max(self.slowest, other.slowest)

    def kinds(self) -> Counter[Wrong]:
        """How many schedules went wrong in which way."""
        return Counter(kind for found in self.failing.values() for kind in kinds(found))


def search_seeds(seeds: Iterable[int]) -> Tally:
    """Run these seeds, one after the other."""
    tally = Tally()
    logging.disable(logging.CRITICAL)
    gc.disable()  # a schedule's garbage goes at once, and not in the middle of it
    try:
        for place, seed in enumerate(seeds):
            begun = time.perf_counter()
            ran = run(generate(seed))
            tally.runs += 1
            tally.virtual_seconds += ran.seconds
            # In how many schedules something happened at all.
            tally.counts.update(dict.fromkeys((k for k, v in ran.counts.items() if v), 1))
            if ran.found:
                tally.failing[seed] = ran.found
            tally.slowest = max(tally.slowest, (time.perf_counter() - begun, seed))
            if place % 10 == 9:
                gc.collect()
    finally:
        gc.enable()
        logging.disable(logging.NOTSET)
    return tally


def search(
    seeds: range,
    *,
    processes: int,
    progress: TextIO | None = None,
    stop_at: int = 0,
) -> Tally:
    """Run seeds in several processes.

    Args:
        seeds: which.
        processes: how many at once.
        progress: where a line is kept up to date.
        stop_at: with so many failing seeds; 0: never.
    """
    whole = Tally()
    begun = told = time.monotonic()
    for part in _parts(seeds, processes):
        whole.add(part)
        if progress and time.monotonic() - told > _EVERY:
            told = time.monotonic()
            progress.write("\r" + line(whole, len(seeds), told - begun))
            progress.flush()
        if stop_at and len(whole.failing) >= stop_at:
            break
    if progress:
        progress.write("\r" + line(whole, len(seeds), time.monotonic() - begun) + "\n")
    return whole


def _parts(seeds: range, processes: int) -> Iterator[Tally]:
    slices = [seeds[n : n + _AT_ONCE] for n in range(0, len(seeds), _AT_ONCE)]
    if processes == 1:
        for each in slices:
            yield search_seeds(each)
        return
    with ProcessPoolExecutor(processes) as pool:
        try:
            yield from pool.map(search_seeds, slices)
        finally:
            pool.shutdown(cancel_futures=True)


def line(tally: Tally, wanted: int, seconds: float) -> str:
    """How far it is."""
    rate = tally.runs / max(seconds, 0.001)
    days = tally.virtual_seconds / 86_400
    return (
        f"{tally.runs:,} of {wanted:,} schedules, {rate:.1f}/s, {days:,.0f} virtual days, "
        f"{len(tally.failing):,} failing   "
    )


def report(tally: Tally, out: TextIO = sys.stdout, *, most: int = 10) -> None:
    """Kinds, seeds and counts."""
    for kind, count in tally.kinds().most_common():
        seeds = [seed for seed, found in sorted(tally.failing.items()) if kind in kinds(found)]
        out.write(f"{kind:14} {count:6,}   seeds {_some(seeds, most)}\n")
    if tally.counts:
        out.write("schedules in which it happened:\n")
        names = sorted(tally.counts)
        for name in names:
            out.write(f"    {name:28} {tally.counts[name]:8,}\n")


def _some(seeds: Sequence[int], most: int) -> str:
    more = " ..." if len(seeds) > most else ""
    return " ".join(map(str, seeds[:most])) + more
