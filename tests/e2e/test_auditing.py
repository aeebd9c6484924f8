"""``audit`` and ``where`` as an operator runs them, beside a service that is killed meanwhile."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from consumer.sandbox.samples import sample_documents
from tests.e2e.support import Ended, Stage, write_events

pytestmark = [pytest.mark.timeout(180)]

KILLS = 4
# Doubles that a crash left are removed after the ambiguity time: seconds here, not minutes.
QUICK = {"UPLOAD_TIMEOUT_SECONDS": "2", "ANYTHINGLLM_AMBIGUITY_SECONDS": "2"}
LOST = {"missing", "incomplete", "not-removed", "no-dead-letter", "unexpected"}


def kinds(ended: Ended) -> set[str]:
    """What an ``audit --json`` found, without notes."""
    *findings, _ = [json.loads(line) for line in ended.lines]
    return {each["kind"] for each in findings if not each["note"]}


async def clean_audit(stage: Stage) -> dict[str, Any]:
    """The totals of an audit that finds nothing, as soon as one does and all is committed."""
    while True:
        ended = await stage.command("audit", "--json", settings=QUICK)
        assert not kinds(ended) & LOST, ended.out
        totals: dict[str, Any] = json.loads(ended.lines[-1])
        # The service commits now and then: what is stored may wait for that.
        if ended.code == 0 and not totals["events_not_committed"]:
            return totals


@pytest.mark.release
async def test_killed_again_and_again_nothing_is_unexplained(stage: Stage, tmp_path: Path) -> None:
    """After each kill everything is explained, at the end everything is stored, once."""
    documents = sample_documents(80, seed=11, technologies=("lanterns", "looms"), max_chunks=4)
    stage.simulator.faults.latency = 0.02
    await stage.publish(write_events(tmp_path / "events.ndjson", documents))
    journal = stage.simulator.journal
    for kill in range(KILLS):
        service = await stage.run(**QUICK)
        wanted = journal.count("document.stored") + 30
        await journal.wait_for("document.stored", wanted, seconds=60)
        await service.kill()
        audited = await stage.command("audit", "--json", settings=QUICK)
        assert not kinds(audited) & LOST, (kill, audited.out)
    service = await stage.run(**QUICK)
    await stage.until_results(len(documents))

    totals = await clean_audit(stage)
    service.signal(signal.SIGTERM)
    assert await service.ended() == 0
    assert (totals["stored"], totals["documents"]) == (len(documents), len(documents))
    assert (totals["events_not_committed"], totals["unexplained"]) == (0, 0)


@pytest.mark.slow
async def test_the_corpus_audits_clean(stage: Stage, corpus_path: Path) -> None:
    """300 real documents in 21 workspaces: all stored, nothing left to explain; each is found."""
    await stage.publish(corpus_path / "processed-documents.ndjson.gz")
    service = await stage.run()
    await stage.until_results(300)
    service.signal(signal.SIGTERM)
    assert await service.ended() == 0
    audited = await stage.command("audit", "--json")
    results = await stage.results()
    found = await stage.command("where", str(results[7].document_id), "--json")

    assert audited.code == 0
    assert (audited.json["stored"], audited.json["unexplained"]) == (300, 0)
    assert audited.json["notes"] == 0
    (held,) = found.json["stored"]
    assert held["complete"]
    assert held["searched_for"] == held["found_by_search"] > 0
