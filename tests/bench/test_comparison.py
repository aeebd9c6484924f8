"""The benchmark itself: small, so that it still runs and measures when somebody needs it."""

from __future__ import annotations

import shutil

import pytest

from consumer.sandbox.kafka import LocalKafka
from tests.bench.catalog import aiokafka_loop, bare
from tests.bench.changes import measure_changes
from tests.bench.comparison import Options, compare
from tests.bench.plot import plot
from tests.bench.report import Standing, standings, table
from tests.bench.runs import Turn
from tests.bench.server import running_server

needs_java = pytest.mark.skipif(shutil.which("java") is None, reason="its server is in Java")


@pytest.mark.slow
@pytest.mark.processes
@needs_java
async def test_every_contestant_does_the_same_work(kafka: LocalKafka) -> None:
    """The service, a peer and the bound: each chunk once, two requests each, each measured."""
    options = Options(("service", "aiokafka"), documents=20, rounds=1)
    async with running_server() as server:
        found = await compare(options, kafka.bootstrap_servers, server, lambda _: None)

    assert [each.name for each in found.lines] == ["bare", "service", "aiokafka"]
    assert found.left_out == {}
    assert found.lines[0].ratio == 1.0
    for line in found.lines:
        assert line.surplus == 0
        assert 2.0 <= line.calls_per_chunk < 3.0
        assert line.chunks_per_second > 0
        assert line.peak_memory_mb > 10
    assert all(line.cpu_us_per_chunk > 0 for line in found.lines[1:])  # the bound's may be no tick


@pytest.mark.slow
@pytest.mark.processes
@needs_java
async def test_changes_and_erasures_remove_what_is_stale(kafka: LocalKafka) -> None:
    """The benchmark's server makes workspaces, finds sentinels, lists and removes."""
    async with running_server() as server:
        changed, erased = await measure_changes(kafka.bootstrap_servers, server, 2, {})
        stats = await server.stats()

    assert (changed.uploads, changed.removed) == (2, 2)
    assert (erased.uploads, erased.removed) == (0, 20)
    assert stats.rows == 0


def _turn(speed: float, cpu: float, surplus: int = 0) -> Turn:
    return Turn("?", speed, cpu, 40.0, 1.0, 2.0, 1, 50, surplus)


def _standings() -> list[Standing]:
    rounds = [
        {"bare": _turn(100, 10), "aiokafka": _turn(50, 30)},
        {"bare": _turn(200, 10), "aiokafka": _turn(80, 10, surplus=2)},
        {"bare": _turn(100, 20), "aiokafka": _turn(90, 30)},
    ]
    return standings([bare(), aiokafka_loop()], rounds)


def test_ratios_are_medians_of_ratios_in_one_round() -> None:
    """A machine that is slower in one round is so for both."""
    bound, peer = _standings()

    assert (bound.chunks_per_second, bound.ratio, bound.cpu_ratio) == (100, 1.0, 1.0)
    assert (peer.chunks_per_second, peer.slowest, peer.fastest) == (80, 50, 90)
    assert (peer.ratio, peer.cpu_ratio, peer.surplus) == (0.5, 1.5, 2)


def test_table_and_plot_show_every_contestant() -> None:
    """An upload too many is told beside the figure that it spoils."""
    lines = _standings()
    rows = table(lines).splitlines()

    assert len(rows) == 2 + len(lines)
    assert len({len(row) for row in rows}) == 1
    assert "(+2 uploads)" in rows[3]
    assert all(each.title in plot(lines) for each in lines)
