"""``results``: what became of documents. Kafka is in memory."""

from __future__ import annotations

import json

from tests.commands import PATIENCE, Commands
from tests.operations.conftest import MakeStage, Operator
from tests.operations.letters import failing
from tests.staging import Json, document, result


async def test_results_are_filtered_by_workspace_and_time(operator: Operator) -> None:
    """What is older, or for another workspace, is left out."""
    await failing(operator.stage)
    docs = await operator.run("results", "--json", "--workspace", "docs")
    lately = await operator.run("results", "--json", "--since", "1h")
    later = await operator.run("results", "--since", "2100-01-01")
    wrong = await operator.run("results", "--since", "soon")

    assert [json.loads(line)["document_id"] for line in docs.lines] == ["guide"]
    assert {json.loads(line)["document_id"] for line in lately.lines} == {"guide", "sick", "lost"}
    assert (later.code, later.out, later.err) == (0, "", "no such results\n")
    assert wrong.code == 2
    assert "--since 'soon' is no time" in wrong.err


async def test_what_is_no_result_is_told_and_stepped_over(operator: Operator) -> None:
    """Whoever wrote it, and wherever it lies between others."""
    stage = operator.stage
    await stage.worked(document("first", ["a text"]))
    stage.publish(b"\xff nonsense", key="x", topic=stage.settings.kafka.results_topic)
    await stage.worked(document("second", ["a text"]))
    shown = await operator.run("results", "--json")

    assert shown.code == 0
    assert {json.loads(line)["document_id"] for line in shown.lines} == {"first", "second"}
    assert shown.err.startswith("skipped results-")
    assert shown.err.count("\n") == 1


async def test_a_missing_topic_and_a_missing_kafka_are_a_line(
    make_stage: MakeStage, commands: Commands
) -> None:
    """Exit 1, with what to do."""
    operator = Operator(await make_stage(topics=False), commands)
    no_topic = await operator.run("results")
    operator.next_process().line.cut()
    no_kafka = await operator.run("results")

    assert (no_topic.code, no_topic.out) == (1, "")
    assert no_topic.err.startswith("error: Kafka: there is no topic results; create it")
    assert (no_kafka.code, no_kafka.out) == (1, "")
    assert no_kafka.err.startswith("error: Kafka: ")
    assert max(no_topic.seconds, no_kafka.seconds) < PATIENCE / 2


def put(operator: Operator, *results: Json | bytes) -> None:
    """Publish results as the service would."""
    topic = operator.stage.settings.kafka.results_topic
    for each in results:
        operator.stage.publish(each, key="k", topic=topic, partition=0)


async def test_results_are_found_by_what_people_ask(operator: Operator) -> None:
    """By document, identity, trace and failure; junk in the topic is told and passed over."""
    failed = result(2, status="failed", errors=["chunk c: refused"], failed_uploads=1)
    put(operator, result(1), failed, b"junk", result(3, status="invalid"))

    async def found(*options: str) -> list[str]:
        ended = await operator.run("results", "--json", *options)
        assert ended.code == 0
        return [json.loads(line)["document_id"] for line in ended.lines]

    assert await found() == ["document-1", "document-2", "document-3"]
    assert await found("--identity", "identity-2", "--failed") == ["document-2"]
    assert await found("--document", "document-1", "--failed") == []
    assert await found("--trace", f"{3:032x}") == ["document-3"]

    shown = await operator.run("results", ANYTHINGLLM_API_KEY="")
    cells = [line.split("\t") for line in shown.lines]
    assert [len(line) for line in cells] == [8] * 4
    assert cells[2][1] == "failed"
    assert cells[2][-1] == "chunk c: refused"
    assert "not an upload result" in shown.err


async def test_a_large_result_comes_whole(operator: Operator) -> None:
    """JSON for scripts is never cut, whatever is in it; text for people may be."""
    large = result(1, uploaded_chunk_ids=[f"chunk\t{n} 灯\u2028" for n in range(5000)])
    put(operator, large)
    ended = await operator.run("results", "--json")

    assert ended.json == large
