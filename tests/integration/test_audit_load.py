"""What an audit of 50,000 documents costs: measured in a process of its own, on a real Kafka."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaProducer

from consumer.kafka.groups import GroupOffset
from consumer.kafka.topics import open_admin
from consumer.model.document import ProcessedDocument
from consumer.model.marker import unit_of
from consumer.model.version import DocumentVersion
from consumer.operations.audit.searching import SAMPLE_DOCUMENTS
from consumer.pipeline.decode import DecodeLimits, decode
from consumer.sandbox.simulator import Simulator
from tests.e2e.support import clean_environment
from tests.integration import index_load
from tests.integration.service_fixtures import MakeStage, Stage
from tests.staging import document

pytestmark = [pytest.mark.release, pytest.mark.timeout(300)]

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENTS = 50_000
LOST = 7  # of a thousand, this one is not stored
MB = 1_000_000


async def publish(stage: Stage, events: int) -> dict[int, int]:
    """So many events, each under its key; the end of each partition."""
    ends: dict[int, int] = {}
    producer = AIOKafkaProducer(**stage.connection.client_options(), linger_ms=20)
    await producer.start()
    try:
        for first in range(0, events, 1_000):
            sent = [
                await producer.send(
                    stage.documents, orjson.dumps(event(n)), key=event(n)["id"].encode()
                )
                for n in range(first, min(first + 1_000, events))
            ]
            for told in await asyncio.gather(*sent):
                ends[told.partition] = max(ends.get(told.partition, 0), told.offset + 1)
    finally:
        await producer.stop()
    return ends


def event(number: int) -> dict[str, Any]:
    name = f"https_docs_example_com_en_latest_page-{number}"
    return document(name, [f"text {number}"])


def store(server: Simulator, documents: int, wanted: Callable[[int], bool]) -> None:
    """Rows as uploads leave them, put there at once: uploads would take hours."""
    workspace = server.state.workspaces["docs"]
    for number in filter(wanted, range(documents)):
        whole: ProcessedDocument = decode(orjson.dumps(event(number)), DecodeLimits())
        assert whole.created_at is not None
        marker = unit_of(whole.chunks, whole, DocumentVersion(whole.created_at)).marker
        metadata = {"title": "a-page.txt", "docSource": marker.encode(), "published": "long ago"}
        file = server.state.add_file("a-page", metadata, whole.chunks[0].content)
        doc_id = hashlib.md5(whole.id.encode()).hexdigest()  # noqa: S324
        server.state.add_row(workspace, doc_id, file, 1)


@pytest.mark.skipif(not index_load.STATUS.exists(), reason="memory is read from /proc")
async def test_fifty_thousand_documents(make_stage: MakeStage, tmp_path: Path) -> None:
    """50,000 documents, some of them lost, in 40 MB above idle; each lost one is named.

    The rows were put there without vectors, so the sample that is searched for is not found.
    """
    # Such a listing takes seconds: not the patience of the other tests, but that of a service.
    patience = {"UPLOAD_TIMEOUT_SECONDS": "120", "ANYTHINGLLM_AMBIGUITY_SECONDS": "120"}
    stage = await make_stage(patience)
    ends = await publish(stage, DOCUMENTS)
    store(stage.simulator, DOCUMENTS, lambda number: number % 1_000 != LOST)
    async with open_admin(stage.connection) as admin:
        places = {(stage.documents, n): GroupOffset(end) for n, end in ends.items()}
        await admin.commit(stage.settings.kafka.group_id, places)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.audit_load"),
        cwd=REPOSITORY,
        env=clean_environment(tmp_path, stage.env),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, problems = await process.communicate()
    assert process.returncode == 0, problems.decode()[-2_000:]
    cost = json.loads(output)
    print(f" [audit of {DOCUMENTS} documents at {datetime.now(UTC):%H:%M}: {cost}]")

    assert cost["documents"] == DOCUMENTS
    lost = DOCUMENTS // 1_000
    assert cost["states"] == {
        "stored": DOCUMENTS - lost - SAMPLE_DOCUMENTS,
        "missing": lost,
        "not-found": SAMPLE_DOCUMENTS,
    }
    assert cost["found"] == lost + SAMPLE_DOCUMENTS
    assert cost["peak_bytes"] < 40 * MB, cost
