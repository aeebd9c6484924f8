"""Two servers behind one stream, with a real Kafka and real processes."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

import pytest

from consumer.sandbox.simulator import Simulator
from consumer.sandbox.simulator import simulator as running_simulator
from tests.e2e.support import CANARY, Json, Stage, write_events

pytestmark = pytest.mark.kafka

SLUGS = ("lanterns", "looms", "bells", "kites")


def events(day: int) -> list[Json]:
    """A document for each workspace."""
    return [
        {
            "id": f"of-{slug}",
            "title": slug,
            "source_url": f"https://docs.example/{slug}",
            "technology": slug,
            "content_hash": f"{slug}-{day}",
            "created_at": f"2026-03-0{day}T00:00:00Z",
            "chunks": [
                {"id": f"{slug}_0", "content": f"{slug} {day}", "chunk_index": 0, "total_chunks": 1}
            ],
        }
        for slug in SLUGS
    ]


def texts(*servers: Simulator) -> Counter[str]:
    """What can be found in the workspaces of all these servers."""
    return Counter(
        text.rpartition("\n")[2]
        for server in servers
        for slug in SLUGS
        if slug in server.state.workspaces
        for source, text, copies in server.chunks(slug)
        if copies and "of-" in source
    )


async def test_a_service_with_two_servers_stores_moves_and_goes_on(
    stage: Stage, tmp_path: Path
) -> None:
    async with running_simulator(api_key=CANARY) as second:
        key = tmp_path / "key"
        key.write_text(CANARY, encoding="utf-8")
        first = stage.simulator
        listed = f"a {first.endpoint} {key}, b {second.endpoint} {key}"
        pins = ",".join(f"{slug}={server}" for slug, server in zip(SLUGS, "abab", strict=True))
        several = {
            "ANYTHINGLLM_ENDPOINT": "",
            "ANYTHINGLLM_API_KEY": "",
            "ANYTHINGLLM_ENDPOINTS": listed,
            "ANYTHINGLLM_AMBIGUITY_SECONDS": "5",  # the move waits for it
            "UPLOAD_TIMEOUT_SECONDS": "5",
            "ANYTHINGLLM_ENDPOINTS_TRIAL": "true",
        }
        stage.settings.update(several, ANYTHINGLLM_PINS=pins)
        service = await stage.run()
        await stage.publish(write_events(tmp_path / "1.jsonl", events(1)))
        await stage.until_results(4)
        await stage.until_committed()
        assert sum(texts(first).values()) == sum(texts(second).values()) == 2
        check = await stage.command("check")
        assert check.code == 0, check.out
        busy = await stage.command(
            "workspaces", "move", "lanterns", "--to", "b", settings={"ANYTHINGLLM_PINS": ""}
        )
        assert "stop all instances" in busy.err
        service.signal(signal.SIGTERM)
        assert await service.ended() == 0

        stage.settings.update(ANYTHINGLLM_PINS="")
        moved = await stage.program("workspaces", "move", "lanterns", "--to", "b", "--yes")
        assert moved.code == 0, moved.err
        await stage.run()
        await stage.publish(write_events(tmp_path / "2.jsonl", events(2)))
        await stage.until_results(8)

        assert texts(first, second) == Counter(f"{slug} 2" for slug in SLUGS)
        assert sum(texts(first).values()) == 1
