"""Replay runs: one at a time, ended at any moment, and resumed. Kafka is in memory."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

import pytest

from consumer.kafka.connection import KafkaUnavailableError
from consumer.operations.letters.selection import Selection
from consumer.operations.replay import execution
from consumer.operations.replay.execution import ReplayStopped, RunOutcome
from consumer.operations.replay.replay import ReplayRefused
from consumer.operations.replay.run import RunProgress
from consumer.operations.replay.run_store import RunStore, list_runs, lock_group
from consumer.settings import Settings
from tests.doubles.kafka import MemoryKafka
from tests.doubles.kafka_clients import Killed, Line, MemoryClients
from tests.doubles.stage import MemoryStage
from tests.operations.conftest import MakeStage
from tests.operations.letters import by_reference, refused
from tests.operations.replaying import Told, letters_of, replay, replays, resume
from tests.staging import eventually, header


async def test_the_second_operator_is_refused_with_the_reason(stage: MemoryStage) -> None:
    """Who is at it, since which run, and from where; the first one goes on undisturbed."""
    await refused(stage, 9)
    at_work = Told()
    first = asyncio.create_task(replay(stage, told=at_work, rate=1.5, operator="alice@one"))
    await eventually(lambda: at_work.runs)
    told = Told()
    with pytest.raises(ReplayRefused, match=r"run \d{8}-\d{6}-\w{4} of alice@one, from 127"):
        await replay(stage, told=told, operator="bob@two")
    (report,) = await list_runs(stage.settings, stage.clients)
    so_far = at_work.done
    await eventually(lambda: at_work.done > so_far)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    done = await resume(stage, report.run.id, rate=1000.0)

    assert report.state == "running"
    assert len(told.waited_for) == 1
    assert told.runs == []
    assert done.progress.published == 9
    assert sorted(Counter(letters_of(await replays(stage))).values()) == [1] * 9


async def test_a_run_that_was_interrupted_goes_on(stage: MemoryStage) -> None:
    """By its id alone, with the filters it had; a letter that came meanwhile is none of its."""
    await refused(stage, 8)
    await refused(stage, 2, "OTHERS")
    told = Told(at={3: lambda: task.cancel()})
    chosen = Selection(text="refused-", reasons=frozenset({"rejected"}))
    task = asyncio.create_task(replay(stage, told=told, rate=10, selection=chosen))
    await asyncio.gather(task, return_exceptions=True)
    (run,) = told.runs
    (interrupted,) = await list_runs(stage.settings, stage.clients)
    await refused(stage, 1, "refused-9 REFUSED")
    done = await resume(stage, run.id, rate=1000.0)
    again = await resume(stage, run.id)
    (report,) = await list_runs(stage.settings, stage.clients)

    assert interrupted.state == "interrupted"
    assert interrupted.progress.published == 3
    assert (done.progress.published, done.progress.done) == (8, True)
    assert again.progress.done
    assert (report.state, report.run.selected, report.progress.published) == ("done", 8, 8)
    found = await replays(stage)
    assert sorted(Counter(letters_of(found)).values()) == [1] * 8
    assert {record.key for record in found} == {b"refused-%d" % number for number in range(8)}


async def test_runs_are_listed_by_the_moment_they_began(stage: MemoryStage) -> None:
    """Newest first, also those of one second, whose ids differ by chance."""
    await refused(stage, 6)
    await stage.stop()
    began = []
    for number in range(6):
        done = await replay(stage, selection=Selection(document=f"refused-{number}"))
        began.append(done.run)
    reports = await list_runs(stage.settings, stage.clients)

    assert [report.run for report in reports] == began[::-1]


async def test_what_was_published_and_not_committed_is_not_published_again(
    stage: MemoryStage,
) -> None:
    """As after a crash between the two: the run finds its own records on the replay topic."""
    await refused(stage, 4)
    await stage.stop()
    done = await replay(stage)
    assert done.run is not None
    async with stage.clients.admin() as admin:
        await RunStore(admin, stage.settings).save(done.run, RunProgress())
    before = await list_runs(stage.settings, stage.clients)
    resumed = await resume(stage, done.run.id)

    assert before[0].state == "interrupted"
    assert (resumed.progress.published, resumed.progress.done) == (4, True)
    assert len(await replays(stage)) == 4


@pytest.mark.parametrize(
    ("id", "told"),
    [("nonsense", "no run"), ("20260101-000000-0000", "there is no run")],
)
async def test_a_run_that_there_is_not_is_told(stage: MemoryStage, id: str, told: str) -> None:
    """Wrong usage, with the command that lists them."""
    with pytest.raises(ReplayRefused, match=f"{told}.*dlq runs") as refusal:
        await resume(stage, id)

    assert refusal.value.usage


async def test_filters_that_can_not_be_kept_are_refused_before_anything_is_done(
    stage: MemoryStage,
) -> None:
    """Kafka keeps 4 KiB beside an offset, and a run must be resumable by its id alone."""
    await refused(stage, 1)
    names = frozenset(
        [f"x-{n:040}" for n in range(200)] + [header(stage.dead_letters[0], "dlq.event-id") or ""]
    )
    with pytest.raises(ReplayRefused, match="too long") as refusal:
        await replay(stage, selection=Selection(events=names))

    assert refusal.value.usage
    assert await replays(stage) == []


# -- at whatever moment it ends --------------------------------------------------------------------


@dataclass(slots=True)
class Process:
    """An operator's process on a copy of a stage's Kafka: whatever it does, the stage stays."""

    settings: Settings
    kafka: MemoryKafka
    clients: MemoryClients

    def next(self) -> Process:
        """Another one on the same Kafka, which has noticed the end of the last one."""
        self.kafka.lose_members(lock_group(self.settings))
        return Process(self.settings, self.kafka, MemoryClients(self.kafka))

    async def carry_on(self) -> RunOutcome:
        """Resume the run that there is; begin one where there is none."""
        found = await list_runs(self.settings, MemoryClients(self.kafka))
        if not found:
            return await replay(self)
        return await resume(self, found[0].run.id)


@pytest.fixture
async def refused_five(make_stage: MakeStage) -> MemoryStage:
    """Five dead letters, between them one whose original is gone, and nobody at work."""
    stage = await make_stage(topics=False)
    stage.create_topics(partitions=1)
    await refused(stage, 3)
    await stage.stop()
    stage.kafka.create("elsewhere")
    stage.publish(b"an event that nobody has worked", topic="elsewhere")
    by_reference(stage, stage.everything("elsewhere")[0], timestamp_ms=1)
    await refused(stage, 2, "REFUSED-LATER")
    await stage.stop()
    return stage


End = Callable[..., None]
ENDS = (Killed, KafkaUnavailableError, ReplayStopped)


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two letters at once, and a commit after each step: as in a long run, with few letters."""
    monkeypatch.setattr(execution, "_AT_ONCE", 2)
    monkeypatch.setattr(execution, "_COMMIT_EVERY_SECONDS", 0.0)


def begun_on(stage: MemoryStage) -> Process:
    kafka = stage.kafka.copy()
    return Process(stage.settings, kafka, MemoryClients(kafka))


async def assert_each_once(process: Process, done: RunOutcome) -> None:
    """Every letter was replayed once but the one without its original, and the run knows it."""
    made_of = Counter(letters_of(await replays(process)))
    (report,) = await list_runs(process.settings, process.clients)
    assert (len(made_of), set(made_of.values())) == (5, {1})
    assert (done.progress.published, done.progress.all_skipped) == (5, 1)
    assert (report.state, report.run.selected, report.progress.published) == ("done", 6, 5)


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("done", [False, True], ids=["before it takes effect", "after it"])
@pytest.mark.parametrize("end", [Line.kill_at, Line.break_at], ids=["killed", "cut off"])
async def test_whatever_call_is_the_last_one_it_goes_on(
    refused_five: MemoryStage, end: End, done: bool
) -> None:
    """Killed or cut off at any moment: resumed by its id, each letter is replayed once."""
    for moment in count(1):
        process = begun_on(refused_five)
        end(process.clients.line, moment, done=done)
        try:
            await process.carry_on()
        except ENDS:
            process = process.next()
            await assert_each_once(process, await process.carry_on())
        else:
            break

    assert moment > 30


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("seed", range(8))
async def test_ended_again_and_again_it_gets_there(refused_five: MemoryStage, seed: int) -> None:
    """Every resumption may be the next to end, wherever it is."""
    rng = random.Random(seed)
    process, ended = begun_on(refused_five), 0
    while True:
        end = rng.choice((Line.kill_at, Line.break_at))
        end(process.clients.line, rng.randint(1, 45), done=rng.random() < 0.5)
        try:
            done = await process.carry_on()
        except ENDS:
            process, ended = process.next(), ended + 1
        else:
            break

    assert ended
    await assert_each_once(process.next(), done)


async def test_who_loses_the_lock_stops(stage: MemoryStage) -> None:
    """Nothing more is published: somebody else may be at it."""
    await refused(stage, 6)
    await stage.stop()
    told = Told(at={2: lambda: stage.kafka.lose_members(lock_group(stage.settings))})
    with pytest.raises(ReplayStopped, match="the lock was lost"):
        await replay(stage, told=told, rate=10)
    (run,) = told.runs
    published = len(await replays(stage))
    done = await resume(stage, run.id)

    assert published == 2
    assert (done.progress.published, done.progress.done) == (6, True)
    assert sorted(Counter(letters_of(await replays(stage))).values()) == [1] * 6


async def test_who_loses_the_lock_at_the_end_does_not_commit(stage: MemoryStage) -> None:
    """Everything is published, and another run may have begun: its progress stays as it was."""
    await refused(stage, 3)
    await stage.stop()
    told = Told(at={3: lambda: stage.kafka.lose_members(lock_group(stage.settings))})
    with pytest.raises(ReplayStopped, match="the lock was lost"):
        await replay(stage, told=told)
    (report,) = await list_runs(stage.settings, stage.clients)

    assert len(await replays(stage)) == 3
    assert (report.state, report.progress.published) == ("interrupted", 0)
