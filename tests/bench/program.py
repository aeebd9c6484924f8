"""A contestant's processes, with the topics that they need; both are gone afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench import topics
from tests.bench.catalog import REPOSITORY, Contestant, environment
from tests.bench.contestants.work import CHUNKS_A_DOCUMENT, Task
from tests.bench.topics import Results
from tests.bench.usage import cpu_seconds, memory_mb, peak_memory_mb

WORKSPACE = "bench"
_PATIENCE = 900.0  # seconds for one condition
_STOP_SECONDS = 60.0


def new_task(
    kafka: str,
    endpoint: str,
    topic: str,
    *,
    name: str,
    slots: int,
    documents: int = 0,
    chunks_a_document: int = CHUNKS_A_DOCUMENT,
) -> Task:
    """A task with a consumer group and a topic for results that nobody used before."""
    group = f"bench-{name}-{secrets.token_hex(4)}"
    return Task(
        endpoint=endpoint,
        workspace=WORKSPACE,
        slots=slots,
        documents=documents,
        chunks_a_document=chunks_a_document,
        kafka=kafka,
        topic=topic,
        results=f"{group}-results",
        group=group,
    )


@dataclass(frozen=True, slots=True)
class Running:
    """Processes that do the same task together."""

    processes: Sequence[asyncio.subprocess.Process]
    outputs: Sequence[Path]
    results: Results

    def cpu_seconds(self) -> float:
        """What all of them have used so far."""
        return sum(cpu_seconds(each.pid) for each in self.processes)

    def peak_memory_mb(self) -> float:
        """What the largest of them had resident at most, its children included."""
        return max(peak_memory_mb(each.pid) for each in self.processes)

    def memory_mb(self) -> float:
        """What the largest of them has resident, its children included."""
        return max(memory_mb(each.pid) for each in self.processes)

    def pin(self, core: int) -> None:
        """Have all of their threads run on one core."""
        for each in self.processes:
            for thread in Path(f"/proc/{each.pid}/task").iterdir():
                os.sched_setaffinity(int(thread.name), {core})

    async def until(self, condition: Callable[[], Awaitable[bool]], seconds: float = 0.1) -> None:
        """Ask so often until it holds.

        Raises:
            RuntimeError: one of them ended; its last words are in the message.
            TimeoutError: it never held.
        """
        async with asyncio.timeout(_PATIENCE):
            while not await condition():
                self._check()
                await asyncio.sleep(seconds)

    async def until_results(self, count: int, seconds: float = 0.1) -> None:
        """`until` there are so many results."""

        async def are_there() -> bool:
            return await self.results.count() >= count

        await self.until(are_there, seconds)

    def _check(self) -> None:
        for process, output in zip(self.processes, self.outputs, strict=True):
            if process.returncode is not None:
                words = output.read_text(errors="replace")[-2_000:]
                raise RuntimeError(f"ended early, with {process.returncode}: {words}")


@asynccontextmanager
async def made_topics(task: Task, contestant: Contestant) -> AsyncIterator[None]:
    """The topics of a task, but the documents'."""
    names = [task.results, *contestant.topics(task)]
    await topics.create(task.kafka, names)
    try:
        yield
    finally:
        await topics.delete(task.kafka, names)


@asynccontextmanager
async def started(contestant: Contestant, task: Task, instances: int = 1) -> AsyncIterator[Running]:
    """It runs; the task's topics are there."""
    async with AsyncExitStack() as rooms:
        results = await rooms.enter_async_context(topics.watched_results(task.kafka, task.results))
        folder = Path(rooms.enter_context(tempfile.TemporaryDirectory()))
        outputs = [folder / f"output-{n}" for n in range(instances)]
        processes = [
            await rooms.enter_async_context(_process(contestant, task, each)) for each in outputs
        ]
        yield Running(processes, outputs, results)


@asynccontextmanager
async def _process(
    contestant: Contestant, task: Task, output: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    with output.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *contestant.command(task),
            cwd=REPOSITORY,
            env=environment(contestant.env(task)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=file,
            stderr=asyncio.subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        await _stop(process)


async def _stop(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
