"""A day of an operator, with nothing but the commands: what is lost comes back, what goes stays."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from consumer.sandbox.samples import sample_documents
from tests.e2e.support import Ended, Stage, chunk_ids, stored, write_events

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

# What is in doubt is looked for after seconds, not minutes.
DAY = {"UPLOAD_TIMEOUT_SECONDS": "2", "ANYTHINGLLM_AMBIGUITY_SECONDS": "2"}
POISON = "a text that AnythingLLM refuses"
PAGES = 40
PATIENCE = 60.0

Copies = Counter[tuple[str, str]]


async def test_a_day(stage: Stage, tmp_path: Path) -> None:
    """AnythingLLM is emptied in mid-work; a workspace is rebuilt; a page goes; one is mended."""
    pages = sample_documents(PAGES, seed=17, technologies=("lanterns", "looms"), max_chunks=4)
    service = await stage.run(**DAY)
    await service.until_ready()

    await _emptied_in_mid_work(stage, write_events(tmp_path / "pages.ndjson", pages))
    assert _copies(stage) == Counter(chunk_ids(pages))

    await _rebuilt(stage, "looms")
    assert _copies(stage) == Counter(chunk_ids(pages))

    await _deleted(stage, pages[0]["id"])
    assert _copies(stage) == Counter(chunk_ids(pages[1:]))

    poisoned = _page(["a text", POISON])
    await _mended(stage, write_events(tmp_path / "page.json", [poisoned]))
    assert _copies(stage) == Counter(chunk_ids([*pages[1:], poisoned]))

    service.signal(signal.SIGTERM)
    assert await service.ended() == 0


async def _emptied_in_mid_work(stage: Stage, events: Path) -> None:
    simulator = stage.simulator
    simulator.faults.latency = 0.05
    publishing = asyncio.create_task(_asked(stage, "publish", str(events), "--wait"))
    await simulator.journal.wait_for("document.stored", 30, seconds=PATIENCE)
    for workspace in simulator.state.workspaces.values():
        for row in list(workspace.rows.values()):
            await simulator.model.remove_from(row)
    simulator.faults.latency = 0.0
    await publishing

    missing = _kinds(await _until_committed(stage))
    planned = await _asked(stage, "audit", "--republish", code=3)
    # Others of their workspaces were stored afterwards: people might have removed these.
    await _asked(stage, "audit", "--republish", "--include-removed", "--yes")
    await _until_clean(stage)

    assert missing
    assert missing <= {"missing", "incomplete"}
    assert "--include-removed" in planned.out + planned.err


async def _rebuilt(stage: Stage, slug: str) -> None:
    before = set(stage.simulator.state.workspaces[slug].rows)
    planned = await _asked(stage, "workspaces", "rebuild", slug, code=3)
    assert set(stage.simulator.state.workspaces[slug].rows) == before
    ended = await _asked(stage, "workspaces", "rebuild", slug, "--yes")
    await _until_clean(stage)

    assert "searches" in planned.out + planned.err
    assert "0 left" in ended.out
    assert before.isdisjoint(stage.simulator.state.workspaces[slug].rows)


async def _deleted(stage: Stage, page: str) -> None:
    planned = await _asked(stage, "publish", "--delete", page, "--dry-run")
    await _asked(stage, "publish", "--delete", page, "--wait")
    told = await _asked(stage, "results", "--document", page, "--limit", "1", "--json")
    await _until_clean(stage)

    assert page in planned.out
    assert json.loads(told.lines[0])["status"] == "deleted"


async def _mended(stage: Stage, event: Path) -> None:
    """By what refuses its text: it is replayed, and nothing has to be published anew."""
    stage.simulator.faults.add("status", path="*/raw-text", contains=POISON, status=422)
    await _asked(stage, "publish", str(event), "--wait", code=3)
    listed = await _asked(stage, "dlq", "list", "--json")
    shown = await _asked(stage, "dlq", "show", "page")
    stage.simulator.faults.clear()
    await _asked(stage, "dlq", "replay", "--document", "page", code=3)
    await _asked(stage, "dlq", "replay", "--document", "page", "--yes")
    await _until_clean(stage)
    after = await _asked(stage, "dlq", "list", "--json", "--all")

    assert [json.loads(line)["standing"] for line in listed.lines] == ["open"]
    assert "page_1" in shown.out
    assert [json.loads(line)["standing"] for line in after.lines] == ["resolved"]


def _page(texts: list[str]) -> dict[str, Any]:
    return {
        "id": "page",
        "title": "A page",
        "technology": "lanterns",
        "source_url": "https://docs.example/page",
        "created_at": "2026-03-01T00:00:00Z",
        "chunks": [
            {"id": f"page_{n}", "content": text, "chunk_index": n} for n, text in enumerate(texts)
        ],
    }


def _copies(stage: Stage) -> Copies:
    return Counter((copy.document_id, copy.chunk_id) for copy in stored(stage.simulator))


async def _asked(stage: Stage, *words: str, code: int = 0) -> Ended:
    ended = await stage.program(*words, settings=DAY)
    assert ended.code == code, (words, ended.code, ended.out, ended.err)
    return ended


def _kinds(ended: Ended) -> set[str]:
    *findings, _ = [json.loads(line) for line in ended.lines]
    return {each["kind"] for each in findings if not each["note"]}


async def _until_committed(stage: Stage) -> Ended:
    """An audit of what was worked."""
    await stage.until_committed()
    return await stage.program("audit", "--json", settings=DAY)


async def _until_clean(stage: Stage) -> None:
    """Return when an audit finds nothing: what was published to the service takes its time."""
    give_up = time.monotonic() + PATIENCE
    while (ended := await stage.command("audit", settings=DAY)).code != 0:
        assert time.monotonic() < give_up, ended.out
