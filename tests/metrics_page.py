"""Holds a scraped page to the README's table of metrics, and the other way round."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from consumer.telemetry.metrics import MetricRow
from consumer.telemetry.metrics_table import is_of_a_server, metric_rows
from consumer.telemetry.servers_metrics import SERVER

ONLY_OF_SEVERAL = "anythingllm_consumer_workspaces_homeless"
_PARTS = ("_bucket", "_sum", "_count")


def disagreements(page: str, *, several: bool = False) -> list[str]:
    """Series that the table does not have or has otherwise, and rows without a series.

    Args:
        page: what ``/metrics`` answered.
        several: whether the process has several AnythingLLMs.
    """
    rows = {row.name: row for row in metric_rows() if several or row.name != ONLY_OF_SEVERAL}
    wrong, shown = set[str](), set[str]()
    for family, sample in _samples(page):
        row = _row_of(sample.name, rows)
        if row is None:
            wrong.add(f"{sample.name} is not in the table")
            continue
        is_value = not sample.name.endswith("_created")
        if is_value:
            shown.add(row.name)
        labels = {*row.labels} | ({SERVER} if several and is_of_a_server(row) else set())
        if {*sample.labels} - {"le"} != labels:
            wrong.add(f"{sample.name} has the labels {sorted(sample.labels)}")
        if is_value and family.type != row.type:
            wrong.add(f"{sample.name} has the type {family.type}")
    return sorted(wrong) + [f"{name} is not on the page" for name in rows if name not in shown]


def _samples(page: str) -> Iterator[tuple[Metric, Sample]]:
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            yield family, sample


def _row_of(name: str, rows: dict[str, MetricRow]) -> MetricRow | None:
    if name.endswith("_created"):
        stem = name.removesuffix("_created")
        return rows.get(f"{stem}_total") or rows.get(stem)
    for part in _PARTS:
        row = rows.get(name.removesuffix(part)) if name.endswith(part) else None
        if row is not None and row.type == "histogram":
            return row
    return rows.get(name)
