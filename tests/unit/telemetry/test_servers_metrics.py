"""The page of a process with several servers: labels where sums say nothing, sums elsewhere."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from consumer.model.names import ServerName
from consumer.telemetry.metrics import PREFIX, Metrics
from consumer.telemetry.servers_metrics import OF_A_SERVER, ServersMetrics

A, B = ServerName("a"), ServerName("b")


@pytest.fixture
def metrics() -> ServersMetrics:
    return ServersMetrics([A, B])


def samples(page: Metrics, name: str) -> dict[tuple[tuple[str, str], ...], float]:
    """The values of a sample by its labels."""
    text = page.render().decode()
    return {
        tuple(sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == f"{PREFIX}_{name}"
    }


def test_what_is_of_one_server_has_its_name(metrics: ServersMetrics) -> None:
    metrics.of[A].set_breaker("open")
    metrics.of[B].index_listings.labels("read").inc(3)

    assert samples(metrics, "breaker_state")[("server", "a"), ("state", "open")] == 1
    assert samples(metrics, "breaker_state")[("server", "b"), ("state", "open")] == 0
    assert samples(metrics, "index_listings_total")[("outcome", "read"), ("server", "b")] == 3


def test_everything_else_is_added_up(metrics: ServersMetrics) -> None:
    metrics.documents_waiting.inc()
    metrics.of[A].documents_waiting.inc(2)
    metrics.chunks.labels("removed").inc(3)
    metrics.of[B].chunks.labels("removed").inc(4)

    assert samples(metrics, "documents_waiting") == {(): 3}
    assert metrics.value("documents_waiting") == 3
    assert samples(metrics, "chunks_total")[(("outcome", "removed"),)] == 7


def test_the_page_has_every_metric_of_one_server_and_nothing_twice(
    metrics: ServersMetrics,
) -> None:
    def names(page: Metrics) -> list[str]:
        families = text_string_to_metric_families(page.render().decode())
        return [family.name for family in families]

    one, several = names(Metrics()), names(metrics)
    assert set(several) == {*one, f"{PREFIX}_workspaces_homeless"}
    assert len(several) == len(set(several))
    assert OF_A_SERVER <= {name.removesuffix("_total") for name in one}


def test_what_is_running_is_told_once(metrics: ServersMetrics) -> None:
    assert list(samples(metrics, "build_info").values()) == [1]
