"""An audit of 50,000 documents at a terminal: what it shows and costs, on a real Kafka."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaProducer
from rich.cells import cell_len

from consumer.kafka.groups import GroupOffset
from consumer.kafka.topics import open_admin
from consumer.model.document import ProcessedDocument
from consumer.model.marker import unit_of
from consumer.model.version import DocumentVersion
from consumer.operations.audit.searching import SAMPLE_DOCUMENTS
from consumer.pipeline.decode import DecodeLimits, decode
from consumer.sandbox.simulator import Simulator
from tests.integration import index_load
from tests.integration.service_fixtures import MakeStage, Stage
from tests.staging import document
from tests.terminals import Screen, at_terminal

pytestmark = [pytest.mark.release, pytest.mark.timeout(300)]

DOCUMENTS = 50_000
LOST = 7  # of a thousand, this one is not stored
MB = 1_000_000
NAME = "https_docs_example_com_en_latest_page-"


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
    return document(f"{NAME}{number}", [f"text {number}"])


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
    """50,000 documents, some of them lost, at a terminal of 80 columns, and one of these.

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
    audit = await at_terminal(tmp_path, stage.env, "audit")
    where = await at_terminal(tmp_path, stage.env, "where", event(LOST)["id"])
    for screen in (audit, where):
        print(f" [at {datetime.now(UTC):%H:%M}: {screen.seconds} s, {screen.cpu:.0f} s of a"
              f" processor, {screen.peak_bytes / MB:.0f} MB]")  # fmt: skip
        print("\n".join(screen.lines), screen.notes[-300:], sep="\n")
    assert (audit.code, where.code) == (3, 0)
    _looked_through(audit)
    _on_one_screen(where)


def _looked_through(audit: Screen) -> None:
    """A line for each of the first of a kind, ids whole, the others counted, the advice once."""
    lost = DOCUMENTS // 1_000
    totals = dict(line.split()[:2] for line in audit.lines[audit.lines.index("totals") + 2 :][:3])
    assert totals == {
        "stored": f"{DOCUMENTS - lost - SAMPLE_DOCUMENTS}",
        "missing": f"{lost}",
        "not-found": f"{SAMPLE_DOCUMENTS}",
    }
    named = [line for line in audit.lines if line.startswith("missing ") and NAME in line]
    assert len(named) == 20
    assert all(re.search(rf"{NAME}\d*00{LOST}( |$)", line) for line in named)
    assert all(cell_len(line) <= 80 for line in named)
    assert f"{lost - 20} more missing; --json names all" in audit.notes
    assert sum(line.startswith("  missing: `audit --republish") for line in audit.lines) == 1
    assert len(audit.lines) < 60
    assert audit.peak_bytes < 110 * MB, "40 MB above what any command takes"


def _on_one_screen(where: Screen) -> None:
    """The one document among all of them."""
    assert where.lines[0] == "docs: 0 of 1 chunks stored"
    assert any(line.startswith("document  ") and "273d ago" in line for line in where.lines)
    assert all(cell_len(line) <= 80 for line in where.lines)
    assert len(where.lines) < 24
    assert where.peak_bytes < 110 * MB
