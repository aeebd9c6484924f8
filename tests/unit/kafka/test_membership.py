"""What is used of aiokafka's inside is there, and means what we take it for."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.protocol.commit import OffsetCommitRequest

from consumer.kafka.membership import hear_heartbeats, thrown_out


class Coordinator:
    """A coordinator that answers heartbeats as told, each after 3 seconds."""

    def __init__(self, clock: list[float], *answers: bool) -> None:
        self._clock = clock
        self._answers: Iterator[bool] = iter(answers)
        self.generation = 7

    async def _do_heartbeat(self) -> bool:
        self._clock[0] += 3.0
        return next(self._answers)


async def test_a_heartbeat_that_counts_us_in_is_told_with_the_time_of_its_question() -> None:
    """One that failed or was refused proves nothing; the coordinator gets its answer as before."""
    clock = [100.0]
    coordinator = Coordinator(clock, True, False, True)
    told: list[float] = []
    hear_heartbeats(SimpleNamespace(_coordinator=coordinator), told.append, lambda: clock[0])

    assert [await coordinator._do_heartbeat() for _ in range(3)] == [True, False, True]
    assert told == [100.0, 106.0]


def test_who_has_no_generation_was_thrown_out() -> None:
    """Aiokafka forgets it when the group refuses a heartbeat or a commit."""
    coordinator = Coordinator([0.0])
    consumer = SimpleNamespace(_coordinator=coordinator)
    before = thrown_out(consumer)
    coordinator.generation = OffsetCommitRequest.DEFAULT_GENERATION_ID

    assert (before, thrown_out(consumer)) == (False, True)


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        (GroupCoordinator._do_heartbeat, ["self"]),
        (GroupCoordinator.commit_offsets, ["self", "assignment", "offsets"]),
        (GroupCoordinator.request_rejoin, ["self"]),
        (AIOKafkaClient.force_metadata_update, ["self"]),
        (AIOKafkaConsumer.partitions_for_topic, ["self", "topic"]),
    ],
)
def test_aiokafka_still_has_what_we_reach_for(method: object, arguments: list[str]) -> None:
    """A new version that moved one of these must not turn the proof of contact off silently."""
    assert callable(method)
    assert list(inspect.signature(method).parameters) == arguments


def test_aiokafka_still_calls_the_heartbeat_by_its_name() -> None:
    """What replaces it on the object is only called because its loop looks it up there."""
    assert "self._do_heartbeat()" in inspect.getsource(GroupCoordinator._heartbeat_routine)
    assert "self.generation = " in inspect.getsource(GroupCoordinator.reset_generation)
    assert "self.member_id = " in inspect.getsource(GroupCoordinator.reset_generation)
