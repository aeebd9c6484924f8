"""The README's table of metrics is what is scraped, no more and no less."""

from __future__ import annotations

from pathlib import Path

import pytest

from consumer.model.names import ServerName
from consumer.telemetry.__main__ import with_table
from consumer.telemetry.metrics import Metrics
from consumer.telemetry.metrics_table import metric_rows
from consumer.telemetry.servers_metrics import ServersMetrics
from tests.metrics_page import disagreements

README = (Path(__file__).resolve().parents[3] / "README.md").read_text()

# Whose values are of the code, of the settings or of Kafka; none of them is of an event.
BOUNDED = {"topic", "partition", "state", "status", "outcome", "reason", "fault"}
OF_THE_BUILD = {"version", "python"}


def test_the_table_in_the_readme_is_today_s() -> None:
    """It is made from the code; `make metrics-table` writes it."""
    assert with_table(README) == README


@pytest.mark.parametrize("several", [False, True])
def test_the_page_agrees_with_the_table(several: bool) -> None:
    """A series that nobody explains, or a row that nobody can find, would mislead alerts."""
    servers = [ServerName("a"), ServerName("b")]
    metrics = ServersMetrics(servers) if several else Metrics()
    metrics.set_lags({("t", 0): 3}, {("t", 0): 3})

    assert disagreements(metrics.render().decode(), several=several) == []


def test_labels_have_few_values() -> None:
    """A label that anybody can invent makes a series that never goes away."""
    assert {label for row in metric_rows() for label in row.labels} == BOUNDED | OF_THE_BUILD


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("consumer_commits_total", "consumer_pushes_total", "pushes_total is not in the table"),
        ("consumer_commits_total", "consumer_pushes_total", "commits_total is not on the page"),
        ('total{status="failed"}', 'total{end="failed"}', "documents_total has the labels"),
        ("fuse_blown gauge", "fuse_blown untyped", "fuse_blown has the type"),
        ("_bytes_aside", "_bytes_aside_sum", "bytes_aside_sum is not in the table"),
    ],
)
def test_what_disagrees_is_found(old: str, new: str, told: str) -> None:
    """A comparison that overlooks something would let page and table drift apart."""
    metrics = Metrics()
    metrics.set_lags({("t", 0): 3}, {("t", 0): 3})
    page = metrics.render().decode().replace(old, new)

    assert [line for line in disagreements(page) if told in line]
