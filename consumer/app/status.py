"""The status of the running service, put together from memory whenever somebody looks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime

from consumer import __version__
from consumer.admin.status import (
    BreakerStatus,
    CauseStatus,
    FuseStatus,
    LettersStatus,
    PaceStatus,
    PartitionStatus,
    RateStatus,
    ServerStatus,
    ServiceStatus,
    SettingStatus,
    SettledStatus,
    Status,
    TotalsStatus,
    WorkspaceStatus,
    eta_of,
)
from consumer.app.condition import ServerCondition
from consumer.app.status_work import Sources, work_status
from consumer.kafka.lag import PartitionStanding
from consumer.telemetry.rates import Rates, joined
from consumer.telemetry.recent import Recent

_MOST_PARTITIONS = 200
_MOST_WORKSPACES = 20
_MOST_CAUSES = 10
_PACE_SECONDS = 60.0


class StatusView:
    """Makes the status.

    Args:
        settings: as they are shown; they never change.
        instance: host and process id.
        clock: monotonic seconds.
        now: wall clock, aware.
    """

    def __init__(
        self,
        sources: Sources,
        settings: Sequence[SettingStatus],
        *,
        instance: str,
        group: str,
        clock: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        self._sources = sources
        self._settings = tuple(settings)
        self._instance = instance
        self._group = group
        self._clock = clock
        self._now = now
        self._started, self._started_at = clock(), now()

    def __call__(self) -> Status:
        """What the service does now."""
        sources = self._sources
        report = sources.condition.report()
        partitions = sources.partitions()
        totals = _totals(partitions)
        return Status(
            at=self._now(),
            service=self._service(),
            state=report.state,
            reasons=report.reasons,
            worries=report.worries,
            servers=tuple(map(_server, sources.servers)),
            partitions=tuple(map(_partition, partitions[:_MOST_PARTITIONS])),
            totals=totals,
            work=work_status(sources, self._clock()),
            rates=tuple(_rates(sources.rates)),
            results=tuple(_results(sources.recent)),
            letters=_letters(sources.recent),
            settings=self._settings,
            pace=_pace(sources.rates, totals.lag),
        )

    def _service(self) -> ServiceStatus:
        return ServiceStatus(
            release=__version__,
            instance=self._instance,
            group=self._group,
            started_at=self._started_at,
            uptime_seconds=self._clock() - self._started,
        )


def _server(each: ServerCondition) -> ServerStatus:
    breaker, gates = each.client.breaker, each.gates
    paused = gates.pauses.standing(_MOST_WORKSPACES)
    return ServerStatus(
        name=each.name,
        breaker=BreakerStatus(
            state=breaker.state,
            trial_in=breaker.retry_after,
            failures=breaker.failure_count,
            last_failure_at=breaker.last_failure,
            last_error=breaker.last_error,
            rest=gates.circuit.rest_left,
            alone=gates.alone.is_held,
        ),
        fuse=FuseStatus(
            gates.fuse.blown, gates.fuse.trial_in, gates.fuse.share, gates.fuse.remembered
        ),
        paused=len(gates.pauses.paused),
        workspaces=tuple(
            WorkspaceStatus(one.slug, one.error, one.seconds, one.trial_in, one.waiting)
            for one in paused
        ),
    )


def _partition(each: PartitionStanding) -> PartitionStatus:
    return PartitionStatus(
        each.topic,
        each.partition,
        each.unsettled,
        each.stable,
        each.open,
        each.held_back,
        each.oldest_seconds,
        each.committed,
    )


def _totals(partitions: Sequence[PartitionStanding]) -> TotalsStatus:
    return TotalsStatus(
        partitions=len(partitions),
        lag=_sum(each.unsettled for each in partitions),
        stable_lag=_sum(each.stable for each in partitions),
        open=sum(each.open for each in partitions),
        held_back=sum(each.held_back for each in partitions),
        oldest_seconds=max((each.oldest_seconds for each in partitions), default=0.0),
    )


def _sum(counts: Iterable[int | None]) -> int | None:
    known = list(counts)
    return None if None in known else sum(filter(None, known))


def _rates(rates: Rates) -> Iterator[RateStatus]:
    for each in rates.latest():
        yield RateStatus(
            each.ago,
            each.seconds,
            each.documents,
            each.uploads,
            each.failures,
            each.upload_mean,
            each.upload_p95,
        )


def _pace(rates: Rates, lag: int | None) -> PaceStatus:
    of_late = joined(each for each in rates.latest() if each.ago <= _PACE_SECONDS)
    if of_late is None:
        return PaceStatus(eta_seconds=eta_of(lag, None))
    return PaceStatus(
        of_late.seconds,
        of_late.documents,
        of_late.uploads,
        of_late.failures,
        eta_of(lag, of_late.documents),
    )


def _results(recent: Recent) -> Iterator[SettledStatus]:
    for each in reversed(recent.results):
        yield SettledStatus(
            at=each.at,
            status=each.status,
            identity=each.identity,
            document_id=each.document_id,
            workspace=each.workspace,
            event_id=each.event_id,
            chunks=each.chunks,
            failed=each.failed,
            seconds=each.seconds,
            dead_letter=each.dead_letter,
            error=each.error,
        )


def _letters(recent: Recent) -> LettersStatus:
    letters = recent.letters
    causes = (
        CauseStatus(
            reason=each.reason,
            http_status=each.http_status,
            message=each.message,
            workspace=each.workspace,
            document=each.document,
            letters=each.letters,
            latest=each.latest,
        )
        for each in letters.causes(_MOST_CAUSES)
    )
    return LettersStatus(len(letters), letters.forgotten, tuple(causes))
