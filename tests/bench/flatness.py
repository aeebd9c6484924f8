"""What a chunk costs does not depend on how much is stored, on partitions, or on instances."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from tests.bench import catalog, topics
from tests.bench.catalog import Contestant
from tests.bench.comparison import Tell
from tests.bench.contestants.work import CHUNKS_A_DOCUMENT, document
from tests.bench.program import WORKSPACE, made_topics, new_task, started
from tests.bench.runs import Turn, Work, take_turn
from tests.bench.server import INSTANT, LATENCY, Server

_MARKERS = (100, 1_000, 20_000)
_PARTITIONS = (1, 3, 12)
_INSTANCES = (1, 2, 3)
_SLOTS = 48  # of all instances together


@dataclass(frozen=True, slots=True)
class Level:
    """One case: the medians of its turns.

    Args:
        case: what was changed.
        chunks_per_second: of all instances together.
        cpu_us_per_chunk: of all instances together.
        calls_per_chunk: requests to the server.
        listings: of the workspace.
    """

    case: str
    chunks_per_second: float
    cpu_us_per_chunk: float
    calls_per_chunk: float
    listings: float


async def measure_flatness(
    kafka: str,
    server: Server,
    documents: int,
    rounds: int,
    settings: Mapping[str, str],
    tell: Tell,
) -> list[Level]:
    """All cases in turn, so many times."""
    service = catalog.service(settings=settings)
    turns: dict[str, list[Turn]] = {}
    for number in range(rounds):
        for case, take in _cases(service, kafka, server, documents):
            turn = await take()
            turns.setdefault(case, []).append(turn)
            tell(
                f"round {number + 1}, {case}: {turn.chunks_per_second:,.0f} chunks/s, "
                f"{turn.cpu_us_per_chunk:,.0f} us of CPU a chunk"
            )
    return [_level(case, taken) for case, taken in turns.items()]


def _level(case: str, turns: Sequence[Turn]) -> Level:
    return Level(
        case=case,
        chunks_per_second=median(each.chunks_per_second for each in turns),
        cpu_us_per_chunk=median(each.cpu_us_per_chunk for each in turns),
        calls_per_chunk=median(each.calls_per_chunk for each in turns),
        listings=median(each.listings for each in turns),
    )


def _cases(
    service: Contestant, kafka: str, server: Server, documents: int
) -> list[tuple[str, Callable[[], Awaitable[Turn]]]]:
    def beside(markers: int) -> Callable[[], Awaitable[Turn]]:
        return lambda: _beside_markers(service, kafka, server, documents, markers)

    def on(partitions: int, instances: int) -> Callable[[], Awaitable[Turn]]:
        return lambda: _on_partitions(service, kafka, server, documents, partitions, instances)

    return [
        *((f"{count:,} markers", beside(count)) for count in _MARKERS),
        *((f"partitions: {count}", on(count, 1)) for count in _PARTITIONS),
        *((f"instances: {count}", on(topics.PARTITIONS, count)) for count in _INSTANCES),
    ]


async def _on_partitions(
    service: Contestant, kafka: str, server: Server, documents: int, partitions: int, instances: int
) -> Turn:
    events = map(document, range(documents))
    async with topics.documents(kafka, events, partitions) as topic:
        work = Work(kafka, topic, documents, _SLOTS // instances, LATENCY)
        return await take_turn(service, work, server, instances=instances)


async def _beside_markers(
    service: Contestant, kafka: str, server: Server, documents: int, markers: int
) -> Turn:
    """The service stores the markers first, in no time, and other documents then."""
    earlier = markers // CHUNKS_A_DOCUMENT
    await server.reset(INSTANT, [WORKSPACE])
    async with topics.documents(kafka, map(document, range(earlier))) as topic:
        task = new_task(kafka, server.endpoint, topic, name="earlier", slots=_SLOTS)
        async with made_topics(task, service), started(service, task) as running:
            await running.until_results(earlier)
    events = map(document, range(earlier, earlier + documents))
    async with topics.documents(kafka, events) as topic:
        work = Work(kafka, topic, documents, _SLOTS, LATENCY)
        return await take_turn(service, work, server, keep=True)
