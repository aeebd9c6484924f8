"""One contestant's turn: started, watched from outside, stopped.

Its time goes from the first upload's arrival at the server to the last result's at the broker (to
the last proof's answer for the bare loop), each by the clock of whoever received it. Starting,
joining a group and stopping are left out. Its CPU time is that of all its processes meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench import topics
from tests.bench.catalog import REPOSITORY, Contestant, environment
from tests.bench.contestants.work import CHUNKS_A_DOCUMENT, Task
from tests.bench.server import Costs, Server
from tests.bench.topics import Results
from tests.bench.usage import cpu_seconds, peak_memory_mb

WORKSPACE = "bench"
_POLL = 0.02  # seconds until the first upload: as much of the CPU time may be missed
_LAZY_POLL = 0.1
_TURN_SECONDS = 600.0
_STOP_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Work:
    """What all contestants work on.

    Args:
        kafka: ``host:port``.
        topic: where the documents are.
        documents: how many.
        slots: requests in flight.
        costs: of the server's requests.
        chunks: of all documents together.
    """

    kafka: str
    topic: str
    documents: int
    slots: int
    costs: Costs

    @property
    def chunks(self) -> int:
        return self.documents * CHUNKS_A_DOCUMENT


@dataclass(frozen=True, slots=True)
class Turn:
    """What was measured.

    Args:
        contestant: its name.
        chunks_per_second: stored, proven and, where it has them, reported.
        cpu_us_per_chunk: microseconds of all its processes.
        peak_memory_mb: of all its processes.
        seconds: from the first upload to the end.
        calls_per_chunk: requests to the server.
        most_in_flight: uploads at once.
        surplus: uploads that were not asked for; 0 where each chunk was stored once.
    """

    contestant: str
    chunks_per_second: float
    cpu_us_per_chunk: float
    peak_memory_mb: float
    seconds: float
    calls_per_chunk: float
    most_in_flight: int
    surplus: int


async def take_turn(contestant: Contestant, work: Work, server: Server) -> Turn:
    """Run it on all of the work.

    Raises:
        RuntimeError: it ended early, or did not finish; its last words are in the message.
    """
    group = f"bench-{contestant.name}-{secrets.token_hex(4)}"
    task = Task(
        endpoint=server.endpoint,
        workspace=WORKSPACE,
        slots=work.slots,
        documents=work.documents,
        kafka=work.kafka,
        topic=work.topic,
        results=f"{group}-results",
        group=group,
    )
    await server.reset(work.costs, [WORKSPACE])
    names = [task.results, *contestant.topics(task)]
    await topics.create(work.kafka, names)
    try:
        async with (
            topics.watched_results(work.kafka, task.results) as results,
            _running(contestant, task) as program,
        ):
            return await _watch(contestant, work, server, program, results)
    finally:
        await topics.delete(work.kafka, names)


@dataclass(frozen=True, slots=True)
class _Program:
    process: asyncio.subprocess.Process
    output: Path

    def check(self) -> None:
        """Raise where it is not there any more."""
        if self.process.returncode is not None:
            words = self.output.read_text(errors="replace")[-2_000:]
            raise RuntimeError(f"ended early, with {self.process.returncode}: {words}")


async def _watch(
    contestant: Contestant, work: Work, server: Server, program: _Program, results: Results
) -> Turn:
    async def is_done() -> bool:
        if contestant.has_results:
            return await results.count() >= work.documents
        return (await server.stats()).proofs >= work.chunks

    async def has_begun() -> bool:
        return (await server.stats()).first_upload > 0

    pid = program.process.pid
    async with asyncio.timeout(_TURN_SECONDS):
        await _until(has_begun, program, _POLL)
        cpu = cpu_seconds(pid)
        await _until(is_done, program, _LAZY_POLL)
    cpu, memory = cpu_seconds(pid) - cpu, peak_memory_mb(pid)
    stats = await server.stats()
    end = max((await results.times()).values()) if contestant.has_results else stats.last_proof
    seconds = end - stats.first_upload
    return Turn(
        contestant=contestant.name,
        chunks_per_second=round(work.chunks / seconds, 1),
        cpu_us_per_chunk=round(cpu * 1e6 / work.chunks, 1),
        peak_memory_mb=round(memory, 1),
        seconds=round(seconds, 3),
        calls_per_chunk=round(stats.calls / work.chunks, 2),
        most_in_flight=stats.most_in_flight,
        surplus=stats.uploads - work.chunks,
    )


async def _until(
    condition: Callable[[], Awaitable[bool]], program: _Program, seconds: float
) -> None:
    while not await condition():
        program.check()
        await asyncio.sleep(seconds)


@asynccontextmanager
async def _running(contestant: Contestant, task: Task) -> AsyncIterator[_Program]:
    """The program, which has ended afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "output"
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
            yield _Program(process, output)
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
