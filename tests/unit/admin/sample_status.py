"""A status with everything in it, for tests of what shows it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from consumer.admin.status import (
    WAITS,
    BreakerStatus,
    CauseStatus,
    ChunksStatus,
    DocumentStatus,
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
    WaitStatus,
    WorkspaceStatus,
    WorkStatus,
)

DAY = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
TRACE = "0af7651916cd43dd8448eb211c80319c"


def sample_status(
    *, title: str = "lantern-care", workspace: str = "lanterns", state: str = "degraded"
) -> Status:
    """A service in the middle of its work, with one paused workspace.

    Args:
        title: of documents, and part of every error: whatever publishers and servers may say.
        workspace: of all of them.
        state: in a word.
    """
    return Status(
        at=DAY,
        service=ServiceStatus("0.1.0", "consumer-7d9f-1", "anythingllm-consumer", DAY, 93_600.0),
        state=state,
        reasons=(),
        worries=(f"workspace {workspace} is paused: {title}: dimension 384, not 768",),
        servers=(_server(title, workspace),),
        partitions=tuple(_partition(number) for number in range(4)),
        totals=TotalsStatus(
            partitions=4, lag=5_002, stable_lag=4_960, open=32, held_back=2, oldest_seconds=312.0
        ),
        work=_work(title, workspace),
        rates=tuple(_rate(number) for number in range(119, -1, -1)),
        results=tuple(_result(number, title, workspace) for number in range(8)),
        letters=LettersStatus(3, 0, _causes(title, workspace)),
        settings=(
            SettingStatus("KAFKA_BOOTSTRAP_SERVERS", "kafka-1:9092,kafka-2:9092", False),
            SettingStatus("KAFKA_GROUP_ID", "anythingllm-consumer", True),
            SettingStatus("ANYTHINGLLM_API_KEY", "set, not shown", False),
            SettingStatus("UPLOAD_MAX_CHUNKS_IN_FLIGHT", "5", True),
        ),
        pace=PaceStatus(60.0, 2.5, 24.0, 0.1, 2_000.8),
    )


def _server(title: str, workspace: str) -> ServerStatus:
    return ServerStatus(
        name=None,
        breaker=BreakerStatus(
            state="closed",
            trial_in=0.0,
            failures=0,
            last_failure_at=DAY - timedelta(minutes=42),
            last_error=f"timeout after 30 s ({title})",
            rest=0.0,
            alone=False,
        ),
        fuse=FuseStatus(False, 0.0, 0.045, 200),
        paused=1,
        workspaces=(
            WorkspaceStatus(workspace, f"{title}: dimension 384, not 768", 310.0, 27.0, 12),
        ),
    )


def _partition(number: int) -> PartitionStatus:
    return PartitionStatus(
        topic="documents.processed",
        partition=number,
        lag=1_240 + 7 * number,
        stable_lag=1_240,
        open=8,
        held_back=number % 2,
        oldest_seconds=312.0 - number,
        committed=88_120 + number,
    )


def _work(title: str, workspace: str) -> WorkStatus:
    def one(
        number: int, station: str, why: str | None, chunks: ChunksStatus | None
    ) -> DocumentStatus:
        return DocumentStatus(
            at=f"documents.processed-{number % 4}@{88_120 + number}",
            identity=f"{title}-{number}",
            document_id=f"{title}-{number}",
            workspace=workspace if why == "workspace" else "harbours",
            trace_id=TRACE,
            station=station,
            waits_for=why,
            aside=why == "workspace",
            seconds=310.0 / (number + 1),
            bytes=48_000,
            chunks=chunks,
            error=f"503 about {title}" if why == "next-round" else None,
            why=None if why is None else WAITS[why],
        )

    return WorkStatus(
        documents=44,
        places=32,
        aside=12,
        bytes=1_530_000,
        waiting=(
            WaitStatus("workspace", workspace, None, 12, 27.0, WAITS["workspace"]),
            WaitStatus("next-round", "harbours", None, 2, None, WAITS["next-round"]),
        ),
        oldest=(
            one(0, "plan", "workspace", None),
            one(1, "upload", "next-round", ChunksStatus(120, 14, 61, 1)),
            one(2, "upload", None, ChunksStatus(48, 0, 31, 0)),
            one(3, "upload", None, ChunksStatus(9, 0, 2, 0)),
            one(4, "settle", None, None),
        ),
    )


def _rate(number: int) -> RateStatus:
    """Five seconds; an outage of a minute in the middle."""
    is_out = 55 < number < 67
    wave = (number * 7) % 11 / 11
    return RateStatus(
        ago=5.0 * number,
        seconds=5.0,
        documents=0.0 if is_out else 2.1 + wave,
        uploads=0.0 if is_out else 21.0 + 6 * wave,
        failures=0.0 if is_out else 0.2 * wave,
        upload_mean=None if is_out else 0.18 + 0.06 * wave,
        upload_p95=None if is_out else 0.42 + 0.2 * wave,
    )


def _result(number: int, title: str, workspace: str) -> SettledStatus:
    status = ("succeeded", "succeeded", "partial", "superseded", "failed")[number % 5]
    failed = 1 if status in ("partial", "failed") else 0
    return SettledStatus(
        at=DAY - timedelta(seconds=3 * number),
        status=status,
        identity=f"{title}-{100 - number}",
        document_id=f"{title}-{100 - number}",
        workspace=workspace,
        event_id=f"00000000-0000-5000-8000-{number:012}",
        chunks=0 if status == "superseded" else 12,
        failed=failed,
        seconds=2.4,
        dead_letter="rejected" if failed else None,
        error=f"{title}-{100 - number}_3: 422 the text is too long" if failed else "",
    )


def _causes(title: str, workspace: str) -> tuple[CauseStatus, ...]:
    return (
        CauseStatus(
            "rejected", 422, f"{title}: the text is too long", workspace, f"{title}-98", 2, DAY
        ),
        CauseStatus("invalid", None, "chunks.0.content: is blank", None, f"{title}-7", 1, DAY),
    )
