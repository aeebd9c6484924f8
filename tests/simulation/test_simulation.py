"""Every promise under every schedule; ``make simulation`` searches on, for as long as one likes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.simulation.findings import Wrong, kinds
from tests.simulation.generate import generate
from tests.simulation.known import KNOWN
from tests.simulation.run import run
from tests.simulation.schedule import At, Doc, Hit, Life, On, Replay, Schedule, Setup, Tomb, shown
from tests.simulation.search import search_seeds
from tests.simulation.shrink import shrink

_QUICK = 200
_AT_ONCE = 250
_SLOW = range(_QUICK, 2_200, _AT_ONCE)


def told(failing: dict[int, frozenset[Wrong]]) -> str:
    """How each one is seen again."""
    lines = [f"make simulation SEED={seed}  # {sorted(ways)}" for seed, ways in failing.items()]
    return "\n".join(["", *lines])


def failing(seeds: range) -> dict[int, frozenset[Wrong]]:
    """The seeds of these that go wrong, and how."""
    return {seed: kinds(found) for seed, found in search_seeds(seeds).failing.items()}


def test_nothing_is_wrong_under_any_schedule() -> None:
    """Two hundred of them; `make simulation` searches on."""
    assert not (found := failing(range(_QUICK))), told(found)


@pytest.mark.slow
@pytest.mark.parametrize("first", _SLOW)
def test_nothing_is_wrong_under_many_schedules(first: int) -> None:
    """Ten times as many."""
    assert not (found := failing(range(first, first + _AT_ONCE))), told(found)


@pytest.mark.parametrize("name", KNOWN)
def test_what_went_wrong_once_goes_well(name: str) -> None:
    """Schedules that the search has found, made small."""
    found = run(KNOWN[name]).found
    assert not found, "\n".join(map(str, found))


def test_a_seed_is_the_same_run_everywhere() -> None:
    """Else a failure could not be looked at again: not in the order of sets, not by the clock."""
    program = (
        "import sys; from tests.simulation.generate import generate;"
        "from tests.simulation.run import run;"
        "print(*(run(generate(seed)).trace for seed in range(12)))"
    )
    traces = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": "."},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(traces) == 1


def test_a_schedule_is_printed_as_it_would_be_written() -> None:
    """It goes into the table of known ones as it is."""
    schedule = Schedule(
        7,
        Setup(prepared=("docs",), latency=0.3),
        (Doc("a", ("one",), day=1, when=On("removal", nth=2), name="x"), Tomb("a"), Replay("x")),
        (Hit("removal", "status", status=504, apply=True),),
        (Life("crash", At(3.0), seconds=0.5),),
    )
    assert eval(shown(schedule)) == schedule  # noqa: S307 - our own text
    assert 'Hit("removal", "status", status=504, apply=True)' in shown(schedule)


def test_a_failing_schedule_is_made_small() -> None:
    """What it fails without goes; what it needs stays."""

    def fails(tried: Schedule, wrong: Wrong) -> bool:
        has_crash = any(life.what == "crash" for life in tried.life)
        has_text = any(isinstance(event, Doc) and "two" in event.texts for event in tried.history)
        return wrong is Wrong.LOST and has_crash and has_text

    schedule = next(
        tried
        for tried in map(generate, range(1000))
        if fails(tried, Wrong.LOST) and tried.parts() > 6
    )
    small = shrink(schedule, Wrong.LOST, fails=fails)

    (doc,) = small.history
    assert isinstance(doc, Doc)
    assert (doc.texts, doc.when) == (("two",), At(0))
    (life,) = small.life
    assert (life.what, life.when, life.seconds) == ("crash", At(0), 0.5)
    assert (small.faults, small.setup) == ((), Setup())
