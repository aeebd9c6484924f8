"""Several instances at once, each with a way of its own into the simulated AnythingLLM.

The server's journal can't tell who uploaded a chunk. A door can: it is a port that only one
instance knows, and it notes what came through and when. Beside the instance's own log, which says
when it had which partitions, that shows work of a former assignment.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from aiohttp import web

from consumer.kafka.publisher import OutgoingRecord, Publisher
from consumer.model.marker import decode_marker
from consumer.sandbox.simulator import Simulator
from tests.e2e.support import Json, Process, Stage, until

_BODY_LIMIT = 64 * 2**20

Event = tuple[str, Json | None]
"""An identity, and what is published about it; None is a tombstone."""
Publish = Callable[[Sequence[Event]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Upload:
    """A chunk on its way into AnythingLLM, as the server's side saw it."""

    arrived: float
    document_id: str
    chunk_id: str


class Door:
    """A port of its own into the simulated AnythingLLM: who came through it is known."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self.uploads: list[Upload] = []
        self.endpoint = ""

    async def until_used(self) -> None:
        """Wait for the first upload."""
        await until(lambda: self.uploads, "an upload by the instance that has just joined")

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/raw-text"):
            marker = decode_marker(json.loads(await request.read())["metadata"]["docSource"])
            if marker is not None:
                upload = Upload(time.time(), marker.document_id, marker.chunks[0].id)
                self.uploads.append(upload)
        return await self._simulator._handle(request)


@asynccontextmanager
async def door_to(simulator: Simulator) -> AsyncIterator[Door]:
    """A further door, open while the block runs."""
    door = Door(simulator)
    app = web.Application(client_max_size=_BODY_LIMIT)
    app.router.add_route("*", "/{path:.*}", door.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        door.endpoint = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield door
    finally:
        await runner.cleanup()


@dataclass(frozen=True, slots=True)
class Instance:
    """A process of the service, and the door it uses."""

    process: Process
    door: Door

    def holds(self) -> list[tuple[float, frozenset[str]]]:
        """What it had of the documents topic, from when on, as it says itself."""
        changes = []
        for line in self.process.logged():
            if line["event"] == "assignment.received":
                changes.append((_epoch(line), frozenset(line["partitions"])))
            elif line["event"] in {"assignment.revoked", "assignment.expired", "service.stopped"}:
                changes.append((_epoch(line), frozenset()))
        return changes


@dataclass(frozen=True, slots=True)
class Crew:
    """Starts instances with a door each."""

    stage: Stage
    doors: AsyncExitStack

    async def join(self) -> Instance:
        door = await self.doors.enter_async_context(door_to(self.stage.simulator))
        process = await self.stage.run(
            ANYTHINGLLM_ENDPOINT=door.endpoint, KAFKA_SESSION_TIMEOUT_SECONDS="4"
        )
        await process.until_logged("assignment.received")
        return Instance(process, door)


def _epoch(line: Json) -> float:
    return datetime.fromisoformat(line["timestamp"].replace("Z", "+00:00")).timestamp()


def trespasses(instances: Iterable[Instance], partition_of: Mapping[str, str]) -> list[str]:
    """Uploads by an instance that did not have the document's partition at that time."""
    found = []
    for number, instance in enumerate(instances):
        holds = instance.holds()
        for upload in instance.door.uploads:
            partition = partition_of[upload.document_id]
            before = [held for since, held in holds if since <= upload.arrived]
            if not before or partition not in before[-1]:
                found.append(f"instance {number}: {upload.chunk_id} of {partition}")
    return found


@asynccontextmanager
async def publishing(stage: Stage) -> AsyncIterator[Publish]:
    """Publishes events by identity, None a tombstone; waits until all are acknowledged."""
    publisher = Publisher(stage.connection, give_up=True)
    topic = stage.settings["KAFKA_DOCUMENTS_TOPIC"]

    async def publish(events: Sequence[Event]) -> None:
        await asyncio.gather(
            *(
                publisher.publish(
                    OutgoingRecord(
                        topic,
                        identity.encode(),
                        None if event is None else json.dumps(event).encode(),
                    )
                )
                for identity, event in events
            )
        )

    await publisher.start()
    try:
        yield publish
    finally:
        await publisher.stop()
