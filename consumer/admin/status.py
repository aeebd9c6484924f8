"""What the service does, as one frozen value: made in `consumer.app.status`, shown here.

Its JSON is a contract with scripts and with the command `status`: names stay, new ones may come,
and `VERSION` grows when one goes or means something else. Seconds are seconds, counts are counts,
times are RFC 3339 in UTC, and what is not known is null.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from types import MappingProxyType
from typing import Any

VERSION = 1

WAITS: Mapping[str, str] = MappingProxyType(
    {
        "earlier-event": "an earlier event of the same document",
        "home": "a server its workspace lives on",
        "breaker": "AnythingLLM, which is down",
        "rest": "AnythingLLM, which asked for a rest",
        "alone": "a chunk that is tried alone",
        "workspace": "its workspace, which does not work",
        "fuse": "the fuse, which is blown",
        "next-round": "its next round",
        "kafka": "Kafka, which does not take results",
    }
)
"""What documents wait for, in words; the page and the command `status` say it so."""


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """Which process it is.

    Args:
        release: of this program.
        instance: host and process id.
        group: of Kafka.
    """

    release: str
    instance: str
    group: str
    started_at: datetime
    uptime_seconds: float


@dataclass(frozen=True, slots=True)
class BreakerStatus:
    """Whether AnythingLLM as a whole is down.

    Args:
        state: ``closed``, ``half-open`` or ``open``.
        trial_in: seconds until the next deep probe; 0 while it is closed.
        failures: in a row.
        rest: seconds that AnythingLLM asked us to leave it alone.
        alone: whether one chunk is tried alone, and everything else waits.
    """

    state: str
    trial_in: float
    failures: int
    last_failure_at: datetime | None
    last_error: str | None
    rest: float
    alone: bool


@dataclass(frozen=True, slots=True)
class FuseStatus:
    """Whether most documents fail for no visible reason.

    Args:
        trial_in: seconds until a document is tried; 0 while it is whole.
        share: of the documents remembered, how many used up their attempts.
    """

    blown: bool
    trial_in: float
    share: float
    documents: int


@dataclass(frozen=True, slots=True)
class WorkspaceStatus:
    """A paused workspace.

    Args:
        seconds: since it failed first.
        trial_in: seconds until a document may try it; 0 while one does.
        waiting: documents.
    """

    workspace: str
    error: str
    seconds: float
    trial_in: float
    waiting: int


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """One AnythingLLM.

    Args:
        name: null where there is one only.
        paused: how many workspaces are.
        workspaces: the first of these.
    """

    name: str | None
    breaker: BreakerStatus
    fuse: FuseStatus
    paused: int
    workspaces: tuple[WorkspaceStatus, ...]


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """A partition of ours.

    Args:
        lag: records that are not settled, to the high watermark; null before the first look.
        stable_lag: of these, up to the last stable offset.
        open: of these, received.
        held_back: settled records that can't be committed yet.
        oldest_seconds: age of the oldest open record; 0: none is open.
        committed: offset.
    """

    topic: str
    partition: int
    lag: int | None
    stable_lag: int | None
    open: int
    held_back: int
    oldest_seconds: float
    committed: int | None


@dataclass(frozen=True, slots=True)
class TotalsStatus:
    """All partitions of ours together, also those that `Status.partitions` leaves out.

    Args:
        partitions: how many there are.
        lag: null where that of one of them is not known yet; so is `stable_lag`.
        oldest_seconds: of the oldest one.
    """

    partitions: int
    lag: int | None
    stable_lag: int | None
    open: int
    held_back: int
    oldest_seconds: float


@dataclass(frozen=True, slots=True)
class ChunksStatus:
    """How far a document's chunks are.

    Args:
        total: of the document; the others are parts of it.
    """

    total: int
    unchanged: int
    uploaded: int
    failed: int


@dataclass(frozen=True, slots=True)
class DocumentStatus:
    """A document in work.

    Args:
        at: topic, partition and offset of its record.
        station: ``turn``, ``plan``, ``upload`` or ``settle``.
        waits_for: null while it works; else as in `WaitStatus`.
        aside: whether it gave up its place while it waits.
        chunks: null unless it is being uploaded.
        error: what its last try met, where chunks of it failed.
        why: `waits_for` in words.
    """

    at: str
    identity: str | None
    document_id: str | None
    workspace: str | None
    trace_id: str
    station: str
    waits_for: str | None
    aside: bool
    seconds: float
    bytes: int
    chunks: ChunksStatus | None
    error: str | None
    why: str | None = None


@dataclass(frozen=True, slots=True)
class WaitStatus:
    """Documents that wait for the same thing.

    Args:
        waits_for: a word of `WAITS`.
        workspace: null where they wait for all of AnythingLLM, or for Kafka.
        server: null where there is one only, or it is not known.
        trial_in: seconds until somebody tries; null where nobody knows.
        why: `waits_for` in words.
    """

    waits_for: str
    workspace: str | None
    server: str | None
    documents: int
    trial_in: float | None
    why: str | None = None


@dataclass(frozen=True, slots=True)
class WorkStatus:
    """What is in work.

    Args:
        places: that documents in work may have; those aside have none.
        waiting: most documents first.
        oldest: some of the documents, the longest in work first.
    """

    documents: int
    places: int
    aside: int
    bytes: int
    waiting: tuple[WaitStatus, ...]
    oldest: tuple[DocumentStatus, ...]


@dataclass(frozen=True, slots=True)
class RateStatus:
    """What was done in a few seconds; see `consumer.telemetry.rates.Rate`.

    Args:
        ago: seconds since then.
        seconds: how long it was; documents, uploads and failures are a second.
    """

    ago: float
    seconds: float
    documents: float
    uploads: float
    failures: float
    upload_mean: float | None
    upload_p95: float | None


@dataclass(frozen=True, slots=True)
class PaceStatus:
    """What was done a second of late, and when all is done at that pace.

    Args:
        seconds: that it was seen for, a minute at most; null before the first look, and the others
            with it.
        documents: settled, whatever became of them; uploads and failures are those of chunks.
        eta_seconds: until the lag is worked off, if nothing comes meanwhile; null where nobody can
            tell.
    """

    seconds: float | None = None
    documents: float | None = None
    uploads: float | None = None
    failures: float | None = None
    eta_seconds: float | None = None


NO_PACE = PaceStatus()
"""That of a service that has just begun, or that is too old to say."""


@dataclass(frozen=True, slots=True)
class SettledStatus:
    """A result."""

    at: datetime
    status: str
    identity: str | None
    document_id: str | None
    workspace: str | None
    event_id: str
    chunks: int
    failed: int
    seconds: float
    dead_letter: str | None
    error: str


@dataclass(frozen=True, slots=True)
class CauseStatus:
    """Dead letters of one cause.

    Args:
        document: of the latest one.
    """

    reason: str
    http_status: int | None
    message: str
    workspace: str | None
    document: str
    letters: int
    latest: datetime


@dataclass(frozen=True, slots=True)
class LettersStatus:
    """Dead letters that this process wrote, and whose documents it did not store since.

    Args:
        forgotten: how many more there were than are remembered.
        causes: most letters first.
    """

    open: int
    forgotten: int
    causes: tuple[CauseStatus, ...]


@dataclass(frozen=True, slots=True)
class SettingStatus:
    """A setting in force; a secret's value is never here."""

    name: str
    value: str
    is_default: bool


@dataclass(frozen=True, slots=True)
class Status:
    """See the module's docstring.

    Args:
        state: ``starting``, ``ready``, ``degraded``, ``not ready``, ``not alive`` or ``draining``.
        reasons: why it is not alive or not ready.
        worries: what is not as it should be though work goes on or waits by itself.
        partitions: the first of them; `totals` has all.
    """

    at: datetime
    service: ServiceStatus
    state: str
    reasons: tuple[str, ...]
    worries: tuple[str, ...]
    servers: tuple[ServerStatus, ...]
    partitions: tuple[PartitionStatus, ...]
    totals: TotalsStatus
    work: WorkStatus
    rates: tuple[RateStatus, ...]
    results: tuple[SettledStatus, ...]
    letters: LettersStatus
    settings: tuple[SettingStatus, ...]
    version: int = VERSION
    pace: PaceStatus = NO_PACE


def eta_of(lag: int | None, documents: float | None) -> float | None:
    """Seconds until so many records are worked off; None where nobody can tell. Pure.

    Args:
        lag: records.
        documents: settled a second.
    """
    if lag == 0:
        return 0.0
    return lag / documents if lag is not None and documents else None


def plain(value: Any, clean: Callable[[str], str]) -> Any:
    """The value as JSON takes it.

    Args:
        value: a status, or a part of one.
        clean: what every text goes through: secrets masked, unprintable characters escaped.

    Raises:
        TypeError: it is none of what is declared here. A document that came here by mistake would
            otherwise be shown with its text.
    """
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, tuple):
        return [plain(each, clean) for each in value]
    if value is None or isinstance(value, int | datetime):
        return value
    if type(value).__module__ != __name__:
        raise TypeError(f"no part of a status: {type(value).__name__}")
    return {each.name: plain(getattr(value, each.name), clean) for each in fields(value)}
