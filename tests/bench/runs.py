"""One contestant's turn: started, watched from outside, stopped.

The first fifth of the uploads warms it up: a peer in Java compiles itself meanwhile. Its time goes
from the next upload's arrival at the server to the last result's at the broker (to the last proof's
answer for the bare loop), each by the clock of whoever received it. Starting, joining a group and
stopping are left out. Its CPU time is that of all its processes meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.bench.catalog import Contestant
from tests.bench.contestants.work import CHUNKS_A_DOCUMENT
from tests.bench.program import WORKSPACE, Running, made_topics, new_task, started
from tests.bench.server import Costs, Server

_POLL = 0.02  # seconds until it is warm: as much of the CPU time may be missed


@dataclass(frozen=True, slots=True)
class Work:
    """What all contestants work on.

    Args:
        kafka: ``host:port``.
        topic: where the documents are.
        documents: how many.
        chunks_a_document: of each.
        slots: requests in flight.
        costs: of the server's requests.
        is_cold: nothing warms it up; so it has to be where an upload may be several chunks.
    """

    kafka: str
    topic: str
    documents: int
    slots: int
    costs: Costs
    chunks_a_document: int = CHUNKS_A_DOCUMENT
    is_cold: bool = False

    @property
    def chunks(self) -> int:
        """Of all documents together."""
        return self.documents * self.chunks_a_document

    @property
    def warm_up(self) -> int:
        """How many of them are not measured."""
        return 0 if self.is_cold else self.chunks // 5


@dataclass(frozen=True, slots=True)
class Turn:
    """What was measured.

    Args:
        contestant: its name.
        chunks_per_second: stored, proven and, where it has them, reported.
        cpu_us_per_chunk: microseconds of all its processes.
        peak_memory_mb: of the largest instance, its children included.
        seconds: that were measured.
        calls_per_chunk: requests to the server.
        listings: of the workspace, all in all.
        most_in_flight: uploads at once.
        surplus: uploads beyond one a chunk.
    """

    contestant: str
    chunks_per_second: float
    cpu_us_per_chunk: float
    peak_memory_mb: float
    seconds: float
    calls_per_chunk: float
    listings: int
    most_in_flight: int
    surplus: int


async def take_turn(
    contestant: Contestant, work: Work, server: Server, instances: int = 1, *, keep: bool = False
) -> Turn:
    """Run it on all of the work.

    Args:
        contestant: who.
        work: on what.
        server: where to.
        instances: how many processes share the work.
        keep: whether the server keeps what it has; else it is emptied.

    Raises:
        RuntimeError: it ended early, or never got warm; its last words are in the message.
        TimeoutError: it did not finish.
    """
    task = new_task(
        work.kafka,
        server.endpoint,
        work.topic,
        name=contestant.name,
        documents=work.documents,
        chunks_a_document=work.chunks_a_document,
        slots=work.slots,
    )
    await server.reset(work.costs, [WORKSPACE], work.warm_up, keep=keep)
    async with made_topics(task, contestant), started(contestant, task, instances) as running:
        return await _watch(contestant, work, server, running)


async def _watch(contestant: Contestant, work: Work, server: Server, running: Running) -> Turn:
    async def is_proven() -> bool:
        return (await server.stats()).proofs >= work.chunks

    async def is_warm() -> bool:
        is_late = contestant.has_results and await running.results.count() >= work.documents
        is_warm = (await server.stats()).measured_from > 0
        if is_late and not is_warm:
            raise RuntimeError("done before it was warm: an upload is several chunks, or none")
        return is_warm

    await running.until(is_warm, _POLL)
    cpu = running.cpu_seconds()
    if contestant.has_results:
        await running.until_results(work.documents)
    else:
        await running.until(is_proven)
    cpu, memory = running.cpu_seconds() - cpu, running.peak_memory_mb()
    stats = await server.stats()
    times = await running.results.times() if contestant.has_results else {"": stats.last_proof}
    seconds = max(times.values()) - stats.measured_from
    measured = work.chunks - work.warm_up
    return Turn(
        contestant=contestant.name,
        chunks_per_second=round(measured / seconds, 1),
        cpu_us_per_chunk=round(cpu * 1e6 / measured, 1),
        peak_memory_mb=round(memory, 1),
        seconds=round(seconds, 3),
        calls_per_chunk=round(stats.calls / work.chunks, 2),
        listings=stats.listings,
        most_in_flight=stats.most_in_flight,
        surplus=stats.uploads - work.chunks,
    )
