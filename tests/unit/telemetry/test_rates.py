"""How fast it went: differences of what is counted anyway."""

from __future__ import annotations

import math

import pytest

from consumer.model.fault import Fault
from consumer.telemetry.metrics import Metrics
from consumer.telemetry.rates import Rates, Totals, quantile, rate_between, totals_of
from consumer.telemetry.servers_metrics import ServersMetrics

INF = math.inf


@pytest.mark.parametrize(
    ("buckets", "expected"),
    [
        ([], None),
        ([(1, 0), (INF, 0)], None),
        ([(1, 100), (INF, 100)], 0.95),  # even inside of a bucket
        ([(1, 90), (2, 100), (INF, 100)], 1.5),
        ([(1, 0), (2, 0), (4, 10), (INF, 10)], 3.9),  # buckets that nothing fell into
        ([(1, 1), (2, 1), (INF, 100)], 2),  # beyond the last bound: at least that
        ([(INF, 5)], 0),
    ],
)
def test_a_quantile_is_read_from_buckets(
    buckets: list[tuple[float, float]], expected: float | None
) -> None:
    """As Prometheus reads it, so that page and dashboard agree."""
    found = quantile(0.95, buckets)
    assert found == (expected if expected is None else pytest.approx(expected))


def test_a_rate_is_what_was_added_in_the_time_between() -> None:
    """A second each, and an attempt's mean over the attempts of that time alone."""
    before = Totals(10, 100, 1, 50.0, ((1.0, 100), (INF, 100)))
    after = Totals(20, 140, 3, 130.0, ((1.0, 100), (4.0, 140), (INF, 140)))
    rate = rate_between(before, after, ago=3.0, seconds=5.0)

    assert (rate.ago, rate.documents, rate.uploads, rate.failures) == (3.0, 2.0, 8.0, 0.4)
    assert rate.upload_mean == 2.0


def test_nothing_uploaded_has_no_latency() -> None:
    """Zero would look like a fast server."""
    rate = rate_between(Totals(documents=1), Totals(documents=6), ago=0.0, seconds=5.0)
    assert (rate.documents, rate.upload_mean, rate.upload_p95) == (1.0, None, None)


def test_samples_of_ten_minutes_are_kept() -> None:
    """And no more, however long the service runs."""
    clock = [0.0]
    metrics = Metrics()
    rates = Rates([metrics], lambda: clock[0])
    assert rates.latest() == []
    for _ in range(1_000):
        rates.sample()
        clock[0] += 5.0
        metrics.documents.labels("succeeded").inc(10)

    latest = rates.latest()
    assert len(latest) == 120
    assert {each.documents for each in latest} == {2.0}
    assert (latest[0].ago, latest[-1].ago) == (600.0, 5.0)


def test_with_several_servers_all_of_them_count() -> None:
    """What is of a server, and what is of none."""
    page = ServersMetrics(["a", "b"])  # type: ignore[list-item]
    page.documents.labels("succeeded").inc(2)
    for each in page.of.values():
        each.upload_failures.labels(Fault.THEIRS.value).inc()
        with each.uploading():
            pass

    totals = totals_of([page, *page.of.values()])
    assert (totals.documents, totals.uploads, totals.failures) == (2, 2, 2)
    assert totals.buckets[-1] == (INF, 2)
