"""P6: what stands aside costs about what its budget counts for it."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from consumer.model.names import Slug
from consumer.pipeline.in_flight import room_aside
from tests.tiers import quick_first
from tests.virtual.loop import virtually
from tests.virtual.world import World, event, world

_ROOM = 64 * 2**20
_ASIDE = "anythingllm_consumer_documents_aside"


async def _paused(w: World) -> None:
    w.sim.faults.latency = 0.02
    w.publish(event("warm", ["up"], technology="sick"))
    await w.settled()
    w.sim.faults.workspace_dimensions = {"sick": 12}
    for n in range(50):
        w.publish(event(f"first{n}", ["x"], technology="sick"))
    await w.idle(120)
    assert w.pipeline.gates.pauses.is_paused(Slug("sick"))


@pytest.mark.parametrize(
    ("chunks", "size"), quick_first([(20, 400), (1, 100), (4, 400), (20, 4000)])
)
def test_memory_of_what_stands_aside_is_what_the_setting_says(chunks: int, size: int) -> None:
    """Within a factor of two, for documents of 300 bytes to 80 kB."""

    @virtually
    async def run() -> None:
        count = 200
        async with world(INTAKE_MAX_ASIDE_BYTES=str(_ROOM)) as w:
            await _paused(w)
            first = len(w.records)
            for n in range(count):
                texts = [f"{n} {m} " + "x" * size for m in range(chunks)]
                w.publish(event(f"d{n}", texts, technology="sick"))
            gc.collect()
            tracemalloc.start()
            await w.idle(10)
            gc.collect()
            used, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            sizes = [record.size for record in w.records[first:]]
            counted = sum(map(room_aside, sizes))
            assert w.metrics.registry.get_sample_value(_ASIDE) == count + 50
            used += sum(sizes)  # made before: the test's list has them

            assert counted / 2 < used < counted * 2

    run()
