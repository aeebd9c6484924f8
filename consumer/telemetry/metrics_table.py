"""The README's table of metrics: every series that ``/metrics`` may show, by its name."""

from __future__ import annotations

from collections.abc import Sequence

from consumer.telemetry.metrics import MetricRow
from consumer.telemetry.servers_metrics import OF_A_SERVER, SERVER, ServersMetrics

# Of the client library's collector for the process; only Linux shows them.
_OF_PROCESS = (
    MetricRow("process_cpu_seconds_total", "counter", (), "Seconds of the processor, all threads."),
    MetricRow("process_resident_memory_bytes", "gauge", (), "Memory that is resident."),
    MetricRow("process_virtual_memory_bytes", "gauge", (), "Memory that is addressed."),
    MetricRow("process_start_time_seconds", "gauge", (), "When the process began, epoch seconds."),
    MetricRow("process_open_fds", "gauge", (), "Open files and connections."),
    MetricRow("process_max_fds", "gauge", (), "How many may be open."),
)


def metric_rows() -> Sequence[MetricRow]:
    """Every metric, those included that only a process with several AnythingLLMs has."""
    return (*ServersMetrics(()).rows, *_OF_PROCESS)


def is_of_a_server(row: MetricRow) -> bool:
    """Whether its series have the label `SERVER` where there are several AnythingLLMs."""
    return row.name.removesuffix("_total") in OF_A_SERVER


def metrics_table() -> str:
    """The table in Markdown; a test holds the README to it, and another one what is scraped."""
    lines = ["| name | type | labels | what it is |", "| --- | --- | --- | --- |"]
    for row in metric_rows():
        labels = [f"`{label}`" for label in row.labels]
        if is_of_a_server(row):
            labels.append(f"(`{SERVER}`)")
        lines.append(f"| `{row.name}` | {row.type} | {', '.join(labels)} | {row.meaning} |")
    return "\n".join(lines) + "\n"
