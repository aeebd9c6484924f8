"""How fast it went in the last minutes: differences of the metrics, taken every few seconds.

The stations count what they count anyway; nothing is done for a chunk here.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from consumer.telemetry.metrics import PREFIX, Metrics

SAMPLE_SECONDS = 5.0
_MOST_SAMPLES = 121  # ten minutes


@dataclass(frozen=True, slots=True)
class Totals:
    """What was counted since the process began.

    Args:
        documents: settled events.
        uploads: attempts to upload, whether they went well or not.
        failures: of attempts.
        upload_seconds: of all attempts together.
        buckets: how many attempts took at most so many seconds; the last bound is infinite.
    """

    documents: float = 0.0
    uploads: float = 0.0
    failures: float = 0.0
    upload_seconds: float = 0.0
    buckets: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Rate:
    """What was done between two samples.

    Args:
        ago: seconds since the later sample.
        seconds: between the two.
        documents: settled events a second.
        uploads: attempts a second.
        failures: failed attempts a second.
        upload_mean: seconds an attempt, or None where there was none.
        upload_p95: seconds that 95 of 100 attempts did not exceed, as well as the buckets of the
            histogram tell it, or None.
    """

    ago: float
    seconds: float
    documents: float
    uploads: float
    failures: float
    upload_mean: float | None
    upload_p95: float | None


class Rates:
    """Samples of the last ten minutes.

    Args:
        every: of which the totals are; with several servers those of each.
        clock: monotonic seconds.
    """

    def __init__(self, every: Sequence[Metrics], clock: Callable[[], float]) -> None:
        self._every = every
        self._clock = clock
        self._samples: deque[tuple[float, Totals]] = deque(maxlen=_MOST_SAMPLES)

    def sample(self) -> None:
        """Take a sample; call it every `SAMPLE_SECONDS`."""
        self._samples.append((self._clock(), totals_of(self._every)))

    def latest(self) -> Sequence[Rate]:
        """What was done between each two samples, the latest last."""
        now, samples = self._clock(), list(self._samples)
        pairs = itertools.pairwise(samples)
        return [
            rate_between(before, after, ago=now - at, seconds=at - since)
            for (since, before), (at, after) in pairs
            if at > since
        ]


def rate_between(before: Totals, after: Totals, *, ago: float, seconds: float) -> Rate:
    """What was done between two samples. Pure."""
    uploads = after.uploads - before.uploads
    spent = after.upload_seconds - before.upload_seconds
    return Rate(
        ago=ago,
        seconds=seconds,
        documents=(after.documents - before.documents) / seconds,
        uploads=uploads / seconds,
        failures=(after.failures - before.failures) / seconds,
        upload_mean=spent / uploads if uploads > 0 else None,
        upload_p95=quantile(0.95, _difference(before.buckets, after.buckets)),
    )


def joined(rates: Iterable[Rate]) -> Rate | None:
    """What was done in all of them together, without latencies; None where there is none. Pure."""
    every = list(rates)
    if not every:
        return None
    seconds = sum(each.seconds for each in every)
    return Rate(
        ago=min(each.ago for each in every),
        seconds=seconds,
        documents=sum(each.documents * each.seconds for each in every) / seconds,
        uploads=sum(each.uploads * each.seconds for each in every) / seconds,
        failures=sum(each.failures * each.seconds for each in every) / seconds,
        upload_mean=None,
        upload_p95=None,
    )


def quantile(share: float, buckets: Sequence[tuple[float, float]]) -> float | None:
    """The value that this share of observations did not exceed: pure.

    As Prometheus's ``histogram_quantile`` does, evenly inside a bucket; in the last one its lower
    bound.

    Args:
        share: 0 to 1.
        buckets: upper bound and how many did not exceed it, rising; the last bound is infinite.
    """
    if not buckets or buckets[-1][1] <= 0:
        return None
    wanted, lower, below = share * buckets[-1][1], 0.0, 0.0
    for bound, count in buckets:
        if count >= wanted and count > below:
            if bound == float("inf"):
                return lower
            return lower + (bound - lower) * (wanted - below) / (count - below)
        lower, below = (bound, count) if bound != float("inf") else (lower, count)
    return lower


def _difference(
    before: Sequence[tuple[float, float]], after: Sequence[tuple[float, float]]
) -> list[tuple[float, float]]:
    counted = dict(before)
    return [(bound, count - counted.get(bound, 0.0)) for bound, count in after]


def totals_of(every: Iterable[Metrics]) -> Totals:
    """What these metrics have counted, together."""
    documents = failures = uploads = spent = 0.0
    buckets: dict[float, float] = {}
    for metrics in every:
        documents += _sum(metrics.documents.collect(), f"{PREFIX}_documents_total")
        failures += _sum(metrics.upload_failures.collect(), f"{PREFIX}_upload_failures_total")
        for sample in (one for each in metrics.upload_seconds.collect() for one in each.samples):
            if sample.name.endswith("_count"):
                uploads += sample.value
            elif sample.name.endswith("_sum"):
                spent += sample.value
            elif sample.name.endswith("_bucket"):
                bound = float(sample.labels["le"])
                buckets[bound] = buckets.get(bound, 0.0) + sample.value
    return Totals(documents, uploads, failures, spent, tuple(sorted(buckets.items())))


def _sum(collected: Iterable[object], name: str) -> float:
    samples = (one for each in collected for one in getattr(each, "samples", ()))
    return sum(float(each.value) for each in samples if each.name == name)
