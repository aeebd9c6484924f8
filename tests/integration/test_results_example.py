"""The README's program for those who consume results, run on a real Kafka."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.service_fixtures import MakeStage
from tests.staging import document

REPOSITORY = Path(__file__).resolve().parents[2]
README = (REPOSITORY / "README.md").read_text()
ADDRESS, GROUP = '"localhost:9092"', '"my-team"'


def example() -> str:
    blocks = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    (code,) = [block for block in blocks if "consumer.results" in block]
    assert code.count(ADDRESS) == code.count(GROUP) == 1
    return str(code)


async def test_each_event_is_shown_once(
    make_stage: MakeStage, tmp_path: Path, unique_name: Callable[[str], str]
) -> None:
    """As it stands there, but for Kafka's address and the names; repeats are left out."""
    stage = await make_stage(topics=False)
    await stage.create_topics(partitions=1)
    topic = stage.settings.kafka.results_topic
    await stage.start()
    await stage.publish_all(document(f"d-{number}", ["a text"]) for number in range(3))
    await stage.wait_results(3)
    await stage.finish()
    for record in stage.result_records:  # as after a crash between result and commit
        await stage.publish(record.value, key=record.key, topic=topic)
    await stage.start()
    await stage.publish(document("late", ["a text"]))
    await stage.wait_results(4)
    program = tmp_path / "example.py"
    named = f'"{unique_name("group")}", topic="{topic}"'
    address = f'"{stage.connection.bootstrap_servers}"'
    program.write_text(example().replace(GROUP, named).replace(ADDRESS, address))

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-u", str(program)),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(40):
            shown = [await process.stdout.readline() for _ in range(4)]
    finally:
        process.terminate()
        await process.communicate()

    assert sorted(shown[:3]) == [f"succeeded d-{number} ()\n".encode() for number in range(3)]
    assert shown[3] == b"succeeded late ()\n"


@pytest.mark.slow
def test_the_program_is_typed(tmp_path: Path) -> None:
    """As `mypy --strict` sees it: the kit has types, and none of them is Any."""
    api = pytest.importorskip("mypy.api", reason="mypy is not installed")
    program = tmp_path / "example.py"
    ends = "            reveal_type(result)\n            reveal_type(result.failed_chunks)\n"
    program.write_text(re.sub(r"( {12}print\(.*\n)", rf"\1{ends}", example()))
    cache = ("--cache-dir", str(tmp_path / "cache"))
    told, errors, code = api.run(["--strict", *cache, str(program)])

    assert (errors, code) == ("", 0), told
    assert '"consumer.contract.received_result.ReceivedResult"' in told
    assert "ReceivedFailedChunk, ...]" in told
