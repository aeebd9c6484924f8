"""All contestants on the same work, in turn, several times."""

from __future__ import annotations

import os
import platform
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.bench import catalog, peers, topics
from tests.bench.catalog import Contestant
from tests.bench.contestants.work import CHUNKS_A_DOCUMENT, document
from tests.bench.report import Standing, as_json, standings
from tests.bench.runs import Turn, Work, take_turn
from tests.bench.server import LATENCY, Costs, Server

Tell = Callable[[str], None]

NAMES = (
    "bare",
    "bare-uvloop",
    "service",
    "aiokafka",
    "faststream",
    "faststream-ack",
    "parallel-consumer",
)


@dataclass(frozen=True, slots=True)
class Options:
    """What is compared.

    Args:
        names: of the contestants; the bound takes part in any case.
        documents: of 5 chunks each.
        rounds: how often each has its turn.
        slots: requests in flight.
        settings: of the service, besides the slots.
        is_cold: nothing warms a contestant up.
        costs: of the server's requests.
    """

    names: Sequence[str] = NAMES
    documents: int = 1_000
    rounds: int = 3
    slots: int = 50
    settings: Mapping[str, str] = field(default_factory=dict)
    is_cold: bool = False
    costs: Costs = LATENCY


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came of it; ``left_out`` says why, by name."""

    setting: Mapping[str, Any]
    lines: Sequence[Standing]
    rounds: Sequence[Mapping[str, Turn]]
    left_out: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """All of it, for programs."""
        return as_json(self.setting, self.lines, self.rounds, self.left_out)


async def compare(options: Options, kafka: str, server: Server, tell: Tell) -> Comparison:
    """Run all that this machine can run.

    Args:
        options: what is compared.
        kafka: ``host:port``.
        server: the running server.
        tell: hears of each turn.

    Raises:
        RuntimeError: a contestant did not do its work.
    """
    contestants, left_out = await _present(options)
    for name, why in left_out.items():
        tell(f"{name} is left out: {why}")
    async with topics.documents(kafka, map(document, range(options.documents))) as topic:
        work = Work(
            kafka, topic, options.documents, options.slots, options.costs, is_cold=options.is_cold
        )
        rounds = [
            await _round(contestants, work, server, number, tell)
            for number in range(options.rounds)
        ]
    setting = {
        "documents": options.documents,
        "chunks_a_document": CHUNKS_A_DOCUMENT,
        "rounds": options.rounds,
        "slots": options.slots,
        "settings": dict(options.settings),
        "is_cold": options.is_cold,
        "costs_ms": asdict(options.costs),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }
    return Comparison(setting, standings(contestants, rounds), rounds, left_out)


async def _round(
    contestants: Sequence[Contestant], work: Work, server: Server, number: int, tell: Tell
) -> dict[str, Turn]:
    """A turn each; every other round the other way round, so that nobody is always after one."""
    turns = {}
    for who in contestants if number % 2 == 0 else reversed(contestants):
        turn = turns[who.name] = await take_turn(who, work, server)
        tell(
            f"round {number + 1}, {who.title}: {turn.chunks_per_second:,.0f} chunks/s, "
            f"{turn.cpu_us_per_chunk:,.0f} us of CPU a chunk, {turn.peak_memory_mb:.0f} MB, "
            f"{turn.calls_per_chunk:.2f} calls a chunk, {turn.most_in_flight} in flight"
        )
    return turns


async def _present(options: Options) -> tuple[list[Contestant], dict[str, str]]:
    """Those that can be run here, the bound first; and why others can't."""
    found: list[Contestant] = []
    left_out: dict[str, str] = {}
    for name in ["bare", *(each for each in options.names if each != "bare")]:
        try:
            found.append(await _MADE[name](options))
        except peers.MissingError as error:
            left_out[name] = str(error)
    return found, left_out


async def _bare(_: Options) -> Contestant:
    return catalog.bare()


async def _bare_uvloop(_: Options) -> Contestant:
    return catalog.bare(await peers.python_with_peers(), peers.UVLOOP)


async def _service(options: Options) -> Contestant:
    return catalog.service(settings=options.settings)


async def _aiokafka(_: Options) -> Contestant:
    return catalog.aiokafka_loop()


async def _faststream(_: Options) -> Contestant:
    python = await peers.python_with_peers()
    return catalog.faststream(python, peers.FASTSTREAM, acks_first=True)


async def _faststream_ack(_: Options) -> Contestant:
    python = await peers.python_with_peers()
    return catalog.faststream(python, peers.FASTSTREAM, acks_first=False)


async def _parallel_consumer(_: Options) -> Contestant:
    jars = await peers.parallel_consumer_jars()
    return catalog.parallel_consumer(jars, peers.parallel_consumer_version())


_MADE: Mapping[str, Callable[[Options], Awaitable[Contestant]]] = {
    "bare": _bare,
    "bare-uvloop": _bare_uvloop,
    "service": _service,
    "aiokafka": _aiokafka,
    "faststream": _faststream,
    "faststream-ack": _faststream_ack,
    "parallel-consumer": _parallel_consumer,
}
