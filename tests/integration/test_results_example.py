"""The README's program for those who consume results, run on a real Kafka."""

from __future__ import annotations

import asyncio
import re
import runpy
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

from tests.integration.service_fixtures import MakeStage
from tests.staging import document, first_by_event

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()

Results = Callable[[str, str, str], AsyncGenerator[dict[str, Any], None]]


def _example(folder: Path) -> Results:
    blocks = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    (code,) = [block for block in blocks if "AIOKafkaConsumer" in block]
    script = folder / "example.py"
    script.write_text(code)
    results: Results = runpy.run_path(str(script))["results"]
    return results


async def test_each_event_is_seen_once(
    make_stage: MakeStage, tmp_path: Path, unique_name: Callable[[str], str]
) -> None:
    """Results that were repeated are left out; who comes back goes on where he was.

    What he remembered is gone then, as the README says: a repeat of what he had seen before comes.
    """
    example = _example(tmp_path)
    stage = await make_stage(topics=False)
    await stage.create_topics(partitions=1)
    topic = stage.settings.kafka.results_topic
    await stage.start()
    await stage.publish_all(document(f"d-{number}", ["a text"]) for number in range(4))
    await stage.wait_results(4)
    await stage.finish()
    for record in stage.result_records:  # as after a crash between result and commit
        await stage.publish(record.value, key=record.key, topic=topic)
    await stage.start()
    await stage.publish(document("late", ["a text"]))
    await stage.wait_results(5)
    ids = [result["event_id"] for result in first_by_event(stage.results)]

    async def read(group: str, most: int) -> list[str]:
        found: list[str] = []
        servers = stage.connection.bootstrap_servers
        async with asyncio.timeout(40), aclosing(example(servers, group, topic)) as results:
            async for result in results:
                found.append(result["event_id"])
                if len(found) == most:
                    break
        return found

    mine, other = unique_name("group"), unique_name("group")

    assert await read(mine, 5) == ids
    assert await read(other, 2) == ids[:2]
    # The second was taken, but nobody asked for a third: it was not committed.
    assert await read(other, 5) == [*ids[1:4], ids[0], ids[4]]
