"""What stages share, whatever their Kafka: events, a lived-in AnythingLLM, what is stored there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from consumer.model.marker import Marker, decode_marker
from consumer.model.record import Record
from consumer.sandbox.simulator import Options, Simulator
from consumer.sandbox.simulator.shapes import shown_metadata

Json = dict[str, Any]

DAY = datetime(2026, 3, 1, tzinfo=UTC)
FOREIGN = "a note that a person wrote"
SECONDS = 40.0  # a deadline, not a wait: generous, because the machine may be busy
_AGE_SECONDS = 3600.0
_LOOK_SECONDS = 0.02

QUICK = {
    "KAFKA_COMMIT_INTERVAL_SECONDS": "0.05",
    "KAFKA_SESSION_TIMEOUT_SECONDS": "15",  # a loaded machine may stand still for seconds
    "KAFKA_DELIVERY_TIMEOUT_SECONDS": "10",
    "ANYTHINGLLM_TIMEOUT_SECONDS": "5",
    "ANYTHINGLLM_AMBIGUITY_SECONDS": "5",
    "BREAKER_RECOVERY_SECONDS": "0.2",
    "UPLOAD_BACKOFF_BASE_SECONDS": "0.02",
    "UPLOAD_BACKOFF_CAP_SECONDS": "0.2",
    "UPLOAD_TIMEOUT_SECONDS": "5",
    "SHUTDOWN_DRAIN_SECONDS": "10",
    "ADMIN_PORT": "0",
}


class ShiftingClock:
    """The simulator's clock: what is seeded before `catch_up` is an hour old afterwards."""

    def __init__(self) -> None:
        self._behind = _AGE_SECONDS

    def __call__(self) -> float:
        return time.time() - self._behind

    def catch_up(self) -> None:
        self._behind = 0.0


@asynccontextmanager
async def lived_in(*slugs: str, vector_db: str = "lancedb") -> AsyncIterator[Simulator]:
    """A simulated AnythingLLM in which these workspaces have been in use for an hour.

    Each holds one document of somebody else's, which must survive whatever we do. The service
    needs no sentinel for them, which would take a second a workspace.
    """
    clock = ShiftingClock()
    server = Simulator(Options(vector_db=vector_db), clock=clock)
    for slug in slugs:
        server.state.create_workspace(slug, {})
        fields = {"title": "a note", "docSource": "a person"}
        shown = shown_metadata(fields, FOREIGN, datetime.fromtimestamp(clock(), UTC))
        await server.model.store("a-note", shown, FOREIGN, [slug], frozenset())
    clock.catch_up()
    server.journal.clear()
    await server.start()
    try:
        yield server
    finally:
        await server.close()


def document(
    id: str,
    texts: Sequence[str],
    *,
    day: float = 0,
    technology: str = "docs",
    chunk_ids: Sequence[str] | None = None,
    **more: Any,
) -> Json:
    """A valid event; ``day`` orders its versions."""
    names = chunk_ids or [f"{id}_chunk_{number}" for number in range(len(texts))]
    created = datetime.fromtimestamp(DAY.timestamp() + day * 86_400, UTC)
    return {
        "id": id,
        "title": f"The title of {id}",
        "source_url": f"https://docs.example/{id}",
        "technology": technology,
        "content_hash": f"hash-{id}-{day}",
        "created_at": created.isoformat(),
        "chunks": [
            {"id": name, "content": text, "chunk_index": n, "total_chunks": len(texts)}
            for n, (name, text) in enumerate(zip(names, texts, strict=True))
        ],
        **more,
    }


def result(number: int, **fields: Any) -> Json:
    """A result as the service writes it, as far as readers look."""
    return {
        "schema_version": "1.0",
        "event_id": f"00000000-0000-5000-8000-{number:012d}",
        "trace_id": f"{number:032x}",
        "identity": f"identity-{number}",
        "document_id": f"document-{number}",
        "workspace_slug": "docs",
        "status": "succeeded",
        "total_chunks": 1,
        "successful_uploads": 1,
        "source": {"topic": "t", "partition": 0, "offset": number},
        "completed_at": "2026-11-22T10:00:00Z",
        **fields,
    }


def texts(id: str, count: int) -> list[str]:
    """Texts that no other document has."""
    return [f"Text {number} of {id}, which is like no other." for number in range(count)]


async def eventually(condition: Callable[[], object], seconds: float = SECONDS) -> None:
    """Wait for something that nobody announces."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - see above
            await asyncio.sleep(_LOOK_SECONDS)


def first_by_event(results: Iterable[Json]) -> list[Json]:
    """The first result of each event: what consumers of results keep."""
    first: dict[str, Json] = {}
    for each in results:
        first.setdefault(each["event_id"], each)
    return list(first.values())


def statuses(results: Iterable[Json]) -> dict[str, str]:
    """Status by document id; for documents with one event."""
    return {each["document_id"]: each["status"] for each in results}


def header(record: Record, name: str) -> str | None:
    """A header as text."""
    value = record.header(name)
    return None if value is None else value.decode()


class StoredView:
    """What an AnythingLLM has taken and holds.

    Args:
        simulator: which.
    """

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator

    def stored(self, slug: str = "docs") -> dict[str, list[str]]:
        """Searchable texts by document id, in no order; a double stands there twice."""
        found: dict[str, list[str]] = {}
        for marker, text in self._ours(slug):
            found.setdefault(marker.document_id, []).append(text)
        return {name: sorted(held) for name, held in found.items()}

    def foreign(self, slug: str = "docs") -> list[str]:
        """Searchable texts that are not ours."""
        chunks = self.simulator.chunks(slug)
        return [t for source, t, copies in chunks if copies == 1 and not decode_marker(source)]

    def _ours(self, slug: str) -> list[tuple[Marker, str]]:
        found = []
        for source, text, copies in self.simulator.chunks(slug):
            if (marker := decode_marker(source)) is not None:
                assert copies == 1, f"a chunk of {marker.document_id} is stored but not searchable"
                found.append((marker, text))
        return found

    def uploads(self, id: str | None = None) -> int:
        """How many chunks were uploaded so far, of one document or of all."""
        markers = [
            decode_marker(entry["doc_source"])
            for entry in self.simulator.journal.of("document.stored")
        ]
        return sum(1 for m in markers if m is not None and id in (None, m.document_id))

    def removals(self) -> int:
        """How many AnythingLLM documents were removed so far."""
        return self.simulator.journal.count("document.removed")
