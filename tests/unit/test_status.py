"""The status of the service as a whole: what its parts know, in one value. Nothing answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import TopicPartition

from consumer.anythingllm import AnythingLLMError
from consumer.app.service import Service
from consumer.kafka.lag import PartitionLag
from consumer.model.document import ProcessedDocument
from consumer.model.event import DocumentEvent, Event
from consumer.model.fault import Failure, Fault
from consumer.model.names import Identity, ServerName, Slug
from consumer.model.origin import Origin
from consumer.model.outcome import FailureReason
from consumer.pipeline.documents_in_work import DocumentInWork, Station
from consumer.pipeline.in_flight import InFlightBounds, InFlightLimit
from consumer.settings import load_settings
from consumer.telemetry.metrics import Metrics
from consumer.telemetry.recent import LatestResult
from tests.unit.pipeline.doubles import DAY, TRACE, document, record, version

DOWN = AnythingLLMError("connection refused, the key was CANARY-key", fault=Fault.THEIRS)
DOCS = Slug("docs")
LIMIT = InFlightLimit(InFlightBounds(1_000_000, 1), Metrics())


@pytest.fixture
def service() -> Service:
    return Service(load_settings({"ANYTHINGLLM_API_KEY": "CANARY-key"}))


@pytest.fixture
def two_servers(tmp_path: Path) -> Service:
    key = tmp_path / "key"
    key.write_text("CANARY-key", encoding="utf-8")
    listed = ", ".join(f"{name} http://{name}.invalid:1 {key}" for name in ("a", "b"))
    return Service(
        load_settings({"ANYTHINGLLM_ENDPOINTS": listed, "ANYTHINGLLM_ENDPOINTS_TRIAL": "true"})
    )


def seen(service: Service) -> Any:
    """The status as it is served."""
    service._page._kept_until = float("-inf")
    return orjson.loads(service._page.body())


async def in_work(
    service: Service, id: str, *, slug: Slug = DOCS, waits: bool = True, aside: bool = False
) -> DocumentInWork:
    """A document that is being planned, and waits."""
    made: ProcessedDocument = document(id, "one", "two")
    original = record(b"x" * 100, key=id.encode())
    event = Event(
        record=original,
        trace_id=TRACE,
        origin=Origin(original.at, original.timestamp_ms),
        document=made,
        identity=Identity(id),
        body=DocumentEvent(made, slug, Identity(id), version(1)),
        received_at=DAY,
    )
    place = await LIMIT.place()
    place.waits, place.is_aside = int(waits), aside
    one = service._in_work.enter(event, place, 0.0)
    one.station = Station.PLAN
    return one


def settled(identity: str, error: str) -> LatestResult:
    return LatestResult(
        at=DAY,
        status="failed",
        identity=identity,
        document_id=identity,
        workspace="docs",
        event_id=f"event-{identity}",
        chunks=2,
        failed=1,
        seconds=1.5,
        dead_letter=FailureReason.REJECTED,
        http_status=422,
        error=error,
    )


async def test_a_service_that_starts_says_so(service: Service) -> None:
    """Before there is a journey, an assignment or a sample."""
    status = seen(service)

    assert status["state"] == "starting"
    assert "still starting" in status["reasons"]
    assert status["service"]["group"] == "anythingllm-consumer"
    assert (status["partitions"], status["results"], status["rates"]) == ([], [], [])
    assert status["work"]["documents"] == 0
    assert status["servers"][0]["breaker"]["state"] == "closed"


async def test_an_open_breaker_and_who_waits_for_it(service: Service) -> None:
    """With the time to the next probe, and the error without the secret in it."""
    await in_work(service, "a")
    await in_work(service, "b", aside=True)
    await in_work(service, "c", waits=False)
    service._servers.clients[0].circuit_breaker.open(DOWN)
    status = seen(service)

    breaker = status["servers"][0]["breaker"]
    assert breaker["state"] == "open"
    assert breaker["last_error"] == "connection refused, the key was ***"
    assert 50 < breaker["trial_in"] <= 60
    (wait,) = status["work"]["waiting"]
    assert (wait["waits_for"], wait["documents"], wait["workspace"]) == ("breaker", 2, None)
    assert 50 < wait["trial_in"] <= 60
    assert (status["work"]["documents"], status["work"]["aside"]) == (3, 1)
    shown = [(each["identity"], each["waits_for"]) for each in status["work"]["oldest"]]
    assert shown == [("a", "breaker"), ("b", "breaker"), ("c", None)]
    assert status["work"]["oldest"][0]["bytes"] > 100


async def test_a_blown_fuse(service: Service) -> None:
    """The share of failures, and the time to the next trial."""
    fuse = service._servers.conditions(service._pipeline)[0].gates.fuse
    for _ in range(50):
        fuse.note(used_up=True)
    await in_work(service, "a")
    status = seen(service)

    assert status["servers"][0]["fuse"]["blown"] is True
    assert status["servers"][0]["fuse"]["share"] == 1.0
    assert 50 < status["servers"][0]["fuse"]["trial_in"] <= 60
    (wait,) = status["work"]["waiting"]
    assert (wait["waits_for"], wait["workspace"]) == ("fuse", None)


async def test_a_paused_workspace_and_the_others(service: Service) -> None:
    """What waits for it is told by workspace; others only pause before their next round."""
    (condition,) = service._servers.conditions(service._pipeline)
    pauses = condition.gates.pauses
    for _ in range(3):
        condition.gates.circuit.note(None)  # it does something for others
        if pauses.troubled(DOCS):
            pauses._begin_try(pauses._troubled[DOCS])
        pauses.failed(DOCS, Failure("wrong dimension"))
    await in_work(service, "a")
    await in_work(service, "b", slug=Slug("other"))
    status = seen(service)

    (paused,) = status["servers"][0]["workspaces"]
    assert (paused["workspace"], paused["error"]) == ("docs", "wrong dimension")
    waiting = {each["waits_for"]: each for each in status["work"]["waiting"]}
    assert waiting["workspace"]["workspace"] == "docs"
    assert waiting["workspace"]["trial_in"] == pytest.approx(paused["trial_in"], abs=5)
    assert waiting["next-round"]["workspace"] == "other"
    assert waiting["next-round"]["trial_in"] is None


async def test_partitions_with_their_lag_and_age(service: Service) -> None:
    """To the high watermark and to the last stable offset."""
    source = service._source
    partition = TopicPartition("documents.processed", 3)
    source._assignments.assigned([partition])
    source._behind = {partition: PartitionLag(20, 23, 5, 18)}
    source._assignments.by_partition[partition].ledger.receive(7, source._clock() - 30)
    (found,) = seen(service)["partitions"]

    assert (found["topic"], found["partition"]) == ("documents.processed", 3)
    assert (found["lag"], found["stable_lag"], found["open"]) == (23, 18, 1)
    assert found["oldest_seconds"] == pytest.approx(30, abs=5)


async def test_totals_are_of_all_partitions(service: Service) -> None:
    """Also of those that are left out, for which a list of two hundred has no room."""
    source = service._source
    partitions = [TopicPartition("documents.processed", number) for number in range(250)]
    source._assignments.assigned(partitions)
    source._behind = {each: PartitionLag(20, 23, 5, 18) for each in partitions}
    source._assignments.by_partition[partitions[-1]].ledger.receive(7, source._clock() - 30)
    status = seen(service)

    assert len(status["partitions"]) == 200
    totals = status["totals"]
    assert (totals["partitions"], totals["open"]) == (250, 1)
    assert (totals["lag"], totals["stable_lag"]) == (250 * 23, 250 * 18)
    assert totals["oldest_seconds"] == pytest.approx(30, abs=5)

    del source._behind[partitions[-1]]
    assert seen(service)["totals"]["lag"] is None


async def test_results_and_open_causes(service: Service) -> None:
    """The latest first; a secret that a server repeated is masked there as well."""
    for identity in ("a", "b"):
        service._recent.settled(settled(identity, "422: CANARY-key is too long"))
    status = seen(service)

    assert [each["identity"] for each in status["results"]] == ["b", "a"]
    assert status["letters"]["open"] == 2
    (cause,) = status["letters"]["causes"]
    assert (cause["reason"], cause["letters"], cause["document"]) == ("rejected", 2, "b")
    assert cause["message"] == "422: *** is too long"


async def test_nothing_that_is_secret_is_in_it(two_servers: Service, service: Service) -> None:
    """Neither of the settings nor of what else it shows."""
    for each in (two_servers, service):
        each._servers.clients[0].circuit_breaker.open(DOWN)
        await in_work(each, "CANARY-key")
        each._recent.settled(settled("CANARY-key", "CANARY-key"))
        assert "CANARY" not in str(seen(each))


async def test_several_servers_are_told_apart(two_servers: Service) -> None:
    """What waits for one of them, and what has no home."""
    pipeline = two_servers._pipeline
    homes: Any = pipeline.homes  # type: ignore[union-attr]
    homes._residences.found(DOCS, ServerName("b"))
    two_servers._servers.clients[1].circuit_breaker.open(DOWN)
    await in_work(two_servers, "a")
    status = seen(two_servers)

    assert [each["name"] for each in status["servers"]] == ["a", "b"]
    assert [each["breaker"]["state"] for each in status["servers"]] == ["closed", "open"]
    (wait,) = status["work"]["waiting"]
    assert (wait["waits_for"], wait["server"]) == ("breaker", "b")


async def test_looking_costs_little_however_much_waits(service: Service) -> None:
    """Ten thousand documents aside: each is counted, fifty are shown."""
    for n in range(10_000):
        await in_work(service, f"d{n}", aside=True)
    status = seen(service)

    assert status["work"]["aside"] == 10_000
    assert len(status["work"]["oldest"]) == 50
    assert status["work"]["waiting"][0]["documents"] == 10_000
