"""The main job on real input: 300 documents through Kafka into AnythingLLM, by processes alone."""

from __future__ import annotations

import gzip
import json
import signal
from collections import Counter
from pathlib import Path

import pytest

from consumer.sandbox.simulator.names import workspace_slug
from tests.e2e.support import Stage, stored, uploads

pytestmark = pytest.mark.kafka

DOCUMENTS, CHUNKS, WORKSPACES = 300, 4252, 21
MEMORY = 200 * 1000 * 1000


async def test_the_corpus_is_stored_whole(
    stage: Stage, corpus_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every chunk once and byte for byte, in 21 fresh workspaces; a result each; all committed."""
    corpus = corpus_path / "processed-documents.ndjson.gz"
    published = await stage.command("publish", "--json", str(corpus))
    assert published.json["published"] == DOCUMENTS
    service = await stage.run()
    results = await stage.until_results(DOCUMENTS)

    metrics = await service.metrics()
    peak = service.peak_memory()
    service.signal(signal.SIGTERM)
    assert await service.ended() == 0
    assert service.logged("service.stopped")[0]["remaining"] == 0

    assert Counter(result.status for result in results) == {"succeeded": DOCUMENTS}
    assert len({result.event_id for result in results}) == DOCUMENTS
    lines = gzip.decompress(corpus.read_bytes()).splitlines()
    wanted = Counter(
        (workspace_slug(event["technology"]), event["id"], chunk["id"], chunk["content"], True)
        for event in map(json.loads, lines)
        for chunk in event["chunks"]
    )
    found = Counter(
        (copy.slug, copy.document_id, copy.chunk_id, copy.text, copy.searchable)
        for copy in stored(stage.simulator)
    )
    assert wanted.total() == CHUNKS
    assert found == wanted
    assert len(stage.simulator.state.workspaces) == WORKSPACES
    assert len(stage.simulator.state.files) == CHUNKS, "sentinels are removed again"
    assert len(uploads(stage.simulator)) == CHUNKS
    assert stage.simulator.journal.count("vectors.wiped") == 0
    assert set((await stage.unsettled()).values()) == {0}
    assert metrics["documents_total succeeded"] == DOCUMENTS
    assert metrics["chunks_total uploaded"] == CHUNKS
    with capsys.disabled():
        print(f" [peak resident memory of run: {peak / 1e6:.0f} MB]", end="")
    assert peak < MEMORY
