"""Replaying dead letters, as a run that can be stopped at any moment and resumed.

What is always true:

- There is one run at a time (`consumer.kafka.group_lock`).
- A replay that was published and not committed is found again on the replay topic by its run's id,
  and is not published twice.
- Letters are judged when the run begins, and again when it is resumed. A letter that became stale,
  resolved or parked meanwhile is left.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime

from consumer.kafka.group_lock import TakenError
from consumer.kafka.groups import Member
from consumer.operations.ports import KafkaAccess, RecordReader
from consumer.operations.progress import Progress
from consumer.operations.replay.execution import (
    ReplayRoom,
    RunningReplay,
    RunOutcome,
    Tell,
)
from consumer.operations.replay.plan import ReplayPlan
from consumer.operations.replay.planning import ReplayLook, ReplayPlanner, ReplayRequest
from consumer.operations.replay.run import (
    ReplayRun,
    RunFile,
    RunProgress,
    RunTooLongError,
    is_run_id,
    run_id,
)
from consumer.operations.replay.run_log import RunLog
from consumer.operations.replay.run_store import RunStore, replay_lock, replays_since
from consumer.settings import Settings


class ReplayRefused(Exception):
    """The run is not begun, or does not go on; the message says why and what to do.

    Args:
        message: for a person.
        usage: whether the command line asked for something that can't be.
    """

    def __init__(self, message: str, *, usage: bool = False) -> None:
        super().__init__(message)
        self.usage = usage


async def plan_replay(
    settings: Settings, kafka: KafkaAccess, request: ReplayRequest, reading: Progress
) -> ReplayLook:
    """What a run would do now. Changes nothing.

    Raises:
        KafkaUnavailableError: Kafka can't be reached, or a topic is missing.
        WrongFileError: the file holds something else than exported letters.
    """
    async with kafka.admin() as admin, kafka.reader() as reader:
        return await ReplayPlanner(settings, kafka, reader, admin, reading).look(request)


async def start_replay(
    settings: Settings,
    kafka: KafkaAccess,
    request: ReplayRequest,
    tell: Tell,
    *,
    operator: str,
    rng: random.Random,
) -> RunOutcome:
    """Begin a run and carry it to its end.

    Args:
        settings: name the topics.
        kafka: opened for all that a run needs.
        request: what to replay.
        tell: see there.
        operator: ``name@host``.
        rng: for the run's id, and for the waits of runs that are started at once.

    Raises:
        ReplayRefused: another run is at work, or this one would do harm.
        ReplayStopped: it ended before its end.
        KafkaUnavailableError: Kafka can't be reached, or a topic is missing.
        WrongFileError: the file holds something else than exported letters.
    """
    now = datetime.now(UTC)
    id = run_id(now, rng.getrandbits(16))
    async with _room(settings, kafka, id, operator=operator, tell=tell, rng=rng) as room:
        look = await room.planner.look(request)
        if look.refused:
            raise ReplayRefused("; ".join(look.refused))
        if not look.plan.to_do:
            RunLog(id, operator=operator).left(look.plan)
            return RunOutcome(look, None, RunProgress(done=True))
        run = _run_of(settings, id, now, operator=operator, request=request, look=look)
        progress = RunProgress()
        for each in look.plan.left:
            progress = progress.left(each.verdict.value)
        try:
            await room.store.save(run, progress, everything=True)
        except RunTooLongError as error:
            problem = (
                f"the filters are too long to be kept with the run ({error}); use shorter ones"
            )
            raise ReplayRefused(problem, usage=True) from None
        RunLog(id, operator=operator).started(run.selected)
        return await RunningReplay(settings, room, run, progress, request, tell).carry_out(look)


async def resume_replay(
    settings: Settings,
    kafka: KafkaAccess,
    id: str,
    request: ReplayRequest,
    tell: Tell,
    *,
    operator: str,
    rng: random.Random,
) -> RunOutcome:
    """Go on with a run that was interrupted. A run that is done stays as it is.

    Args:
        settings: name the topics.
        kafka: opened for all that a run needs.
        id: of the run.
        request: only `lines`, `path`, `rate` and `despite_missing_results` count; all else is as it
            was when the run began.
        tell: see there.
        operator: ``name@host`` of who resumes it.
        rng: for the waits of runs that are started at once.

    Raises:
        ReplayRefused: there is no such run, another one is at work, or it would do harm.
        ReplayStopped: it ended before its end.
        KafkaUnavailableError: Kafka can't be reached, or a topic is missing.
        WrongFileError: the file holds something else than exported letters.
    """
    if not is_run_id(id):
        raise ReplayRefused(f"{id!r} is no run; `dlq runs` lists them", usage=True)
    async with _room(settings, kafka, id, operator=operator, tell=tell, rng=rng) as room:
        found = await room.store.load(id)
        if found is None:
            raise ReplayRefused(f"there is no run {id} by now; `dlq runs` lists them", usage=True)
        run, progress = found
        if progress.done:
            return RunOutcome(
                ReplayLook(ReplayPlan(), run.source, run.ends, run.replay_ends, 0), run, progress
            )
        request = replace(
            request,
            selection=run.selection,
            from_parked=run.from_parked,
            force=run.force,
            include_hopeless=not run.leaves_hopeless,
            rate=request.rate or run.rate,
            despite_missing_results=request.despite_missing_results or run.despite_missing_results,
        )
        published = await _published(room.reader, run)
        within = {n: (progress.next.get(n, 0), end) for n, end in run.ends.items()}
        look = await room.planner.look(request, within, published)
        if run.file is not None and look.file_sha256 != run.file.sha256:
            raise ReplayRefused(f"the file {run.file.path} is not what it was when the run began")
        if look.refused:
            raise ReplayRefused("; ".join(look.refused))
        # Replays that were acknowledged and not committed count as well.
        progress = replace(progress, published=max(progress.published, len(published)))
        RunLog(id, operator=operator).started(run.selected, resumed=True)
        running = RunningReplay(settings, room, run, progress, request, tell, operator)
        return await running.carry_out(look)


async def file_of_run(settings: Settings, kafka: KafkaAccess, id: str) -> RunFile | None:
    """The file that a run takes its letters from; None for a topic, or where there is no such run.

    Raises:
        KafkaUnavailableError: Kafka can't be reached.
    """
    async with kafka.admin() as admin:
        found = await RunStore(admin, settings).load(id)
    return found[0].file if found is not None else None


@asynccontextmanager
async def _room(
    settings: Settings,
    kafka: KafkaAccess,
    id: str,
    *,
    operator: str,
    tell: Tell,
    rng: random.Random,
) -> AsyncIterator[ReplayRoom]:
    config = replay_lock(settings, f"dlq-replay.{id}.{operator}")
    try:
        async with (
            kafka.lock(config, waiting=tell.waiting, rng=rng) as lock,
            kafka.admin() as admin,
            kafka.reader() as reader,
        ):
            planner = ReplayPlanner(settings, kafka, reader, admin, tell.reading)
            yield ReplayRoom(kafka, admin, reader, RunStore(admin, settings), lock, planner)
    except TakenError as error:
        raise ReplayRefused(
            f"another replay is at work: {holders_of(error.holders)}. Two at once would replay "
            "letters twice; wait for it or stop it (`dlq runs` shows how far it is)"
        ) from None


def holders_of(members: tuple[Member, ...]) -> str:
    """Who holds the lock, for a person."""
    return "; ".join(_holder(member) for member in members) or "somebody"


def _holder(member: Member) -> str:
    _, _, rest = member.client_id.partition(".")
    id, _, operator = rest.partition(".")
    who = f"run {id} of {operator}" if is_run_id(id) and operator else member.client_id
    return f"{who}, from {member.host}"


async def _published(reader: RecordReader, run: ReplayRun) -> frozenset[str]:
    """Places of the letters that the run has published."""
    found = replays_since(reader, run.replay_topic, [run.replay_ends])
    return frozenset([each.letter async for each in found if each.run == run.id and each.letter])


def _run_of(
    settings: Settings,
    id: str,
    now: datetime,
    *,
    operator: str,
    request: ReplayRequest,
    look: ReplayLook,
) -> ReplayRun:
    return ReplayRun(
        id=id,
        started_at=now,
        operator=operator,
        source=look.source,
        ends=look.ends,
        replay_topic=settings.kafka.replay_topic,
        replay_ends=look.replay_ends,
        selection=request.selection,
        from_parked=request.from_parked,
        force=request.force,
        leaves_hopeless=not request.include_hopeless,
        despite_missing_results=request.despite_missing_results,
        rate=request.rate,
        selected=look.plan.to_do + len(look.plan.left),
        file=RunFile(request.path, look.file_sha256) if request.lines is not None else None,
    )
