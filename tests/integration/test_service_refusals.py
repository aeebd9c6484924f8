"""Chunks that AnythingLLM refuses definitely, and what replaying their event does."""

from __future__ import annotations

import orjson

from tests.integration.service_fixtures import Stage
from tests.staging import document, header, texts


def _with_refused(count: int, refused: tuple[int, ...]) -> list[str]:
    return [
        text + (" REFUSED" if number in refused else "")
        for number, text in enumerate(texts("guide", count))
    ]


async def test_refused_chunks_make_a_partial_result_and_a_dead_letter(stage: Stage) -> None:
    """3 of 20 chunks answered with 422: exactly those ids, tried once, and the others are stored.

    What is stale stays: text is never missing in between.
    """
    await stage.publish(document("guide", ["an old text", *texts("guide", 2)], day=1))
    await stage.start()
    await stage.wait_results(1)
    rule = stage.simulator.faults.add(
        "status", status=422, method="POST", path="*/raw-text", contains="REFUSED"
    )
    event = document("guide", _with_refused(20, (3, 7, 11)), day=2)
    await stage.publish(event)
    result = (await stage.wait_results(2))[1]
    (letter,) = await stage.wait_dead_letters(1)

    refused = [f"guide_chunk_{number}" for number in (3, 7, 11)]
    assert result["status"] == "partial"
    assert (result["total_chunks"], result["successful_uploads"]) == (20, 17)
    assert result["failed_uploads"] == 3
    assert sorted(result["failed_chunk_ids"]) == sorted(refused)
    assert {(c["reason"], c["http_status"], c["attempts"]) for c in result["failed_chunks"]} == {
        ("rejected", 422, 1)
    }
    assert rule.fired == 3
    assert result["removed_chunks"] == 0
    assert "an old text" in stage.stored()["guide"]
    assert letter.value == orjson.dumps(event)
    assert header(letter, "dlq.reason") == "rejected"
    assert header(letter, "dlq.http-status") == "422"
    assert header(letter, "dlq.attempts") == "1"
    assert header(letter, "__connect.errors.stage") == "upload"
    named = orjson.loads(header(letter, "dlq.failed-chunks") or "{}")
    assert (named["count"], sorted(named["ids"])) == (3, sorted(refused))


async def test_replaying_a_partial_document_uploads_only_what_is_missing(stage: Stage) -> None:
    """The same bytes again, not refused any more: 3 uploads, and then what is stale goes.

    The headers of the dead letter name the original.
    """
    await stage.publish(document("guide", ["an old text"], day=1))
    await stage.start()
    await stage.wait_results(1)
    stage.simulator.faults.add("status", status=422, path="*/raw-text", contains="REFUSED")
    await stage.publish(document("guide", _with_refused(20, (3, 7, 11)), day=2))
    first = (await stage.wait_results(2))[1]
    (letter,) = await stage.wait_dead_letters(1)
    stage.simulator.faults.clear()
    before = stage.uploads()
    await stage.publish(
        letter.value,
        key=letter.key,
        headers=letter.headers,
        topic=stage.settings.kafka.replay_topic,
    )
    second = (await stage.wait_results(3))[2]
    await stage.stop()

    assert second["status"] == "succeeded"
    assert sorted(second["uploaded_chunk_ids"]) == sorted(first["failed_chunk_ids"])
    assert len(second["unchanged_chunk_ids"]) == 17
    assert second["removed_chunks"] == 1
    assert second["replay_of"]["event_id"] == first["event_id"]
    assert second["replay_of"]["offset"] == first["source"]["offset"]
    assert second["trace_id"] == first["trace_id"]
    assert stage.uploads() - before == 3
    assert stage.stored() == {"guide": sorted(_with_refused(20, (3, 7, 11)))}
    assert len(stage.dead_letters) == 1


async def test_a_document_of_which_nothing_is_stored_failed(stage: Stage) -> None:
    """``failed`` and a dead letter; its neighbours don't notice."""
    stage.simulator.faults.add("status", status=413, path="*/raw-text", contains="REFUSED")
    await stage.publish(document("guide", _with_refused(2, (0, 1))), partition=0)
    await stage.publish(document("other", ["a text"]), partition=0)
    await stage.start()
    results = {r["document_id"]: r for r in await stage.wait_results(2)}
    (letter,) = await stage.wait_dead_letters(1)
    await stage.finish()

    assert results["guide"]["status"] == "failed"
    assert results["guide"]["failed_uploads"] == 2
    assert results["other"]["status"] == "succeeded"
    assert header(letter, "dlq.http-status") == "413"


async def test_a_text_that_the_embedder_refuses_is_told_from_an_outage(stage: Stage) -> None:
    """Poison falls by itself, its siblings are stored, nothing of it is left in AnythingLLM."""
    stage.simulator.faults.embedder_poison = ["POISON"]
    await stage.start()
    await stage.publish(document("guide", ["one", "POISON", "three"]))
    await stage.publish(document("other", ["four"]))
    results = {result["document_id"]: result for result in await stage.wait_results(2)}
    (letter,) = await stage.wait_dead_letters(1)
    await stage.wait_committed()

    assert (results["guide"]["status"], results["other"]["status"]) == ("partial", "succeeded")
    (failed,) = results["guide"]["failed_chunks"]
    assert (failed["reason"], failed["attempts"]) == ("exhausted", 3)
    assert "control texts of its length passed" in failed["message"]
    assert dict(letter.headers)["dlq.reason"] == b"exhausted"
    assert not any("POISON" in file.text for file in stage.simulator.state.files.values())
