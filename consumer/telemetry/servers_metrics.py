"""The metrics of a process with several AnythingLLMs: what is of one server has its name as label.

Each server's stations count in metrics of their own, as if it were alone. The page shows what is
of one server (`OF_A_SERVER`) with the label ``server``, and the sum of everything else. Names of
servers come from the settings, so there are few of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from consumer.model.names import ServerName
from consumer.telemetry.metrics import PREFIX, Metrics

SERVER = "server"
"""The label."""

OF_A_SERVER = frozenset(
    f"{PREFIX}_{name}"
    for name in (
        "breaker_state",
        "chunks_in_flight",
        "fuse_blown",
        "index_bytes",
        "index_evictions",
        "index_listings",
        "index_workspaces",
        "server_deaths",
        "upload_failures",
        "upload_seconds",
        "workspaces_paused",
        "workspaces_unlisted",
    )
)
"""Metrics that say nothing once they are added up."""

_CREATED = "_created"  # when a counter began: no sum either


class ServersMetrics(Metrics):
    """See the module's docstring; what is no single server's is counted here.

    Args:
        servers: their names.

    Attributes:
        of: the metrics of each server.
    """

    def __init__(self, servers: Iterable[ServerName]) -> None:
        super().__init__()
        self.of: Mapping[ServerName, Metrics] = {name: Metrics() for name in servers}
        self.workspaces_homeless = self._gauge(
            "workspaces_homeless",
            "Workspaces that live on no server for now; /readyz names them.",
        )
        self._page = CollectorRegistry()
        self._page.register(_Page(self, self.of))

    def render(self) -> bytes:
        """See `Metrics.render`."""
        return generate_latest(self._page)

    def value(self, name: str) -> float | None:
        """See `Metrics.value`."""
        return self._page.get_sample_value(f"{PREFIX}_{name}")


class _Page(Collector):
    """Every metric once, from all that count it."""

    def __init__(self, shared: Metrics, servers: Mapping[ServerName, Metrics]) -> None:
        self._shared = shared
        self._servers = servers

    def collect(self) -> Iterator[Metric]:
        """Called at every scrape."""
        servers = {
            name: {metric.name: metric for metric in each.registry.collect()}
            for name, each in self._servers.items()
        }
        for metric in self._shared.registry.collect():
            theirs = {
                name: found[metric.name] for name, found in servers.items() if metric.name in found
            }
            if metric.name in OF_A_SERVER:
                yield _by_server(metric, theirs)
            elif metric.name.startswith(PREFIX) and metric.type != "info":
                yield _added_up(metric, theirs.values())
            else:
                yield metric


def _by_server(metric: Metric, servers: Mapping[ServerName, Metric]) -> Metric:
    page = Metric(metric.name, metric.documentation, metric.type, metric.unit)
    page.samples = [
        sample._replace(labels={**sample.labels, SERVER: name})
        for name, each in servers.items()
        for sample in each.samples
    ]
    return page


def _added_up(metric: Metric, servers: Iterable[Metric]) -> Metric:
    totals = {(each.name, *sorted(each.labels.items())): each for each in metric.samples}
    for sample in (sample for each in servers for sample in each.samples):
        key = (sample.name, *sorted(sample.labels.items()))
        known = totals.get(key)
        if known is None:
            totals[key] = sample
        elif not sample.name.endswith(_CREATED):
            totals[key] = known._replace(value=known.value + sample.value)
    page = Metric(metric.name, metric.documentation, metric.type, metric.unit)
    page.samples = list(totals.values())
    return page
