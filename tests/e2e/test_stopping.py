"""Ends of the service, orderly and not: what is promised about the work in its hands."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from consumer.sandbox.samples import sample_documents
from consumer.sandbox.simulator import Rule
from tests.e2e.support import Json, Process, Stage, chunk_ids, stored, until, uploads, write_events

PUT = "/api/v1/document/raw-text"
# Uploads that pass before the others are held: enough for some results in three fresh workspaces.
PASS = 40


@pytest.fixture
def documents() -> list[Json]:
    """Sixty documents for three workspaces."""
    return sample_documents(60, seed=7, technologies=("lanterns", "looms", "bells"), max_chunks=6)


async def in_the_middle(stage: Stage, documents: list[Json], **settings: str) -> Process:
    """The service with its uploads held in the middle: some results are there, others are not."""
    await stage.publish(write_events(stage.programs.folder / "events.ndjson", documents))
    service = await stage.run(**settings)
    await stage.simulator.journal.wait_for("request.held", 5, seconds=60)

    def all_whole_are_settled() -> bool:
        there = {(one.document_id, one.chunk_id) for one in stored(stage.simulator)}
        whole = sum(set(chunk_ids([each])) <= there for each in documents)
        return 0 < whole == len(service.logged("document.settled"))

    await until(all_whole_are_settled, "a result for each document that is stored whole")
    assert len(service.logged("document.settled")) < len(documents)
    return service


def held(stage: Stage) -> Rule:
    """From the 41st on uploads hang in AnythingLLM, as if its collector were frozen."""
    return stage.simulator.faults.add("hold", path="*/raw-text", skip=PASS)


async def answered(stage: Stage, rule: Rule) -> None:
    """Wait until what was held has taken effect."""
    rule.released = True
    path = PUT
    await until(
        lambda: stage.simulator.journal.count("request.answered", path=path) >= rule.seen,
        "the held uploads take effect",
    )


def the_same(found: list[tuple[str, str]], documents: list[Json]) -> bool:
    """Each chunk once, no more and no less."""
    return Counter(found) == Counter(chunk_ids(documents))


async def test_a_stop_in_time_leaves_nothing_to_do_again(
    stage: Stage, documents: list[Json]
) -> None:
    """SIGTERM in mid-work: all in hand is finished, and the next start touches none of it again.

    Meanwhile it is alive but not ready: nobody should count on it any more.
    """
    rule = held(stage)
    service = await in_the_middle(stage, documents)
    service.signal(signal.SIGTERM)
    await service.until_logged("service.draining")
    status, word, reasons = await service.readiness()
    assert (status, word, reasons) == (503, "not ready", "draining")
    assert (await service.page("/livez"))[0] == 200
    rule.released = True
    assert await service.ended() == 0
    (stopped,) = service.logged("service.stopped")
    assert stopped["remaining"] == 0
    settled = len(service.logged("document.settled"))
    assert settled < len(documents)

    again = await stage.run()
    await stage.until_results(len(documents))
    await stage.until_committed()
    again.signal(signal.SIGTERM)
    assert await again.ended() == 0

    results = await stage.results()
    assert len(results) == len({result.event_id for result in results}) == len(documents)
    assert {result.status for result in results} == {"succeeded"}
    assert len(again.logged("document.settled")) == len(documents) - settled
    assert the_same(uploads(stage.simulator), documents)
    assert the_same([(one.document_id, one.chunk_id) for one in stored(stage.simulator)], documents)


async def test_a_second_signal_stops_at_once(stage: Stage, documents: list[Json]) -> None:
    """Whoever can't wait for the drain gets the process back, with the code of an interruption."""
    held(stage)
    service = await in_the_middle(stage, documents)
    service.signal(signal.SIGTERM)
    await service.until_logged("service.draining")
    began = time.monotonic()
    service.signal(signal.SIGINT)

    assert await service.ended() == 130
    assert time.monotonic() - began < 10, "it waited for the drain of 20 s"
    assert service.logged("service.stopped_at_once")[0]["signal"] == "SIGINT"


async def test_a_stop_that_is_too_short_says_what_remains(
    stage: Stage, documents: list[Json]
) -> None:
    """It ends in its time with 0 and counts what is left; the next start completes exactly that."""
    rule = held(stage)
    service = await in_the_middle(stage, documents, SHUTDOWN_DRAIN_SECONDS="1.5")
    began = time.monotonic()
    service.signal(signal.SIGTERM)
    assert await service.ended() == 0
    took = time.monotonic() - began
    remaining = service.logged("service.stopped")[0]["remaining"]
    assert took < 1.5 + 10, "it waited for the uploads"
    assert remaining > 0
    assert service.logged("service.drain_incomplete")[0]["open"] == remaining

    await answered(stage, rule)
    again = await stage.run()
    results = await stage.until_results(len(documents))
    await stage.until_committed()
    again.signal(signal.SIGTERM)
    assert await again.ended() == 0

    assert {result.status for result in results} == {"succeeded"}
    assert the_same(uploads(stage.simulator), documents)


async def test_nothing_is_lost_by_a_kill(stage: Stage, documents: list[Json]) -> None:
    """SIGKILL in mid-work: all is answered after a restart; a repeat has the same event id."""
    rule = held(stage)
    service = await in_the_middle(stage, documents, KAFKA_SESSION_TIMEOUT_SECONDS="3")
    service.signal(signal.SIGKILL)
    assert await service.ended() == -signal.SIGKILL

    await answered(stage, rule)
    again = await stage.run()
    await stage.until_results(len(documents))
    await stage.until_committed()
    again.signal(signal.SIGTERM)
    assert await again.ended() == 0

    by_event: dict[str, set[tuple[str, int, int]]] = {}
    for result in await stage.results():
        at = result.source
        by_event.setdefault(result.event_id, set()).add((at.topic, at.partition, at.offset))
    assert len(by_event) == len(documents)
    assert all(len(places) == 1 for places in by_event.values())
    assert len(set.union(*by_event.values())) == len(documents)
    assert the_same([(one.document_id, one.chunk_id) for one in stored(stage.simulator)], documents)
    assert all(copy.searchable for copy in stored(stage.simulator))


def _settled(services: Sequence[Process]) -> int:
    """How many events they have settled, together; those of one that was killed count as well."""
    return len({line["event_id"] for each in services for line in each.logged("document.settled")})


@pytest.mark.release
async def test_nothing_is_lost_by_many_kills(stage: Stage, tmp_path: Path) -> None:
    """Two instances, one of them killed and started again five times while both work."""
    documents = sample_documents(150, seed=11, max_chunks=8)
    stage.simulator.faults.latency = 0.01
    await stage.publish(write_events(tmp_path / "events.ndjson", documents))
    steady = await stage.run()
    services = [steady]
    for _ in range(5):
        victim = await stage.run()
        services.append(victim)
        await victim.until_logged("assignment.received")
        done = _settled(services)

        def worked(done: int = done) -> bool:
            return _settled(services) >= min(done + 5, len(documents))

        await until(worked, "some work between two kills")
        await victim.kill()
    results = await stage.until_results(len(documents), seconds=90)
    await stage.until_committed()
    steady.signal(signal.SIGTERM)
    assert await steady.ended() == 0

    assert {result.status for result in results} == {"succeeded"}
    found = Counter((copy.document_id, copy.chunk_id) for copy in stored(stage.simulator))
    assert set(found) == set(chunk_ids(documents))
    assert all(copy.searchable for copy in stored(stage.simulator))


@pytest.mark.slow
async def test_who_stood_still_too_long_has_nothing_to_say(
    stage: Stage, documents: list[Json]
) -> None:
    """SIGSTOP beyond the session timeout, then SIGCONT: the group has given its partitions away.

    The answers that waited for it must not be settled: another instance has answered these events.
    """
    rule = held(stage)
    session = {"KAFKA_SESSION_TIMEOUT_SECONDS": "4"}
    frozen = await in_the_middle(stage, documents, **session)
    frozen.signal(signal.SIGSTOP)
    other = await stage.run(**session)
    await other.until_logged("assignment.received", seconds=60)
    await answered(stage, rule)
    await stage.until_results(len(documents), seconds=90)
    await stage.until_committed()

    # Not sooner: what it said before it stood still may be read a moment later.
    settled = len(frozen.logged("document.settled"))
    frozen.signal(signal.SIGCONT)
    expired = await frozen.until_logged("assignment.expired")
    await frozen.until_logged("assignment.received", 2)
    frozen.signal(signal.SIGTERM)
    other.signal(signal.SIGTERM)
    assert (await frozen.ended(), await other.ended()) == (0, 0)

    assert expired["stood_still_seconds"] > 3
    assert len(frozen.logged("document.settled")) == settled
    assert not frozen.logged("commit.refused")
    assert {result.status for result in await stage.results()} == {"succeeded"}
