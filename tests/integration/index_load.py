"""Loads one workspace into an index and tells what that cost: run as a process of its own.

``python -m tests.integration.index_load ENDPOINT KEY SLUG`` prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from consumer.anythingllm import AnythingLLMClient, AnythingLLMConfig
from consumer.model.identity import IdentityTemplate
from consumer.model.names import Identity, Slug, TraceId
from consumer.pipeline.index import Index
from consumer.telemetry.metrics import Metrics

TRACE = TraceId("0af7651916cd43dd8448eb211c80319c")
STATUS = Path("/proc/self/status")


def memory(name: str) -> int:
    """Bytes: VmRSS is what is held now, VmHWM the most since `forget_peak`."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


class Stretches:
    """The most CPU time between two turns of the event loop; waiting for a core does not count."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def watch(self) -> None:
        last = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            self.longest = max(self.longest, now - last)
            last = now


async def load(endpoint: str, key: str, slug: Slug) -> dict[str, float]:
    async with AnythingLLMClient(AnythingLLMConfig(endpoint, key)) as client:
        metrics = Metrics()
        index = Index(
            client.storage,
            IdentityTemplate.parse("{id}"),
            max_age=600,
            max_bytes=2**30,
            clock=time.monotonic,
            metrics=metrics,
        )
        # Everything that is made once has been made: connection, parser, caches.
        await index.units(Slug("an-empty-one"), Identity("none"), trace_id=TRACE)
        idle = memory("VmRSS")
        forget_peak()
        stretches = Stretches()
        watching = asyncio.create_task(stretches.watch())
        began, cpu = time.monotonic(), time.process_time()
        found = await index.units(slug, Identity("doc-7"), trace_id=TRACE)
        seconds, cpu = time.monotonic() - began, time.process_time() - cpu
        watching.cancel()
        estimated = metrics.registry.get_sample_value("anythingllm_consumer_index_bytes")
        return {
            "found": len(found),
            "seconds": round(seconds, 3),
            "cpu_seconds": round(cpu, 3),
            "longest_stretch_ms": round(stretches.longest * 1000, 2),
            "idle_bytes": idle,
            "peak_bytes": memory("VmHWM") - idle,
            "kept_bytes": memory("VmRSS") - idle,
            "estimated_bytes": estimated or 0,
        }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(load(sys.argv[1], sys.argv[2], Slug(sys.argv[3])))))
