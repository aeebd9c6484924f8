"""``python -m tests.simulation``: many seeds, or one; see ``make simulation``."""

from __future__ import annotations

import argparse
import os
import sys

from tests.packing import PACKING
from tests.simulation.findings import Wrong, kinds
from tests.simulation.generate import generate
from tests.simulation.run import run
from tests.simulation.schedule import shown
from tests.simulation.search import report, search
from tests.simulation.shrink import shrink


def main(arguments: list[str]) -> int:
    """Exit code 1 where something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first one")
    parser.add_argument("--seed", type=int, help="only this one: shrunk, and told in full")
    parser.add_argument(
        "--wrong",
        choices=[kind.value for kind in Wrong],
        help="what to shrink for, such as lost; with --seed",
    )
    parser.add_argument(
        "--packing", help="UPLOAD_CHUNKS_PER_PACK of each start, such as 10; auto; or 10,3,1"
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--stop-at", type=int, default=0, help="end with so many failing seeds")
    chosen = parser.parse_args(arguments)
    if chosen.packing:
        os.environ[PACKING] = chosen.packing  # for the processes, too
    if chosen.seed is not None:
        return one(chosen.seed, chosen.wrong)
    seeds = range(chosen.first, chosen.first + chosen.seeds)
    tally = search(seeds, processes=chosen.processes, progress=sys.stderr, stop_at=chosen.stop_at)
    report(tally)
    if tally.failing:
        seed = min(tally.failing)
        print(f"\nthe first one; again: make simulation SEED={seed}")
        one(seed, None)
    return 1 if tally.failing else 0


def one(seed: int, wrong: str | None) -> int:
    """Run one seed; where it goes wrong, make it small."""
    schedule = generate(seed)
    ran = run(schedule)
    if not ran.found:
        print(shown(schedule))
        print(f"seed {seed}: nothing is wrong; {ran.seconds:,.0f} virtual seconds, {ran.trace}")
        return 0
    way = Wrong(wrong) if wrong else min(kinds(ran.found))
    small = shrink(schedule, way)
    print(f"seed {seed}, made small for {way!r}:\n\n{shown(small)}\n")
    for finding in run(small).found:
        print(finding)
    print("\nof the whole schedule:")
    for finding in ran.found:
        print(finding)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
