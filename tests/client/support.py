"""What the client's tests share: quick settings, documents, and a server that says exactly this."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from consumer.anythingllm import (
    AnythingLLMClient,
    AnythingLLMConfig,
    AnythingLLMPendingError,
    CircuitBreakerConfig,
)
from consumer.anythingllm.unit_upload import RawTextUpload
from consumer.model.document import Chunk, ProcessedDocument
from consumer.model.marker import StoredUnit, Unit, unit_of
from consumer.model.names import TraceId
from consumer.model.version import DocumentVersion
from consumer.resilience.retry import RetryPolicy
from consumer.sandbox.simulator import Simulator, VectorDb
from consumer.telemetry.tracing import NO_TRACING, Tracing
from tests.simulator_fixtures import running_server as running_server
from tests.simulator_fixtures import wall_clock

DIFFERENT_DATABASES = (VectorDb.LANCEDB, VectorDb.PGVECTOR, VectorDb.CHROMA)
"""For tests whose promise does not depend on the vector database behind AnythingLLM."""
TRUE_ANSWERS = (VectorDb.LANCEDB, VectorDb.CHROMA)
"""Where its refusals get as far as AnythingLLM's answers."""
MOMENT = 0.01  # seconds; where no time passes, nothing is later than anything else
TRACE = TraceId("0af7651916cd43dd8448eb211c80319c")


def client_of(
    endpoint: str, key: str = "test-key", *, tracing: Tracing = NO_TRACING, **settings: Any
) -> AnythingLLMClient:
    """A client whose waits are short; it is the caller's to connect."""
    quick: dict[str, Any] = {
        "circuit_breaker": CircuitBreakerConfig(1000, 60, 5),
        "upload_timeout": 5.0,
        "removal_timeout": 5.0,
        "retry": RetryPolicy(3, 0.01, 0.02),
        "ambiguity_seconds": 0.2,
        "sentinel_pause": 0.1,
    }
    config = AnythingLLMConfig(endpoint, key, **{**quick, **settings})
    wall = wall_clock()
    return AnythingLLMClient(
        config,
        clock=asyncio.get_running_loop().time,
        now=lambda: datetime.fromtimestamp(wall(), UTC),
        tracing=tracing,
    )


def client_for(server: Simulator, **settings: Any) -> AnythingLLMClient:
    """As `client_of`, for a simulated server."""
    return client_of(server.endpoint, server.api_key, **settings)


def clock() -> float:
    """The running loop's time."""
    return asyncio.get_running_loop().time()


def document(
    *texts: str,
    id: str = "doc-1",
    title: str = "A Title",
    url: str = "https://example.com/doc",
    day: int = 1,
) -> ProcessedDocument:
    """A document of these texts."""
    return ProcessedDocument(
        id=id,
        title=title,
        technology="Tech",
        source_url=url,
        chunks=tuple(Chunk(f"{id}_chunk_{n}", text, n) for n, text in enumerate(texts)),
        created_at=datetime(2026, 11, day, tzinfo=UTC),
    )


def texts_of(server: Simulator, slug: str) -> list[str]:
    """The texts that are really searchable in a workspace, doubles included, sorted."""
    return sorted(text for _, text, copies in server.chunks(slug) for _ in range(copies))


@dataclass(slots=True)
class ScriptedServer:
    """Counts what comes in; the script decides what goes out."""

    endpoint: str = ""
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    open_now: int = 0


Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def scripted(script: Script) -> AsyncIterator[ScriptedServer]:
    """A TCP server that reads a request and runs the script, again and again on a connection."""
    state = ScriptedServer()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        state.connections += 1
        state.open_now += 1
        try:
            while request := await _request(reader):
                state.requests.append(request)
                await script(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            state.open_now -= 1
            writer.close()
            tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    state.endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield state
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _request(reader: asyncio.StreamReader) -> bytes:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            head += await reader.readexactly(int(line.split(b":")[1]))
    return head


def answer(
    body: bytes | str,
    status: str = "200 OK",
    content_type: str = "application/json; charset=utf-8",
    headers: str = "",
) -> bytes:
    """A complete HTTP answer."""
    raw = body.encode() if isinstance(body, str) else body
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\n{headers}"
        f"Content-Length: {len(raw)}\r\n\r\n"
    )
    return head.encode() + raw


def says(*answers: bytes) -> Script:
    """A script that gives these answers in turn, the last one for ever."""
    left = list(answers)

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(left.pop(0) if len(left) > 1 else left[0])
        await writer.drain()

    return script


def reset(writer: asyncio.StreamWriter) -> None:
    """Break the connection with a TCP reset."""
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def stored_by(upload: RawTextUpload) -> StoredUnit:
    """Attempts until it says something: at first it may be uploaded, and looked for by the next."""
    while (stored := await upload.attempt()) is None:
        pass
    return stored


async def proven(upload: RawTextUpload) -> StoredUnit:
    """As `stored_by`, however long it has to be looked for."""
    while True:
        try:
            return await stored_by(upload)
        except AnythingLLMPendingError as error:
            await asyncio.sleep(error.retry_after or 0)


def unused_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that another task or the server brings about; 5 s at most."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - plain state, nobody signals
            await asyncio.sleep(0.005)


def unit(doc: ProcessedDocument, index: int = 0) -> Unit:
    """One chunk of a document of `document`, to be uploaded by itself."""
    instant = doc.created_at
    assert instant is not None
    return unit_of((doc.chunks[index],), doc, DocumentVersion(instant))
