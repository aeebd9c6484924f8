"""What is in work and what it waits for, as the status shows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from consumer.admin.status import WAITS, ChunksStatus, DocumentStatus, WaitStatus, WorkStatus
from consumer.app.condition import Condition, ServerCondition
from consumer.kafka.lag import PartitionStanding
from consumer.model.names import ServerName, Slug
from consumer.pipeline.documents_in_work import (
    Blocked,
    ChunkProgress,
    DocumentInWork,
    DocumentsInWork,
    Station,
    WaitsFor,
)
from consumer.pipeline.homes import Homes
from consumer.telemetry.rates import Rates
from consumer.telemetry.recent import Recent

_MOST_DOCUMENTS = 50
_MOST_WAITS = 20
_OF_NO_WORKSPACE = frozenset(
    {WaitsFor.BREAKER, WaitsFor.REST, WaitsFor.ALONE, WaitsFor.FUSE, WaitsFor.KAFKA}
)


@dataclass(frozen=True, slots=True)
class Sources:
    """What a status is made from.

    Args:
        servers: one, or several.
        homes: where there are several.
        partitions: asked for how far we are with each of ours.
        publisher_trouble: asked for why Kafka does not take what we publish.
        places: how many documents may be in work.
    """

    condition: Condition
    servers: Sequence[ServerCondition]
    homes: Homes | None
    partitions: Callable[[], Sequence[PartitionStanding]]
    publisher_trouble: Callable[[], str | None]
    in_work: DocumentsInWork
    recent: Recent
    rates: Rates
    places: int


def work_status(sources: Sources, now: float) -> WorkStatus:
    """What is in work.

    Args:
        sources: see `Sources`.
        now: monotonic seconds.
    """
    in_work, blocks = sources.in_work, _Blocks(sources)
    aside = size = 0
    waiting: Counter[_SharedWait] = Counter()
    for each in in_work:
        aside += each.place.is_aside
        size += 0 if each.place.is_aside else each.event.record.size
        if (why := blocks.wait_of(each)) is not None:
            waiting[why] += 1
    oldest = islice(in_work, _MOST_DOCUMENTS)
    return WorkStatus(
        documents=len(in_work),
        places=sources.places,
        aside=aside,
        bytes=size,
        waiting=tuple(blocks.shown(*each) for each in waiting.most_common(_MOST_WAITS)),
        oldest=tuple(
            _document(each, in_work.progress(each), blocks.wait_of(each), now) for each in oldest
        ),
    )


def _document(
    each: DocumentInWork, progress: ChunkProgress | None, why: _SharedWait | None, now: float
) -> DocumentStatus:
    event, chunks = each.event, None
    if progress is not None:
        chunks = ChunksStatus(
            progress.total, progress.unchanged, progress.uploaded, progress.failed
        )
    return DocumentStatus(
        at=str(event.record.at),
        identity=event.identity,
        document_id=None if event.document is None else event.document.id,
        workspace=each.slug,
        trace_id=event.trace_id,
        station=each.station if progress is None else Station.UPLOAD,
        waits_for=None if why is None else why.waits_for,
        aside=each.place.is_aside,
        seconds=now - each.since,
        bytes=event.record.size,
        chunks=chunks,
        error=None if progress is None else progress.error,
        why=None if why is None else WAITS[why.waits_for],
    )


@dataclass(frozen=True, slots=True)
class _SharedWait:
    """What documents wait for together."""

    waits_for: WaitsFor
    workspace: Slug | None
    server: ServerName | None


class _Blocks:
    """What the gates of each server say now; asked once a workspace."""

    def __init__(self, sources: Sources) -> None:
        self._servers = {each.name: each for each in sources.servers}
        self._homes = sources.homes
        self._homeless = {} if sources.homes is None else sources.homes.homeless
        self._kafka = sources.publisher_trouble() is not None
        self._known: dict[Slug | None, Blocked] = {}

    def wait_of(self, document: DocumentInWork) -> _SharedWait | None:
        slug = document.slug
        if (blocked := self._known.get(slug)) is None:
            blocked = self._known[slug] = self._blocked(slug)
        why = document.waits_for(blocked)
        if why is None:
            return None
        workspace = None if why in _OF_NO_WORKSPACE else slug
        return _SharedWait(why, workspace, None if why is WaitsFor.KAFKA else self._name_of(slug))

    def shown(self, wait: _SharedWait, documents: int) -> WaitStatus:
        return WaitStatus(
            wait.waits_for,
            wait.workspace,
            wait.server,
            documents,
            self._trial_in(wait),
            WAITS[wait.waits_for],
        )

    def _blocked(self, slug: Slug | None) -> Blocked:
        server = self._servers.get(self._name_of(slug))
        if server is None:
            return Blocked(homeless=slug in self._homeless, kafka=self._kafka)
        gates = server.gates
        return Blocked(
            homeless=slug in self._homeless,
            breaker=not gates.circuit.is_closed,
            resting=gates.circuit.rest_left > 0,
            alone=gates.alone.is_held,
            workspace=slug is not None and gates.pauses.holds(slug),
            fuse=gates.fuse.blown,
            kafka=self._kafka,
        )

    def _name_of(self, slug: Slug | None) -> ServerName | None:
        home = None if self._homes is None or slug is None else self._homes.known(slug)
        return None if home is None else home.server

    def _trial_in(self, wait: _SharedWait) -> float | None:
        server = self._servers.get(wait.server)
        if server is None:
            return None
        match wait.waits_for:
            case WaitsFor.BREAKER:
                return server.client.circuit_breaker.retry_after
            case WaitsFor.REST:
                return server.gates.circuit.rest_left
            case WaitsFor.FUSE:
                return server.gates.fuse.trial_in
            case WaitsFor.WORKSPACE:
                return (
                    None if wait.workspace is None else server.gates.pauses.trial_in(wait.workspace)
                )
            case _:
                return None
