"""The simulated AnythingLLM as a server on a real port.

An upload that a client gives up on goes on and takes effect, as on the real server: handlers are
never cancelled by a lost connection, only by `Simulator.stop`, which is the server being killed.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from contextvars import Context
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import web

from consumer.model.listing import LONGEST_LISTING
from consumer.sandbox.simulator import wire
from consumer.sandbox.simulator.control import PREFIX, control
from consumer.sandbox.simulator.damage import Damage, Damages
from consumer.sandbox.simulator.endpoints import Endpoints
from consumer.sandbox.simulator.faults import Faults
from consumer.sandbox.simulator.front import Front
from consumer.sandbox.simulator.journal import Journal
from consumer.sandbox.simulator.model import Costs, Model
from consumer.sandbox.simulator.state import SimulatorState
from consumer.sandbox.simulator.tables import CREATION_SECONDS, StoredVector, Tables
from consumer.sandbox.simulator.text import CHUNK_SIZE
from consumer.sandbox.simulator.vector_databases import DATABASES, VectorDb
from consumer.sandbox.simulator.vector_store import VectorStore

BODY_LIMIT = 3 * 1024**3
STOP_SECONDS = 0.001  # for those under way: it is killed
StoredChunk = tuple[str, str, int]
"""docSource, text as stored, searchable copies: 1, or 0 where its vectors are not all there."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a simulated server is set up.

    Args:
        host: address to listen on.
        port: 0 picks a free one, which is kept over `Simulator.stop` and `start`.
        api_key: the only key that is accepted.
        costs: simulated time.
        creation_seconds: how long creating a table takes, the length of the race.
        journal: a file that the journal is appended to.
        seed: of everything random: UUIDs, slug suffixes, the outcome of races.
        longest_string: characters of the longest answer; the server builds each as one string.
        vector_db: ``lancedb``, ``pgvector``, ``chroma`` or ``milvus`` (`VectorDb`).
        split_size: UTF-16 units that get a vector, at most.
    """

    host: str = "127.0.0.1"
    port: int = 0
    api_key: str = "test-key"
    costs: Costs = field(default_factory=Costs)
    creation_seconds: float = CREATION_SECONDS
    journal: Path | None = None
    seed: int | None = None
    longest_string: int = LONGEST_LISTING
    vector_db: str = VectorDb.LANCEDB
    split_size: int = CHUNK_SIZE


class Simulator:
    """A simulated AnythingLLM 1.16.

    Args:
        options: fixed for its life.
        faults: what is wrong from the start; changeable at any time as `faults`.
        clock: epoch seconds.

    Raises:
        ValueError: no such vector database is simulated.
    """

    def __init__(
        self,
        options: Options,
        faults: Faults | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        rng = random.Random(options.seed)
        self._options = options
        self._clock = clock
        self._port = options.port
        self._runner: web.ServerRunner | None = None
        self.faults = faults or Faults()
        self.journal = Journal(clock, options.journal)
        self.state = SimulatorState(self._now, rng)
        database = DATABASES[VectorDb(options.vector_db)]
        self.tables = Tables(rng, self._wiped, options.creation_seconds, database)
        vectors = VectorStore(self.tables, self.faults, database, clock, self.state.uuid)
        self.model = Model(
            self.state,
            vectors,
            self.faults,
            self.journal,
            options.costs,
            rng,
            options.split_size,
        )
        self._front = Front(
            Endpoints(self.model, self._now, options.longest_string),
            self.model,
            options.api_key,
            self._now,
            self._die,
        )
        self._death: asyncio.Task[None] | None = None
        self.touched = asyncio.Event()
        """Set when a request may have changed what is stored; whoever keeps that clears it."""

    @property
    def endpoint(self) -> str:
        """The base address, without ``/api``."""
        return f"http://{self._options.host}:{self._port}"

    @property
    def api_key(self) -> str:
        """The key it accepts."""
        return self._front.api_key

    def change_key(self, key: str) -> None:
        """Accept this key from now on, and no other."""
        self._front.api_key = key

    def chunks(self, slug: str) -> list[StoredChunk]:
        """Every row of a workspace: docSource, text as stored, searchable copies (1 or 0)."""
        workspace = self.state.workspaces.get(slug)
        table = self.tables.get(slug)
        return [
            (
                row.file.metadata["docSource"],
                row.file.text,
                table.count_of(row.doc_id) // row.vectors if table else 0,
            )
            for row in (workspace.rows.values() if workspace else ())
        ]

    def orphans(self, slug: str) -> list[tuple[str, str]]:
        """Vectors where a workspace's are that belong to no row: docSource, text of the piece.

        Workspaces that share a collection have each other's rows.
        """
        table = self.tables.get(slug)
        return [
            (stored.file.metadata["docSource"], stored.embedded.text)
            for doc_id, vectors in (table.by_document.items() if table else ())
            if not self.state.has_row(doc_id)
            for stored in vectors
        ]

    def damage(
        self, kind: Damage | str, slug: str, location: str | None = None, seconds: float = 0.0
    ) -> int:
        """Plant what crashes and races leave behind (`Damages.plant`); how many rows it met."""
        return Damages(self.state, self.tables, self.journal).plant(kind, slug, location, seconds)

    def reset(self, **what: bool) -> None:
        """Forget state, faults and journal: all of them, or those given as true.

        Raises:
            TypeError: something else was named.
        """
        if unknown := set(what) - {"state", "faults", "journal"}:
            raise TypeError(f"nothing called {', '.join(sorted(unknown))} to reset")
        wanted = what or {"state": True, "faults": True, "journal": True}
        if wanted.get("state"):
            self.state.clear()
            self.tables.clear()
        if wanted.get("faults"):
            self.faults.clear()
        if wanted.get("journal"):
            self.journal.clear()

    async def start(self) -> None:
        """Listen; after a `stop` on the same port, with everything still stored."""
        loop = asyncio.get_running_loop()

        def request(
            message: Any, payload: Any, protocol: Any, writer: Any, task: Any
        ) -> web.BaseRequest:
            return web.BaseRequest(
                message, payload, protocol, writer, task, loop, client_max_size=BODY_LIMIT
            )

        server = web.Server(
            self._handle, request_factory=request, access_log=None, keepalive_timeout=5
        )
        runner = web.ServerRunner(server, shutdown_timeout=STOP_SECONDS)
        await runner.setup()
        site = web.TCPSite(runner, self._options.host, self._port, reuse_address=True)
        try:
            await site.start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner = runner
        self._front.start()
        self._port = runner.addresses[0][1]

    async def stop(self) -> None:
        """Go down like a killed server: connections break, what waits never takes effect."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            self._front.stop()
            await runner.cleanup()

    def kill(self, seconds: float, status: int | None = None) -> None:
        """Have the server die and come back after so many seconds (the fault ``kill``).

        Args:
            seconds: that it is away.
            status: what a proxy before it answers meanwhile; None: there is none, and connections
                are refused.
        """
        self._front.die(seconds, status)

    async def close(self) -> None:
        """Stop for good."""
        if self._death is not None:
            self._death.cancel()
            await asyncio.gather(self._death, return_exceptions=True)
        await self.stop()
        self.journal.close()

    def _die(self, seconds: float) -> None:
        async def die() -> None:
            await self.stop()
            await asyncio.sleep(seconds)
            await self.start()

        if self._death is None or self._death.done():
            # Not in the context of the request: what is bound there goes with its client.
            loop = asyncio.get_running_loop()
            self._death = loop.create_task(die(), context=Context())

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)

    def _wiped(self, slug: str, vectors: Sequence[StoredVector]) -> None:
        locations = sorted({stored.file.location for stored in vectors})
        self.journal.record("vectors.wiped", slug=slug, locations=locations)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0
        try:
            return await self._handled(request)
        finally:
            if request.method not in ("GET", "HEAD"):
                self.touched.set()

    async def _handled(self, request: web.BaseRequest) -> web.StreamResponse:
        if not request.path.startswith(PREFIX):
            return await self._front.handle(request)
        since, body = request.query.get("since", ""), await request.read()
        answer = await control(self, request.method, request.path, since, body)
        return await wire.send(request, answer, None, self._now())


@asynccontextmanager
async def simulator(
    port: int = 0,
    api_key: str = "test-key",
    faults: Faults | None = None,
    journal: Path | None = None,
    clock: Callable[[], float] = time.time,
    **options: Any,
) -> AsyncIterator[Simulator]:
    """A simulated AnythingLLM for the length of an ``async with``.

    Args:
        port: 0 picks a free one.
        api_key: the only key that is accepted.
        faults: what is wrong from the start.
        journal: a file to append the journal to.
        clock: epoch seconds.
        options: the other fields of `Options`.
    """
    chosen = Options(port=port, api_key=api_key, journal=journal, **options)
    server = Simulator(chosen, faults, clock)
    await server.start()
    try:
        yield server
    finally:
        await server.close()
