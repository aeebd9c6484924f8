"""Documents that are as they should be: stored once, answered once, committed."""

from __future__ import annotations

from collections import Counter
from typing import Any
from uuid import UUID, uuid5

import orjson

from consumer.contract.received_result import read_result
from consumer.kafka.topics import open_admin
from consumer.model.record import Headers
from consumer.sandbox.samples import sample_documents
from consumer.sandbox.simulator import simulator as running_simulator
from tests.integration.service_fixtures import MakeStage, Stage
from tests.staging import document, texts

Json = dict[str, Any]
TRACE = "0af7651916cd43dd8448eb211c80319c"


def _check_counts(result: Json) -> None:
    stored = len(result["uploaded_chunk_ids"]) + len(result["unchanged_chunk_ids"])
    assert result["successful_uploads"] + result["failed_uploads"] == result["total_chunks"]
    assert stored == result["successful_uploads"]
    assert len(result["failed_chunk_ids"]) == result["failed_uploads"]
    assert result["truncated"] is False


async def test_both_shapes_are_stored_once_byte_for_byte_in_fresh_workspaces(
    make_stage: MakeStage,
) -> None:
    """Every text is searchable exactly once, repeated texts as often as they occur.

    Every event has one result that adds up, and every offset is committed.
    """
    events = sample_documents(24, shape="mixed")
    async with running_simulator() as fresh:
        stage = await make_stage(simulator=fresh)
        await stage.publish_all(events)
        await stage.start()
        results = await stage.wait_results(len(events))
        await stage.finish()

        found: Counter[tuple[str, str]] = Counter()
        for slug in fresh.state.workspaces:
            for name, held in stage.stored(slug).items():
                found.update((name, text) for text in held)
        wanted = Counter((e["id"], chunk["content"]) for e in events for chunk in e["chunks"])
        assert found == wanted
        assert len(stage.results) == len(events)
        for result in results:
            _check_counts(result)
            assert result["status"] == "succeeded"
        assert stage.dead_letters == []


async def test_a_result_says_everything_the_contract_promises(stage: Stage) -> None:
    """Result fields (schemas/README.md, "Results"): a reader needs nothing but the result."""
    event = document("guide", ["one", "two"], day=2)
    await stage.publish(event, partition=1)
    await stage.start()
    (result,) = await stage.wait_results(1)
    await stage.stop()

    assert result["document_id"] == result["identity"] == "guide"
    assert (result["status"], result["workspace_slug"]) == ("succeeded", "docs")
    assert result["total_chunks"] == result["successful_uploads"] == 2
    assert sorted(result["uploaded_chunk_ids"]) == ["guide_chunk_0", "guide_chunk_1"]
    assert result["content_hash"] == event["content_hash"]
    assert result["document_version"] == "2026-03-03T00:00:00Z"
    source = result["source"]
    assert (source["topic"], source["partition"], source["offset"]) == (stage.documents, 1, 0)
    assert result["replay_of"] is None
    assert result["started_at"] <= result["completed_at"]
    assert read_result(orjson.dumps(result)).status == "succeeded"


async def test_an_event_id_depends_on_the_record_alone(stage: Stage) -> None:
    """uuid5 of cluster, topic, partition, offset and timestamp: a repeat has the same id."""
    await stage.publish(document("guide", ["one"]))
    await stage.start()
    (result,) = await stage.wait_results(1)
    await stage.stop()
    (record,) = await stage.everything(stage.documents)
    async with open_admin(stage.connection) as admin:
        cluster = await admin.cluster_id()

    at = record.at
    name = orjson.dumps([cluster, at.topic, at.partition, at.offset, str(record.timestamp_ms)])
    namespace = UUID("6f1d3c52-9f0e-5b51-9a57-2f8b1f3f7c11")
    assert result["event_id"] == str(uuid5(namespace, name.decode()))


async def test_results_are_keyed_by_identity_and_so_are_in_order(make_stage: MakeStage) -> None:
    """The key of a result is the identity whatever the key of the event was."""
    stage = await make_stage({"DOCUMENT_IDENTITY": "{source_url}"})
    await stage.publish(document("a", ["one"]), key=None)
    await stage.publish(document("b", ["two"]), key="something else")
    await stage.start()
    await stage.wait_results(2)

    keys = {record.key for record in stage.result_records}
    assert keys == {b"https://docs.example/a", b"https://docs.example/b"}


TRACED: dict[str, tuple[Headers, str | None]] = {
    "traceparent": ((("traceparent", f"00-{TRACE}-b7ad6b7169203331-01".encode()),), None),
    "header": ((("trace_id", TRACE.upper().encode()),), None),
    "headers": ((("x-trace-id", TRACE.encode()), ("correlation-id", b"another")), None),
    "body": ((), TRACE),
    "nonsense": ((("traceparent", b"00-nonsense-01"),), TRACE),
}


async def test_the_trace_id_of_an_event_is_in_result_and_dead_letter(stage: Stage) -> None:
    """traceparent, else a trace header, else the body; the same in everything that comes of it."""
    for name, (headers, in_body) in TRACED.items():
        more: Json = {} if in_body is None else {"trace_id": in_body}
        await stage.publish(document(name, ["one"], **more), headers=headers)
        bad = document(f"bad-{name}", ["one"], workspace="../x", **more)
        await stage.publish(bad, headers=headers)
    await stage.start()
    results = await stage.wait_results(2 * len(TRACED))
    letters = await stage.wait_dead_letters(len(TRACED))

    assert {result["document_id"]: result["trace_id"] for result in results} == dict.fromkeys(
        [*TRACED, *(f"bad-{name}" for name in TRACED)], TRACE
    )
    assert {letter.header("dlq.trace-id") for letter in letters} == {TRACE.encode()}


async def test_an_event_without_a_trace_id_gets_one(stage: Stage) -> None:
    """32 hex characters, and another for every event."""
    await stage.publish_all([document("a", ["one"]), document("b", ["two"])])
    await stage.start()
    found = {result["trace_id"] for result in await stage.wait_results(2)}

    assert len(found) == 2
    assert all(len(each) == 32 and int(each, 16) for each in found)


async def test_a_large_document_does_not_starve_small_ones(make_stage: MakeStage) -> None:
    """Upload slots are dealt out in turn: small documents are done while a large one goes on."""
    stage = await make_stage()
    stage.simulator.faults.embedder_latency = 0.01
    await stage.publish(document("large", texts("large", 400)), partition=0)
    for number in range(5):
        await stage.publish(document(f"small-{number}", ["one", "two"]), partition=1)
    await stage.start()
    results = await stage.wait_results(6)

    assert [result["document_id"] for result in results][-1] == "large"
    assert results[-1]["successful_uploads"] == 400
