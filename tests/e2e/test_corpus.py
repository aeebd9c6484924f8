"""The main job on real input: 300 documents through Kafka into AnythingLLM, by processes alone."""

from __future__ import annotations

import gzip
import json
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from consumer.sandbox.simulator.names import workspace_slug
from tests.e2e.support import Json, Process, Stage, stored, uploads, write_events

DOCUMENTS, CHUNKS, WORKSPACES = 300, 4252, 21
MEMORY = 200 * 1000 * 1000
SECONDS = 150.0  # 4 on an idle machine

pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]


async def test_the_corpus_is_stored_whole(
    stage: Stage, corpus_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every chunk once and byte for byte, in 21 fresh workspaces; a result each; all committed.

    Published again it costs nothing.
    """
    corpus = corpus_path / "processed-documents.ndjson.gz"
    published = await stage.command("publish", "--json", str(corpus))
    assert published.json["published"] == DOCUMENTS
    service = await stage.run()
    results = await stage.until_results(DOCUMENTS, SECONDS)
    removed = stage.simulator.journal.count("document.removed")
    await stage.publish(corpus)
    again = (await stage.until_results(2 * DOCUMENTS, SECONDS))[DOCUMENTS:]

    metrics = await service.metrics()
    peak = service.peak_memory()
    service.signal(signal.SIGTERM)
    assert await service.ended() == 0
    assert service.logged("service.stopped")[0]["remaining"] == 0

    assert Counter(result.status for result in results) == {"succeeded": DOCUMENTS}
    assert len({result.event_id for result in results}) == DOCUMENTS
    assert Counter(result.status for result in again) == {"succeeded": DOCUMENTS}
    assert stage.simulator.journal.count("document.removed") == removed
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
    assert metrics["documents_total succeeded"] == 2 * DOCUMENTS
    assert metrics["chunks_total uploaded"] == metrics["chunks_total unchanged"] == CHUNKS
    assert metrics["chunks_total removed"] == 0
    with capsys.disabled():
        print(f" [peak resident memory of run: {peak / 1e6:.0f} MB]", end="")
    assert peak < MEMORY


def read(corpus_path: Path) -> list[Json]:
    """The documents of the corpus."""
    lines = gzip.decompress((corpus_path / "processed-documents.ndjson.gz").read_bytes())
    return [json.loads(line) for line in lines.splitlines()]


def crawled(event: Json, texts: list[str], day: int) -> Json:
    """The same page crawled again: it and all its chunks get new ids."""
    name = f"crawl-{day}-{event['id']}"
    chunks = [
        {"id": f"{name}_chunk_{n}", "content": text, "chunk_index": n, "total_chunks": len(texts)}
        for n, text in enumerate(texts)
    ]
    return {**event, "id": name, "chunks": chunks, "created_at": f"2026-11-23T0{day}:00:00"}


def texts_of(event: Json) -> list[str]:
    return [chunk["content"] for chunk in event["chunks"]]


CHANGES: list[tuple[Callable[[list[str]], list[str]], int, int]] = [
    (lambda texts: [*texts[:-1], texts[-1] + " (edited)"], 1, 1),
    (lambda texts: ["A new introduction.", *texts], 1, 0),
    (lambda texts: texts[1:], 0, 1),
    (lambda texts: [*texts, texts[0]], 1, 0),
    (lambda texts: texts[::-1], 0, 0),
]


@dataclass(slots=True)
class Crawls:
    """A service that is given one crawl after the other, and what each of them cost."""

    stage: Stage
    service: Process
    path: Path
    answered: int = 0

    async def __call__(self, events: list[Json]) -> tuple[int, int]:
        """Uploads and removals, once all of it is answered."""
        before = await self.service.metrics()
        await self.stage.publish(write_events(self.path, events))
        self.answered += len(events)
        results = (await self.stage.until_results(self.answered, SECONDS))[-len(events) :]
        assert {result.status for result in results} == {"succeeded"}
        after = await self.service.metrics()
        names = ("chunks_total uploaded", "chunks_total removed")
        uploaded, removed = (int(after[name] - before[name]) for name in names)
        return uploaded, removed


@pytest.mark.slow
async def test_a_crawl_of_the_corpus_costs_what_has_changed(
    stage: Stage, corpus_path: Path, tmp_path: Path
) -> None:
    """Under new ids, with the source as identity: nothing, or one chunk for each that changed."""
    stage.settings["DOCUMENT_IDENTITY"] = "{source_url}"
    events = read(corpus_path)
    service = await stage.run()
    crawl = Crawls(stage, service, tmp_path / "crawl.ndjson")
    assert await crawl(events) == (CHUNKS, 0)
    assert await crawl([crawled(each, texts_of(each), 1) for each in events]) == (0, 0)

    changes = [CHANGES[number % len(CHANGES)] for number in range(len(events))]
    changed = [
        crawled(each, change(texts_of(each)), 2)
        for each, (change, _, _) in zip(events, changes, strict=True)
    ]
    costs = sum(uploads for _, uploads, _ in changes), sum(removals for _, _, removals in changes)
    assert await crawl(changed) == costs
    assert await crawl(changed) == (0, 0)
    found = Counter((copy.slug, copy.text, copy.searchable) for copy in stored(stage.simulator))
    assert found == Counter(
        (workspace_slug(each["technology"]), text, True)
        for each in changed
        for text in texts_of(each)
    )
    assert service.logged("identity.reminted") == []
    service.signal(signal.SIGTERM)
    assert await service.ended() == 0

    stage.settings["DOCUMENT_IDENTITY"] = "{id}"
    crawl.service = await stage.run()
    few = [each for each in changed if each["technology"] == changed[0]["technology"]][:5]
    await crawl([crawled(each, texts_of(each), 3) for each in few])
    (hint,) = crawl.service.logged("identity.reminted")
    assert "DOCUMENT_IDENTITY={source_url}" in hint["what_to_do"]
    assert (await crawl.service.metrics())["reminted_documents_total"] == len(few)
