"""A killing text and members of one group, over the service's own part of Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from aiokafka import TopicPartition

from consumer.kafka.kept_deaths import MARK
from consumer.model.record import Record
from consumer.sandbox.simulator import VectorDb
from tests.simulation.schedule import Setup
from tests.simulation.stage import DOCUMENTS, Stage, staged
from tests.tiers import quick_first
from tests.virtual.loop import soon, virtually

HOUR = 3600.0
MOST_KILLS = 5
KILLER = "of which the server dies"
SECONDS = 20.0
COMMITTED = 35.0  # members of the simulation that receive nothing commit every half minute


class Watch:
    """Keeps what was answered and lettered; nothing else is looked at."""

    def __init__(self) -> None:
        self.results: list[str] = []
        self.letters: list[str] = []

    def published(self, record: Record, value: Any) -> None: ...

    def committed(self, partition: TopicPartition, offset: int) -> None: ...

    def answered(self, owner: str, result: Any) -> None:
        self.results.append(result["status"])

    def lettered(self, headers: Mapping[str, str]) -> None:
        self.letters.append(headers["__connect.errors.exception.message"])

    def changing(self, owner: str, endpoint: str) -> None: ...

    def removed(self, slug: str, source: str, kept: int) -> None: ...

    def died(self, owner: str, error: BaseException) -> None:
        raise error


def _event(id: str, *texts: str) -> dict[str, Any]:
    chunks = [{"id": f"{id}_{n}", "content": text} for n, text in enumerate(texts)]
    page = {"id": id, "title": id, "technology": "docs", "source_url": f"https://x.example/{id}"}
    return {**page, "created_at": "2026-03-01", "chunks": chunks}


def _kills(stage: Stage) -> list[float]:
    return [entry["at"] for entry in stage.sim.journal.of("server.killed")]


def _metadata(stage: Stage) -> str:
    committed = stage.kafka.group.committed
    return "".join(committed[each].metadata for each in committed if each.topic == DOCUMENTS)


@pytest.mark.parametrize("front", quick_first([{}, {"gateway": True, "status": 503}]))
def test_the_count_goes_from_owner_to_owner_with_the_commit(front: dict[str, Any]) -> None:
    """One is killed, one stops in order, one comes and goes: five kills, over half an hour."""

    @virtually
    async def run() -> None:
        watch = Watch()
        async with staged(Setup(partitions=2), 1, watch) as stage:
            stage.sim.faults.add(
                "kill", path="*/raw-text", contains=KILLER, seconds=SECONDS, **front
            )
            stage.start("a")
            await asyncio.sleep(60)
            stage.write("doc", _event("doc", "one", f"two, {KILLER}", "three", "four"))
            await soon(lambda: len(_kills(stage)) >= 2, within=HOUR)
            await asyncio.sleep(COMMITTED)
            assert MARK in _metadata(stage)
            stage.crash("a")
            stage.start("b")
            await soon(lambda: len(_kills(stage)) >= 3, within=HOUR)
            await asyncio.sleep(COMMITTED)
            stage.start("c")  # both have partitions now, and nothing counts
            await asyncio.sleep(120)
            await stage.stop("b")
            await soon(lambda: len(_kills(stage)) >= 4, within=HOUR)
            stage.write("other", _event("other", "another document"))
            assert await stage.settled(2 * HOUR)

            kills = _kills(stage)
            assert len(kills) <= MOST_KILLS
            assert kills[-1] - kills[0] >= HOUR / 2
            assert sorted(watch.results) == ["partial", "succeeded"]
            (letter,) = watch.letters
            assert "died 5 times" in letter
            assert MARK not in _metadata(stage)
            texts = [text for _, text, copies in stage.sim.chunks("docs") if copies]
            assert sorted(texts) == ["another document", "four", "one", "three"]

    run()


@pytest.mark.slow
@virtually
async def test_while_two_share_the_partitions_nothing_falls() -> None:
    """Neither knows what the other has under way; kills are minutes apart, and it is said why."""
    watch = Watch()
    async with staged(Setup(partitions=2, vector_db=VectorDb.CHROMA), 1, watch) as stage:
        stage.sim.faults.add("kill", path="*/raw-text", contains=KILLER, seconds=SECONDS)
        stage.start("a")
        stage.start("b")
        await asyncio.sleep(60)
        stage.write("doc", _event("doc", "one", f"two, {KILLER}", "three", "four"))
        await asyncio.sleep(3 * HOUR)

        assert watch.results == []
        assert watch.letters == []
        assert 4 <= len(_kills(stage)) <= 10
