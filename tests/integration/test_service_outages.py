"""Outages of AnythingLLM: no document pays for them, and work resumes by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from consumer.sandbox.simulator import Simulator
from tests.integration.service_fixtures import MakeStage, Running, Stage
from tests.staging import document, eventually, texts

EVENTS = [document(f"doc-{n}", texts(f"doc-{n}", 6)) for n in range(8)]
WANTED = {event["id"]: sorted(texts(event["id"], 6)) for event in EVENTS}

Outage = tuple[Callable[[Simulator], Awaitable[None]], Callable[[Simulator], Awaitable[None]]]


def _switch(**broken: object) -> Outage:
    async def begin(server: Simulator) -> None:
        server.faults.update(broken)

    async def end(server: Simulator) -> None:
        server.faults.clear()

    return begin, end


def _rule(kind: str, **details: object) -> Outage:
    async def begin(server: Simulator) -> None:
        server.faults.add(kind, **details)

    async def end(server: Simulator) -> None:
        server.faults.clear()

    return begin, end


async def _begin_stop(server: Simulator) -> None:
    await server.stop()


async def _end_stop(server: Simulator) -> None:
    await server.start()


OUTAGES: dict[str, Outage] = {
    "killed": (_begin_stop, _end_stop),
    "503": _rule("status", status=503),
    "502": _rule("status", status=502),
    "504": _rule("status", status=504),
    "plain 500": _rule("status", status=500, path="*/raw-text"),
    "collector down": _switch(collector="down"),
    "embedder down": _switch(embedder_down=True),
    "key revoked": _switch(key_revoked=True),
    "web page": _rule("html"),
    "not there": _rule("status", status=404, path="*/raw-text"),
    "reset": _rule("reset"),
    "truncated": _rule("truncated", path="*/raw-text"),
}


# Beside the others they show little that is new.
SLOW = {"502", "504", "plain 500", "not there", "truncated"}


async def _failing(running: Running, attempts: int) -> None:
    """Until so many attempts of chunks have failed."""
    failures = running.service._metrics.upload_failures

    def seen() -> float:
        return sum(s.value for m in failures.collect() for s in m.samples if s.name[-5:] == "total")

    await eventually(lambda: seen() >= attempts)


def _assert_once(stage: Stage, results: list[dict[str, object]]) -> None:
    assert {result["status"] for result in results} == {"succeeded"}
    assert stage.dead_letters == []
    assert stage.stored() == WANTED


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in OUTAGES]
)
async def test_an_outage_in_mid_work_dead_letters_nothing_and_is_survived(
    stage: Stage, name: str
) -> None:
    """Documents wait, however long; afterwards every chunk is stored, once."""
    begin, end = OUTAGES[name]
    stage.simulator.faults.embedder_latency = 0.01
    await stage.publish_all(EVENTS)
    running = await stage.start()
    await stage.simulator.journal.wait_for("document.embedded", 10)
    await begin(stage.simulator)
    await _failing(running, 8)
    assert len(stage.results) < len(EVENTS)
    await end(stage.simulator)
    results = await stage.wait_results(len(EVENTS))
    await stage.finish()

    _assert_once(stage, results)


async def test_an_outage_at_the_start_is_waited_for(stage: Stage) -> None:
    """Not there yet is an outage as at any other time."""
    await stage.simulator.stop()
    await stage.publish_all(EVENTS)
    running = await stage.start()
    await running.has_open(len(EVENTS))
    assert running.service.condition.ready() == []
    await stage.simulator.start()

    _assert_once(stage, await stage.wait_results(len(EVENTS)))


async def test_an_outage_of_one_document_sends_few_requests(make_stage: MakeStage) -> None:
    """A large document does not try each of its chunks in every round of an outage."""
    stage = await make_stage(
        {"BREAKER_RECOVERY_SECONDS": "0.1", "UPLOAD_BACKOFF_CAP_SECONDS": "0.05"}
    )
    stage.simulator.faults.add("status", status=503, path="*/raw-text")
    await stage.publish(document("large", texts("large", 300)))
    running = await stage.start()
    await stage.simulator.journal.wait_for("request.answered", 6, status=503)
    failures = running.service._metrics.upload_failures.labels("theirs")._value.get()
    stage.simulator.faults.clear()
    (result,) = await stage.wait_results(1)

    assert failures < 100
    assert result["successful_uploads"] == 300


@pytest.mark.parametrize(
    "kind",
    [
        "reset-after",
        "half-body",
        pytest.param("fin-after", marks=pytest.mark.slow),
        pytest.param("truncated", marks=pytest.mark.slow),
    ],
)
async def test_an_answer_that_is_lost_after_the_upload_took_effect_makes_no_double(
    stage: Stage, kind: str
) -> None:
    """It is looked for before it is sent again: one copy, one upload."""
    stage.simulator.faults.add(kind, path="*/raw-text", every=4)
    await stage.publish_all(EVENTS)
    await stage.start()
    results = await stage.wait_results(len(EVENTS))
    stage.simulator.faults.clear()

    _assert_once(stage, results)
    assert stage.uploads() == sum(map(len, WANTED.values()))


async def test_a_burst_of_fetch_failed_is_repeated(stage: Stage) -> None:
    """The server's stale connection to its collector: nothing was created, the same again."""
    stage.simulator.faults.fetch_failed_every = 2
    await stage.publish_all(EVENTS)
    await stage.start()

    _assert_once(stage, await stage.wait_results(len(EVENTS)))
    assert stage.uploads() == sum(map(len, WANTED.values()))


async def test_an_embedder_that_fails_now_and_then_costs_no_document(stage: Stage) -> None:
    """Stored and not embedded is embedded again, not uploaded again."""
    stage.simulator.faults.embedder_fails_every = 3
    await stage.publish_all(EVENTS)
    await stage.start()

    _assert_once(stage, await stage.wait_results(len(EVENTS)))
    assert stage.uploads() == sum(map(len, WANTED.values()))


async def test_retry_after_is_honoured(make_stage: MakeStage) -> None:
    """429 with ``Retry-After``: no upload of any document starts for that long."""
    stage = await make_stage({"UPLOAD_MAX_CHUNKS_IN_FLIGHT": "1"})
    stage.simulator.faults.add(
        "status", status=429, headers={"Retry-After": "1"}, path="*/raw-text", times=1, skip=3
    )
    await stage.publish_all(EVENTS)
    await stage.start()
    results = await stage.wait_results(len(EVENTS))

    asked = stage.simulator.journal.of("request.answered", path="/api/v1/document/raw-text")
    assert [each["status"] for each in asked[:4]] == [200, 200, 200, 429]
    assert min(later["at"] - asked[3]["at"] for later in asked[4:]) >= 0.95
    _assert_once(stage, results)


async def test_one_sick_document_does_not_stop_the_others(stage: Stage) -> None:
    """A chunk that fails for no clear reason makes its document wait, and only that."""
    stage.simulator.faults.add("status", status=500, path="*/raw-text", contains="of sick,")
    await stage.publish(document("sick", texts("sick", 2)), partition=0)
    for event in EVENTS:
        await stage.publish(event, partition=0)
    await stage.start()
    results = await stage.wait_results(len(EVENTS))
    assert {result["document_id"] for result in results} == set(WANTED)
    assert (await stage.committed())[0] == 0
    stage.simulator.faults.clear()
    await stage.wait_results(len(EVENTS) + 1)
    await stage.finish()

    assert stage.stored() == WANTED | {"sick": texts("sick", 2)}


async def test_removals_wait_for_an_outage_too(stage: Stage) -> None:
    """What is stale is removed as soon as that can be done; until then the event is open."""
    await stage.publish(document("guide", ["one", "two"], day=1))
    await stage.start()
    await stage.wait_results(1)
    stage.simulator.faults.add("status", status=503, path="*/remove-documents", times=5)
    await stage.publish(document("guide", ["one"], day=2))
    second = (await stage.wait_results(2))[1]

    assert (second["status"], second["removed_chunks"]) == ("succeeded", 1)
    assert stage.stored() == {"guide": ["one"]}


async def test_slow_answers_are_no_outage(stage: Stage) -> None:
    """As many uploads at once as allowed and no more, however slow they are."""
    at_once: list[int] = []
    stage.simulator.faults.add("delay", seconds=0.05, path="*/raw-text")
    await stage.publish_all(EVENTS)
    running = await stage.start()

    async def watch() -> None:
        while True:
            at_once.append(int(running.service._metrics.chunks_in_flight._value.get()))
            await asyncio.sleep(0.01)

    watcher = asyncio.create_task(watch())
    results = await stage.wait_results(len(EVENTS))
    watcher.cancel()

    _assert_once(stage, results)
    assert 2 <= max(at_once) <= 5
