"""Every metric, with its help, in one place. Names are a contract with dashboards: they may grow.

No metric has a document or workspace as a label: both come from events, and a label value that
anybody can invent makes a time series that never goes away.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    generate_latest,
)
from prometheus_client.process_collector import ProcessCollector

from consumer import __version__
from consumer.model.fault import Fault
from consumer.model.outcome import FailureReason

PREFIX = "anythingllm_consumer"
CONTENT_TYPE = CONTENT_TYPE_LATEST

STATUSES = ("succeeded", "partial", "failed", "superseded", "deleted", "invalid")
CHUNK_OUTCOMES = ("uploaded", "unchanged", "failed", "removed")
INDEX_LISTINGS = ("read", "unchanged")
BREAKER_STATES = ("closed", "half-open", "open")

_UPLOAD_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_JOURNEY_BUCKETS = (0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600, 14400)


@dataclass(frozen=True, slots=True)
class MetricRow:
    """What the README's table says of one metric.

    Args:
        name: as it is scraped; of a histogram without ``_bucket``, ``_sum`` and ``_count``.
        type: Prometheus's word.
        labels: that its series have, ``le`` of a histogram left out.
        meaning: its help.
    """

    name: str
    type: str
    labels: tuple[str, ...]
    meaning: str


class Metrics:
    """All metrics of one process, in a registry of their own.

    Stations count by these attributes, e.g. ``metrics.documents.labels("succeeded").inc()``.

    Attributes:
        rows: every metric of ours that is defined, in order.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.rows: list[MetricRow] = []
        self._define_stream()
        self._define_work()
        self._define_outcomes()
        self._define_upload()
        self._define_index()
        self._define_build()
        ProcessCollector(registry=self.registry)

    def render(self) -> bytes:
        """The page for Prometheus, in its text format (`CONTENT_TYPE`)."""
        return generate_latest(self.registry)

    def value(self, name: str) -> float | None:
        """The present value of a metric without labels, by its name without `PREFIX`."""
        return self.registry.get_sample_value(f"{PREFIX}_{name}")

    def set_lags(
        self, records: Mapping[tuple[str, int], int], stable: Mapping[tuple[str, int], int]
    ) -> None:
        """How many records of each assigned partition are not settled yet.

        Args:
            records: by topic and partition, all that are assigned now; others are dropped, because
                the last value of a revoked partition would otherwise stand for ever.
            stable: of these, up to the last stable offset.
        """
        for gauge, counts in ((self.lag, records), (self.stable_lag, stable)):
            gauge.clear()
            for (topic, partition), count in counts.items():
                gauge.labels(topic, str(partition)).set(count)

    def set_breaker(self, state: str) -> None:
        """Show one of `BREAKER_STATES` as 1 and the others as 0."""
        for one in BREAKER_STATES:
            self.breaker_state.labels(one).set(one == state)

    def _counter(self, name: str, text: str, **labels: tuple[str, ...]) -> Counter:
        self._note(f"{name}_total", "counter", text, *labels)
        counter = Counter(f"{PREFIX}_{name}", text, list(labels), registry=self.registry)
        for values in labels.values():
            # A series that starts with its first event hides that event from rate().
            for value in values:
                counter.labels(value)
        return counter

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        self._note(name, "gauge", text, *labels)
        return Gauge(f"{PREFIX}_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        self._note(name, "histogram", text)
        return Histogram(f"{PREFIX}_{name}", text, buckets=buckets, registry=self.registry)

    def _note(self, name: str, type: str, text: str, *labels: str) -> None:
        self.rows.append(MetricRow(f"{PREFIX}_{name}", type, labels, text))

    def uploading(self, chunks: int = 1) -> AbstractContextManager[None]:
        """Entered while a chunk, or a pack of several, is being uploaded: counts and times that."""
        return _Uploading(self, chunks)

    def _define_build(self) -> None:
        text = "What is running; always 1."
        labels = {"version": __version__, "python": platform.python_version()}
        self._note("build_info", "gauge", text, *labels)
        Info(f"{PREFIX}_build", text, registry=self.registry).info(labels)

    def _define_stream(self) -> None:
        self.lag = self._gauge(
            "lag_records", "Records not settled yet, by assigned partition.", "topic", "partition"
        )
        self.stable_lag = self._gauge(
            "stable_lag_records",
            "Records not settled yet, without those that an open transaction holds back.",
            "topic",
            "partition",
        )
        self.skipped_records = self._counter(
            "skipped_records", "Records that an earlier assignment had settled already."
        )
        self.oldest_unsettled_seconds = self._gauge(
            "oldest_unsettled_seconds",
            "Age of the oldest record that was received and is not settled; the one to alert on.",
        )
        self.ready = self._gauge(
            "ready", "1 while work is done, as `/readyz` has it; degraded is ready as well."
        )
        self.partitions_assigned = self._gauge("partitions_assigned", "Partitions we work on.")
        self.rebalances = self._counter(
            "rebalances", "Times the group took our partitions back to deal them out anew."
        )
        self.commits = self._counter("commits", "Offset commits that Kafka acknowledged.")
        self.commit_failures = self._counter("commit_failures", "Offset commits that failed.")
        self.unreadable_records = self._counter(
            "unreadable_records",
            "Records that the Kafka client can't read; each is dead-lettered by its place.",
        )
        self.offsets_out_of_range = self._counter(
            "offsets_out_of_range",
            "Times a committed offset was gone from its partition: records may have been lost.",
        )
        self.differing_keys = self._counter(
            "differing_keys",
            "Records whose key is not their identity; order is then only kept within a partition.",
        )

    def _define_work(self) -> None:
        self.documents_in_flight = self._gauge("documents_in_flight", "Documents in work.")
        self.bytes_in_flight = self._gauge("bytes_in_flight", "Record bytes in work.")
        self.chunks_in_flight = self._gauge("chunks_in_flight", "Chunks being uploaded.")
        self.documents_waiting = self._gauge(
            "documents_waiting", "Documents in work that wait for AnythingLLM before a new try."
        )
        self.documents_aside = self._gauge(
            "documents_aside",
            "Documents that stand aside until their paused workspace works, or they have a home, a"
            " new try or their turn.",
        )
        self.bytes_aside = self._gauge("bytes_aside", "Record bytes that stand aside.")
        self.workspaces_paused = self._gauge(
            "workspaces_paused",
            "Workspaces that do not work while AnythingLLM does; /readyz names them.",
        )
        self.workspaces_unlisted = self._gauge(
            "workspaces_unlisted", "Workspaces whose last listing failed; /readyz names them."
        )
        self.fuse_blown = self._gauge(
            "fuse_blown", "1 while nothing is given up because most documents failed of late."
        )
        self.breaker_state = self._gauge(
            "breaker_state", "1 for the breaker's present state; open: no upload starts.", "state"
        )
        self.set_breaker("closed")

    def _define_outcomes(self) -> None:
        self.documents = self._counter("documents", "Settled events by status.", status=STATUSES)
        self.chunks = self._counter(
            "chunks", "Chunks of settled events by outcome.", outcome=CHUNK_OUTCOMES
        )
        self.dead_letters = self._counter(
            "dead_letters",
            "Dead letters Kafka acknowledged, by reason.",
            reason=tuple(FailureReason),
        )
        self.journey_seconds = self._histogram(
            "journey_seconds", "From receiving a record to its settling.", _JOURNEY_BUCKETS
        )

    def _define_upload(self) -> None:
        self.upload_failures = self._counter(
            "upload_failures",
            "Attempts to store a chunk that failed, by whose fault it was.",
            fault=tuple(Fault),
        )
        self.packs_split = self._counter(
            "packs_split",
            "Packs of chunks that were at fault, so that each chunk was uploaded on its own.",
        )
        self.upload_seconds = self._histogram(
            "upload_seconds",
            "One attempt to upload a chunk and have it embedded, whether that went well or not.",
            _UPLOAD_BUCKETS,
        )

        self.server_deaths = self._counter(
            "server_deaths", "Times that AnythingLLM was gone right after uploads were cut off."
        )

    def _define_index(self) -> None:
        self.index_bytes = self._gauge(
            "index_bytes", "Estimated memory of what is known to be stored; INDEX_MAX_BYTES."
        )
        self.index_workspaces = self._gauge(
            "index_workspaces", "Workspaces of which is known what they store."
        )
        self.index_evictions = self._counter(
            "index_evictions", "Workspaces dropped for lack of memory and listed again when needed."
        )
        self.index_listings = self._counter(
            "index_listings",
            "Looks at a workspace's listing; unchanged: the server said so and sent nothing.",
            outcome=INDEX_LISTINGS,
        )
        self.reminted_documents = self._counter(
            "reminted_documents",
            "Documents whose source was stored under another identity: new ids for the same pages.",
        )


class _Uploading:
    """See `Metrics.uploading`."""

    def __init__(self, metrics: Metrics, chunks: int) -> None:
        self._metrics = metrics
        self._chunks = chunks

    def __enter__(self) -> None:
        self._metrics.chunks_in_flight.inc(self._chunks)
        self._began = time.perf_counter()

    def __exit__(self, *failure: object) -> None:
        self._metrics.chunks_in_flight.dec(self._chunks)
        self._metrics.upload_seconds.observe(time.perf_counter() - self._began)
