"""``results``: what became of documents. Kafka is in memory."""

from __future__ import annotations

import asyncio
import json
import re

import pytest

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


async def test_what_contradicts_itself_is_wrong_usage(operator: Operator) -> None:
    """Exit 2 and a line, before Kafka is asked."""
    for words in (
        "--from-start", "--follow --until 1h", "--follow --oldest-first", "--limit -1",
        "--follow --from-start --since 1h", "--trace 0", "--until soon", "--since 1m --until 2m",
    ):  # fmt: skip
        ended = await operator.run("results", *words.split())
        assert (ended.code, ended.out) == (2, ""), words
    assert operator.stage.kafka.ranges("nowhere") is None


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

    assert await found() == ["document-3", "document-2", "document-1"]
    assert await found("--oldest-first") == ["document-1", "document-2", "document-3"]
    assert await found("--limit", "2") == ["document-3", "document-2"]
    assert await found("--identity", "identity-2", "--failed") == ["document-2"]
    assert await found("--document", "document-1", "--failed") == []
    assert await found("--trace", f"{3:032x}") == ["document-3"]
    assert await found("--until", "1h") == []
    assert len(await found("--since", "1h", "--until", "2100-01-01")) == 3

    shown = await operator.run("results", ANYTHINGLLM_API_KEY="")
    cells = [line.split("\t") for line in shown.lines]
    assert [len(line) for line in cells] == [8] * 4
    assert cells[2][1] == "failed"
    assert cells[2][-1] == "chunk c: refused"
    assert "not an upload result" in shown.err


async def test_repeats_are_marked(operator: Operator) -> None:
    """For people and for programs; lines that are no repeats stay as they were published."""
    put(operator, result(1), result(2, status="invalid", reason="unroutable", errors=["/a: b"]))
    put(operator, result(1), result(3))
    told = await operator.run("results", "--json")
    shown = await operator.run("results")
    forth = await operator.run("results", "--json", "--oldest-first")

    assert [json.loads(line).get("repetition") for line in told.lines] == [
        None, "repeat", None, "first",
    ]  # fmt: skip
    assert json.loads(told.lines[0]) == result(3)
    assert [line.split("\t")[-1] for line in shown.lines[1:]] == [
        "-", "a repeat: the first one counts", "unroutable: /a: b", "it counts; repeated above",
    ]  # fmt: skip
    assert [json.loads(line).get("repetition") for line in forth.lines] == [
        None, None, "repeat", None,
    ]  # fmt: skip


@pytest.mark.parametrize("template", ["{id}", "page:{id}", "{source_url}"])
async def test_deletions_are_found_by_their_document(operator: Operator, template: str) -> None:
    """They name none: its identity is made of its id, or other results tell it."""
    identity = template.format(id="guide", source_url="https://docs.example/guide")
    put(
        operator,
        result(1, document_id="guide", identity=identity),
        result(2, document_id="other", identity="else"),
        result(3, document_id=None, identity=identity, status="deleted"),
    )
    words = ("results", "--json", "--document", "guide")
    ended = await operator.run(*words, DOCUMENT_IDENTITY=template)

    assert [json.loads(line)["status"] for line in ended.lines] == ["deleted", "succeeded"]


async def test_a_trace_is_found_as_its_publisher_wrote_it(operator: Operator) -> None:
    """A UUID, a whole header, or a word that became a hash on its way."""
    stage = operator.stage
    await stage.worked(document("a", ["a text"], trace_id="order 7"))
    await stage.worked(document("b", ["a text"]))
    ended = await operator.run("results", "--json", "--trace", "order 7")

    assert ended.json["document_id"] == "a"


async def test_many_records_that_are_no_results_are_counted(operator: Operator) -> None:
    """Twenty are named; the screen is for results."""
    put(operator, *[b"junk"] * 30, result(1))
    ended = await operator.run("results")

    assert len(ended.lines) == 2
    assert ended.err.count("skipped results-0@") == 20
    assert ended.err.endswith("and 10 more records that are no results\n")


async def test_following_begins_now_unless_told(operator: Operator) -> None:
    """What is there already comes with --from-start, or --since; --limit ends it."""
    put(operator, result(1), result(2))
    words = ("results", "--json", "--follow", "--limit")
    there = await operator.run(*words, "2", "--from-start")
    lately = await operator.run(*words, "1", "--since", "1h")
    following = asyncio.create_task(operator.run(*words, "1"))
    while not following.done():
        put(operator, result(3))
        await asyncio.wait({following}, timeout=0.05)

    assert [json.loads(line)["document_id"] for line in there.lines] == [
        "document-1", "document-2",
    ]  # fmt: skip
    assert lately.json["document_id"] == "document-1"
    assert following.result().json["document_id"] == "document-3"
    assert there.err == "following results; Ctrl-C ends it\n"


async def test_ctrl_c_says_how_far_it_got(operator: Operator) -> None:
    """How many were shown, how much was read, and how to go on."""
    put(operator, *(result(number) for number in range(1_000)))
    operator.next_process().line.interrupt_at(12, "reading results")
    ended = await operator.run("results", "--json", "--document", "document-999")

    assert ended.code == 130
    assert len(ended.lines) == 1
    assert re.fullmatch(
        r"interrupted: 1 result shown, [\d,]+ of 1,000 read, back to (\S+Z); "
        r"`--until \1` goes on there\n",
        ended.err,
    )


async def test_a_large_result_comes_whole(operator: Operator) -> None:
    """JSON for scripts is never cut, whatever is in it; text for people may be."""
    large = result(1, uploaded_chunk_ids=[f"chunk\t{n} 灯\u2028" for n in range(5000)])
    put(operator, large)
    ended = await operator.run("results", "--json")

    assert ended.json == large
