"""Members that the group loses without their knowing: cut off, thrown out, kept out by others."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.protocol.group import LeaveGroupRequest
from structlog.testing import capture_logs

from consumer.kafka.source import KafkaSource
from consumer.telemetry.metrics import PREFIX
from tests.integration.kafka_proxy import proxy_to
from tests.integration.kafka_support import delete
from tests.integration.service_fixtures import Running, Stage
from tests.staging import document, eventually, texts

CHUNKS = 2
SESSION = "6"  # seconds, which are waited for


async def publish(stage: Stage, count: int, name: str = "doc") -> None:
    for number in range(count):
        id = f"{name}-{number}"
        await stage.publish(document(id, texts(id, CHUNKS)))


def wanted(count: int, name: str = "doc") -> dict[str, list[str]]:
    return {f"{name}-{n}": sorted(texts(f"{name}-{n}", CHUNKS)) for n in range(count)}


def source_of(running: Running) -> KafkaSource:
    return running.service._source


def count_of(running: Running, name: str, **labels: str) -> float:
    registry = running.service._metrics.registry
    return registry.get_sample_value(f"{PREFIX}_{name}_total", labels) or 0.0


async def throw_out(running: Running) -> None:
    """Take it out of the group, as the group does with members it hears nothing of."""
    coordinator = source_of(running)._joined()._coordinator
    await coordinator._send_req(LeaveGroupRequest(coordinator.group_id, coordinator.member_id))


@pytest.mark.parametrize("silently", [True, False])
async def test_who_is_cut_off_from_the_group_has_nothing_to_say(
    stage: Stage, silently: bool
) -> None:
    """It runs, and AnythingLLM is well within its reach, but its heartbeats go nowhere.

    Before the group gives its partitions away it stops by its own clock. What it had, the other
    instance does: each chunk is uploaded once, each event answered once.
    """
    with capture_logs() as logs:
        async with proxy_to(stage.kafka.bootstrap_servers) as proxy:
            first = await stage.start(
                KAFKA_BOOTSTRAP_SERVERS=proxy.address, KAFKA_SESSION_TIMEOUT_SECONDS=SESSION
            )
            stage.simulator.faults.add("status", status=503, path="*/raw-text")
            await publish(stage, 12)
            await first.has_open(12)
            proxy.cut(silently=silently)
            commits = count_of(first, "commits")  # where it begins, but nothing of the events
            second = await stage.start(ready=False, KAFKA_SESSION_TIMEOUT_SECONDS=SESSION)
            await eventually(lambda: source_of(second).assigned)
            assert not source_of(first).assigned
            assert first.service.condition.ready()
            stage.simulator.faults.clear()
            await stage.wait_results(12)
            await stage.wait_committed()
            assert count_of(first, "commits") == commits
            proxy.mend()
            await eventually(lambda: source_of(first).assigned)
            await first.ready()
            await stage.stop()

    assert stage.stored() == wanted(12)
    assert stage.uploads() == 12 * CHUNKS
    assert len(stage.results) == 12
    assert count_of(first, "documents", status="succeeded") == 0
    # The second one waited for the first, which the group gives up after its session.
    (waiting,) = [entry for entry in logs if entry["event"] == "group.waiting"]
    assert (waiting["members"], waiting["dead_seconds"]) == (2, float(SESSION))
    (expired,) = [entry for entry in logs if entry["event"] == "assignment.expired"]
    assert expired["stood_still_seconds"] < 3 < expired["unheard_seconds"]


async def test_a_short_cut_changes_nothing(stage: Stage) -> None:
    """Shorter than the lease: what is in work is finished and committed by who has it."""
    with capture_logs() as logs:
        async with proxy_to(stage.kafka.bootstrap_servers) as proxy:
            first = await stage.start(KAFKA_BOOTSTRAP_SERVERS=proxy.address)
            stage.simulator.faults.add("status", status=503, path="*/raw-text")
            await publish(stage, 6)
            await first.has_open(6)
            proxy.cut()
            await eventually(lambda: source_of(first)._assignments.unheard_seconds > 1.5)
            proxy.mend()
            stage.simulator.faults.clear()
            await stage.wait_results(6)
            await stage.finish()

    assert stage.stored() == wanted(6)
    assert [entry for entry in logs if entry["event"] == "assignment.expired"] == []


async def test_who_was_thrown_out_does_not_drain(stage: Stage) -> None:
    """The group has gone on without it: it settles nothing of what it had, and joins anew."""
    with capture_logs() as logs:
        first = await stage.start()
        stage.simulator.faults.add("status", status=503, path="*/raw-text")
        await publish(stage, 6)
        await first.has_open(6)
        await throw_out(first)
        await eventually(lambda: count_of(first, "rebalances") >= 1)
        stage.simulator.faults.clear()
        await stage.wait_results(6)
        await stage.finish()

    lost = [entry for entry in logs if entry["event"] == "assignment.lost"]
    assert [entry["dropped"] for entry in lost] == [6]
    assert stage.stored() == wanted(6)
    assert stage.uploads() == 6 * CHUNKS


async def test_a_group_that_speaks_otherwise_is_told_and_waited_for(stage: Stage) -> None:
    """Thrown out, and others are in the group with another way to share: Kafka refuses us.

    aiokafka waits with such an error until somebody asks, also while our window is full.
    """
    with capture_logs() as logs:
        first = await stage.start(KAFKA_SESSION_TIMEOUT_SECONDS="20")
        await throw_out(first)
        intruder = AIOKafkaConsumer(
            stage.documents,
            bootstrap_servers=stage.kafka.bootstrap_servers,
            group_id=stage.settings.kafka.group_id,
            enable_auto_commit=False,
            partition_assignment_strategy=(RoundRobinPartitionAssignor,),
        )
        await intruder.start()
        try:
            await eventually(lambda: _said(logs, "source.failed", "InconsistentGroupProtocol"))
            assert any("group" in reason for reason in first.service.condition.ready())
            await publish(stage, 3)
        finally:
            await intruder.stop()
        await stage.wait_results(3)
        await first.ready()
        await stage.finish()

    assert stage.stored() == wanted(3)


def _said(logs: Sequence[Mapping[str, object]], event: str, text: str) -> bool:
    return any(entry["event"] == event and text in str(entry["error"]) for entry in logs)


async def test_a_deleted_topic_is_told_and_read_again_once_it_is_back(stage: Stage) -> None:
    """The service neither ends nor goes silent: not ready with the topic's name, then ready."""
    running = await stage.start()
    await publish(stage, 3, "before")
    await stage.wait_results(3)
    await delete(stage.connection, stage.documents)
    await eventually(
        lambda: any(stage.documents in reason for reason in running.service.condition.ready())
    )
    assert not running.task.done()
    await stage.create_topics("documents in")
    await publish(stage, 3, "after")
    await stage.wait_results(6)
    await running.ready()
    await stage.finish()

    assert stage.stored() == wanted(3, "before") | wanted(3, "after")


async def test_a_commit_for_a_deleted_topic_hides_nothing_of_the_next_one(stage: Stage) -> None:
    """Aiokafka would repeat it until the topic is made anew, and skip that one's first records."""
    running = await stage.start(KAFKA_COMMIT_INTERVAL_SECONDS="60")
    await publish(stage, 3, "before")
    await stage.wait_results(3)
    await delete(stage.connection, stage.documents)
    committing = asyncio.create_task(running.service._source.commit())
    await eventually(lambda: bool(running.service.condition.ready()))
    await stage.create_topics("documents in")
    await committing
    await publish(stage, 3, "after")
    await stage.wait_results(6)
    await running.stop()

    assert stage.stored() == wanted(3, "before") | wanted(3, "after")
    await stage.assert_all_committed()


async def test_records_larger_than_a_fetch_arrive(stage: Stage) -> None:
    """7 MB between small ones, in one partition and beside another: none is skipped."""
    large = ["large " * 150_000 + str(number) for number in range(8)]
    for partition in (0, 1):
        await stage.publish(document(f"before-{partition}", ["one"]), partition=partition)
        await stage.publish(document(f"large-{partition}", large), partition=partition)
        await stage.publish(document(f"behind-{partition}", ["one"]), partition=partition)
    await stage.start()
    results = await stage.wait_results(6)
    await stage.finish()

    assert {result["status"] for result in results} == {"succeeded"}
    assert all(len(stage.stored()[f"large-{partition}"]) == 8 for partition in (0, 1))
