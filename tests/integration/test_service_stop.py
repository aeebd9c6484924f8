"""Stopping in order: what was begun is settled, what can't be is told, nothing is done twice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from consumer.app import Service
from consumer.sandbox.kafka import LocalKafka
from tests.integration.service_fixtures import MakeStage, Stage, open_stage
from tests.staging import SECONDS, document, eventually, texts

Logs = Iterable[MutableMapping[str, Any]]


def _events(count: int, chunks: int = 4) -> list[dict[str, object]]:
    return [document(f"doc-{n}", texts(f"doc-{n}", chunks)) for n in range(count)]


def _wanted(count: int, chunks: int = 4) -> dict[str, list[str]]:
    return {f"doc-{n}": sorted(texts(f"doc-{n}", chunks)) for n in range(count)}


def _said(logs: Logs, event: str) -> MutableMapping[str, Any]:
    return next(line for line in logs if line["event"] == event)


async def test_a_stop_in_mid_work_leaves_nothing_to_do_again(make_stage: MakeStage) -> None:
    """All that was begun is settled and committed.

    The next start repeats neither a result nor an upload.
    """
    stage = await make_stage({"INTAKE_MAX_DOCUMENTS_IN_FLIGHT": "4"})
    # Of the chunks that pass, 12 may belong to the four documents that are in the middle.
    held = stage.simulator.faults.add("hold", path="*/raw-text", skip=10 * 4 + 12)
    await stage.publish_all(_events(60))
    first = await stage.start()
    await stage.wait_results(10)
    with capture_logs() as logs:
        stopping = asyncio.create_task(first.stop())
        await eventually(lambda: any(line["event"] == "service.draining" for line in logs))
        held.released = True
        await stopping
    answered = len(await stage.everything(stage.settings.kafka.results_topic))
    committed = await stage.committed()

    assert 10 <= answered < 60
    assert _said(logs, "service.stopped")["remaining"] == 0
    assert sum(committed.values()) == answered
    await stage.start()
    await stage.wait_results(60)
    await stage.finish()
    assert len(stage.results) == 60
    assert stage.uploads() == 240
    assert stage.stored() == _wanted(60)


async def test_a_stop_in_an_outage_ends_at_once_and_says_what_remains(
    make_stage: MakeStage,
) -> None:
    """Who only waits for AnythingLLM is dropped unsettled and uncommitted; nothing is lost."""
    stage = await make_stage({"SHUTDOWN_DRAIN_SECONDS": "40"})
    stage.simulator.faults.add("status", status=503, path="*/raw-text")
    await stage.publish_all(_events(7))
    first = await stage.start()
    await first.has_open(7)
    began = time.monotonic()
    with capture_logs() as logs:
        await first.stop()

    assert time.monotonic() - began < 20, "it waited for the drain"
    assert _said(logs, "service.stopped")["remaining"] == 7
    assert sum((await stage.committed()).values()) == 0
    stage.simulator.faults.clear()
    await stage.start()
    await stage.wait_results(7)
    await stage.finish()
    assert stage.stored() == _wanted(7)


async def test_a_request_without_an_answer_holds_up_the_stop_for_the_drain_only(
    make_stage: MakeStage,
) -> None:
    """The drain has an end; what took effect after it is recognised by the next start."""
    long = {"UPLOAD_TIMEOUT_SECONDS": "40", "ANYTHINGLLM_AMBIGUITY_SECONDS": "40"}
    stage = await make_stage({"SHUTDOWN_DRAIN_SECONDS": "1", **long})
    held = stage.simulator.faults.add("hold-after", path="*/raw-text", contains="Text 0 of doc-0,")
    await stage.publish_all(_events(3))
    first = await stage.start()
    await stage.simulator.journal.wait_for("request.held")
    await stage.wait_results(2)
    began = time.monotonic()
    with capture_logs() as logs:
        await first.stop()

    assert 0.7 < time.monotonic() - began < 20, "it waited for the request"
    assert _said(logs, "service.drain_incomplete")["open"] == 1
    assert _said(logs, "service.stopped")["remaining"] == 1
    held.released = True
    stage.simulator.faults.clear()
    await stage.start()
    await stage.wait_results(3)
    await stage.finish()
    assert stage.stored() == _wanted(3)
    assert stage.uploads() == 12


async def test_a_large_document_is_not_abandoned_by_a_stop(stage: Stage) -> None:
    """Its uploads go on for as long as the drain lasts."""
    stage.simulator.faults.embedder_latency = 0.01
    await stage.publish(document("large", texts("large", 200)))
    first = await stage.start()
    await stage.simulator.journal.wait_for("document.embedded", 20)
    await first.stop()

    (result,) = await stage.wait_results(1)
    assert (result["status"], result["successful_uploads"]) == ("succeeded", 200)
    await stage.assert_all_committed()


async def test_a_drain_that_is_too_short_loses_and_doubles_nothing(make_stage: MakeStage) -> None:
    """Chunks that were stored before the stop are recognised after it."""
    stage = await make_stage({"SHUTDOWN_DRAIN_SECONDS": "0.3"})
    stage.simulator.faults.embedder_latency = 0.05
    await stage.publish(document("large", texts("large", 100)))
    first = await stage.start()
    await stage.simulator.journal.wait_for("document.embedded", 10)
    with capture_logs() as logs:
        await first.stop()
    assert _said(logs, "service.stopped")["remaining"] == 1
    stage.simulator.faults.clear()
    await stage.start()
    (result,) = await stage.wait_results(1)
    await stage.stop()

    assert result["status"] == "succeeded"
    assert len(result["unchanged_chunk_ids"]) >= 10
    assert stage.uploads() == 100
    assert stage.stored() == {"large": sorted(texts("large", 100))}


async def test_a_stop_before_kafka_answers_ends(make_stage: MakeStage) -> None:
    """A service that still waits for Kafka can be stopped like any other."""
    stage = await make_stage()
    nowhere = stage.with_settings(KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")
    service = Service(nowhere)
    task = asyncio.create_task(service.run())
    await asyncio.sleep(0)
    service.stop()
    async with asyncio.timeout(SECONDS):
        await task


@pytest.mark.slow
async def test_a_stop_while_kafka_is_away_ends_in_time(
    own_kafka: LocalKafka, unique_name: Callable[[str], str]
) -> None:
    """Results that can't be published hold up a stop for the drain and some seconds, not more.

    The next start finds everything as it was and goes on.
    """
    async with open_stage(own_kafka, unique_name, {"SHUTDOWN_DRAIN_SECONDS": "2"}) as stage:
        stage.simulator.faults.embedder_latency = 0.02
        await stage.publish_all(_events(30))
        before = _senders()
        first = await stage.start()
        await stage.wait_results(3)
        await own_kafka.stop(hard=True)
        await stage.simulator.journal.wait_for("document.embedded", 30)
        began = time.monotonic()
        await first.stop()
        assert time.monotonic() - began < 25
        assert _senders() <= before, "a producer of the stopped service goes on"
        await own_kafka.start()
        await stage.start()
        await stage.wait_results(30, seconds=90)
        await stage.wait_committed()
        await stage.stop()

        assert stage.stored() == _wanted(30)
        assert len({result["event_id"] for result in stage.results}) == 30


def _senders() -> int:
    """Producers of this process that work."""
    return sum("Sender._sender_routine" in repr(task) for task in asyncio.all_tasks())
