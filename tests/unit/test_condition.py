"""What the probes say of the service, state by state: alive, ready, degraded, and in a word."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from consumer.anythingllm import AnythingLLMError
from consumer.app.condition import Condition
from consumer.app.joining import Joining, JoiningBounds
from consumer.app.service import Service
from consumer.app.starting import Starting
from consumer.kafka.groups import Member
from consumer.model.fault import Fault
from consumer.model.names import Slug
from consumer.pipeline.index import Index
from consumer.settings import load_settings

POLL_LIMIT = 100.0


@dataclass
class Source:
    """The Kafka source as the probes see it: in the group, with partitions that are placed."""

    joined: bool = True
    assigned: bool = True
    placed: bool = True
    starved_seconds: float = 0.0
    held: list[str] = field(default_factory=list)

    def held_back(self) -> list[str]:
        return self.held


@dataclass
class Publisher:
    trouble: str | None = None


@dataclass
class Journey:
    polling: float = 0.0

    def polling_for(self) -> float:
        return self.polling


class Scene:
    """A service at work, with nothing wrong; breaker and gates are real."""

    def __init__(self) -> None:
        service = Service(load_settings({"ANYTHINGLLM_API_KEY": "k"}))
        self.stop = asyncio.Event()
        self.source, self.publisher, self.journey = Source(), Publisher(), Journey()
        self.starting = Starting(self.stop, fail_fast=False, rng=random.Random(1))
        self.servers = service._servers.conditions(service._pipeline)
        self.metrics = service._metrics
        parts: dict[str, Any] = {"source": self.source, "publisher": self.publisher}
        self.waiting_members = 0
        self.joining = Joining(
            lambda: not self.source.joined, self.awaited, JoiningBounds(45, 300), lambda: self.now
        )
        self.now = 0.0
        self.condition = Condition(
            stop=self.stop,
            joining=self.joining,
            starting=self.starting,
            servers=self.servers,
            metrics=self.metrics,
            poll_limit=POLL_LIMIT,
            **parts,
        )
        self.at_work(self.journey)

    def at_work(self, journey: Journey | None) -> None:
        made: Any = journey
        self.condition.journey = made

    async def awaited(self) -> list[Member]:
        return [Member("anythingllm-consumer", f"10.0.0.{n}") for n in range(self.waiting_members)]

    def fail(self) -> None:
        """A request to AnythingLLM, while a document is in work."""
        self.metrics.documents_in_flight.set(1)
        late = AnythingLLMError("POST /v1/x: no complete answer within 30.0 s", fault=Fault.THEIRS)
        self.servers[0].gates.note(late)

    def blow_fuse(self) -> None:
        for _ in range(50):
            self.servers[0].gates.fuse.note(used_up=True)

    def open_breaker(self) -> None:
        self.servers[0].client.circuit_breaker.open(
            AnythingLLMError("nobody is there", fault=Fault.THEIRS)
        )


def _starting(scene: Scene) -> None:
    scene.at_work(None)
    scene.source.joined = scene.source.assigned = False
    scene.starting._waits_for = "Kafka: no broker answers"


def _assigned(scene: Scene) -> None:
    """Nothing is wrong."""


def _standing_by(scene: Scene) -> None:
    scene.source.assigned = False


def _rebalancing(scene: Scene) -> None:
    scene.source.joined = scene.source.assigned = scene.source.placed = False


def _being_placed(scene: Scene) -> None:
    scene.source.placed = False


def _breaker_open(scene: Scene) -> None:
    scene.open_breaker()
    scene.metrics.documents_waiting.set(7)


def _first_time_out(scene: Scene) -> None:
    scene.fail()


def _time_outs(scene: Scene) -> None:
    scene.fail()
    scene.fail()


def _time_out_of_work_that_went_elsewhere(scene: Scene) -> None:
    scene.fail()
    scene.metrics.documents_in_flight.set(0)


def _time_out_and_an_answer(scene: Scene) -> None:
    scene.fail()
    scene.servers[0].gates.note(None)


def _fuse_blown(scene: Scene) -> None:
    scene.blow_fuse()


def _draining(scene: Scene) -> None:
    scene.stop.set()


def _kafka_gone(scene: Scene) -> None:
    scene.condition.kafka_trouble = "no broker answers at localhost:9092"


def _dead_letters_unwritable(scene: Scene) -> None:
    scene.publisher.trouble = "documents.processed.dlq: not authorised to write"


def _transaction_hangs(scene: Scene) -> None:
    scene.source.held.append("documents.processed-0 at offset 7 for 80 s")


def _poll_stuck(scene: Scene) -> None:
    scene.journey.polling = POLL_LIMIT + 61


def _poll_in_a_rebalance(scene: Scene) -> None:
    scene.journey.polling = POLL_LIMIT


def _starved(scene: Scene) -> None:
    scene.source.starved_seconds = 301.0


@pytest.mark.parametrize(
    ("happens", "state", "reason", "worry"),
    [
        (_starting, "starting", "waiting for Kafka: no broker answers", None),
        (_assigned, "ready", None, None),
        (_standing_by, "degraded", None, "it stands by"),
        (_rebalancing, "not ready", "not in the consumer group", None),
        (_being_placed, "not ready", "where the partitions begin", None),
        (_breaker_open, "degraded", None, "the breaker is open"),
        (_first_time_out, "degraded", None, "the last request failed: POST /v1/x: no complete"),
        (_time_outs, "degraded", None, "the last 2 requests failed: POST /v1/x: no complete"),
        (_time_out_of_work_that_went_elsewhere, "ready", None, None),
        (_time_out_and_an_answer, "ready", None, None),
        (_fuse_blown, "not ready", "most documents fail", None),
        (_draining, "draining", "draining", None),
        (_kafka_gone, "not ready", "Kafka: no broker answers", None),
        (_dead_letters_unwritable, "not ready", "documents.processed.dlq: not authorised", None),
        (_transaction_hangs, "degraded", None, "documents.processed-0 at offset 7"),
        (_poll_in_a_rebalance, "ready", None, None),
        (_poll_stuck, "not alive", "a poll has taken", None),
        (_starved, "not alive", "none was received", None),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
async def test_a_state_is_told_with_its_reason(
    happens: Callable[[Scene], None], state: str, reason: str | None, worry: str | None
) -> None:
    """Not ready where no work can be done, degraded where it waits by itself.

    Only what a restart would help is not alive: no outage of others is.
    """
    scene = Scene()
    happens(scene)
    condition, report = scene.condition, scene.condition.report()

    assert report.state == state
    assert [*condition.alive(), *condition.ready()] == list(report.reasons)
    assert list(report.worries) == condition.degraded()
    assert bool(condition.alive()) == (state == "not alive")
    assert bool(condition.ready()) == (state in ("starting", "not ready", "draining"))
    assert (reason or "") in " ".join(report.reasons)
    assert (worry or "") in " ".join(report.worries)
    assert bool(report.worries) == (state == "degraded")


async def test_a_member_that_is_waited_for_is_a_reason_with_its_bound() -> None:
    """Joining takes as long as the group waits for one that died: nobody has to guess."""
    scene = Scene()
    _rebalancing(scene)
    scene.waiting_members = 3
    for scene.now in (0.0, 3.0):
        await scene.joining._look()

    assert scene.condition.ready()[0] == (
        "not in the consumer group: the group waits for 3 members to join anew: for one that has"
        " died at most 45 s (KAFKA_SESSION_TIMEOUT_SECONDS), for one that finishes its work at"
        " most 300 s"
    )


async def test_the_worst_is_the_word_for_all() -> None:
    """And everything is told, whatever comes first."""
    scene = Scene()
    for happens in (_breaker_open, _kafka_gone, _draining, _starved):
        happens(scene)
    report = scene.condition.report()

    assert report.state == "not alive"
    assert len(report.reasons) == 3
    assert "documents that wait for AnythingLLM: 7" in report.worries


async def test_lost_documents_are_named_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ready and empty is what nobody notices at night."""
    scene = Scene()
    monkeypatch.setattr(Index, "lost", property(lambda self: {Slug("docs"): 27}))

    assert scene.condition.ready() == []
    assert scene.condition.degraded() == [
        "workspace docs lost 27 documents: `audit --republish` brings them back"
    ]
