"""At the cost of a real AnythingLLM: the service beside fixed concurrencies, and packing.

Nothing is left out for warming up: the server is far slower than anybody's start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from consumer.settings.table import TABLE
from tests.bench import catalog, topics
from tests.bench.catalog import Contestant
from tests.bench.comparison import Tell
from tests.bench.contestants.work import document
from tests.bench.runs import Turn, Work, take_turn
from tests.bench.server import REAL, Server

CONCURRENCIES = (1, 2, 4, 8, 16)
_CHUNKS_A_DOCUMENT = 50
_SLOTS = 5  # the service's default

PACKING = "UPLOAD_CHUNKS_PER_PACK"
TRIAL = "UPLOAD_PACKS_TRIAL"


async def measure_cost_model(
    kafka: str, server: Server, documents: int, packs: Sequence[str], tell: Tell
) -> list[Turn]:
    """The bare loop at each concurrency, then the service as it is and with each packing.

    Args:
        kafka: ``host:port``.
        server: the running server.
        documents: of 50 chunks each.
        packs: values of the setting for packing; none where there is no such setting.
        tell: hears of each turn.
    """
    events = [document(number, _CHUNKS_A_DOCUMENT) for number in range(documents)]
    turns = []
    if packs and PACKING not in TABLE:
        tell(f"packs are left out: this version has no {PACKING}")
        packs = ()
    async with topics.documents(kafka, events) as topic:
        work = Work(kafka, topic, documents, _SLOTS, REAL, _CHUNKS_A_DOCUMENT, is_cold=True)
        for who, slots in _contestants(packs):
            turn = replace(
                await take_turn(who, replace(work, slots=slots), server), contestant=who.title
            )
            turns.append(turn)
            tell(f"{who.title}: {turn.chunks_per_second:.1f} chunks/s")
    return turns


def _contestants(packs: Sequence[str]) -> list[tuple[Contestant, int]]:
    """Each with its slots."""
    loops = [
        (replace(catalog.bare(), title=f"bare aiohttp loop, {slots} in flight"), slots)
        for slots in CONCURRENCIES
    ]
    packing = [
        (
            catalog.service(
                f"pack-{each}", f"this service, packs of {each}", {PACKING: each, TRIAL: "true"}
            ),
            _SLOTS,
        )
        for each in packs
    ]
    return [*loops, (catalog.service(title="this service, one by one"), _SLOTS), *packing]
