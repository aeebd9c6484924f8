"""Replay runs as Kafka keeps them, and how their replays fared.

A run is a consumer group; `consumer.operations.replay.run` says what is in it. Kafka forgets it
7 days after its last commit, by default (the brokers' ``offsets.retention.minutes``).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from consumer.contract.received_result import read_result
from consumer.kafka.connection import KafkaUnavailableError
from consumer.kafka.groups import GroupOffset, Member
from consumer.kafka.offset_reset import OffsetRange
from consumer.model.record import Coordinates
from consumer.operations.letters.standing import replayed_of
from consumer.operations.ports import ClusterAdmin, KafkaAccess, RecordReader
from consumer.operations.replay.run import (
    Commit,
    NoRunError,
    ReplayRun,
    RunProgress,
    commits_of,
    is_run_id,
    run_in,
)
from consumer.settings import Settings

RunState = Literal["running", "interrupted", "done"]

_COMMIT_SECONDS = 15.0


class RunStore:
    """Keeps each run in a consumer group of its own.

    Args:
        admin: of Kafka's groups.
        settings: the names of the groups begin with that of the service.
    """

    def __init__(self, admin: ClusterAdmin, settings: Settings) -> None:
        self._admin = admin
        self._prefix = run_prefix(settings)

    async def save(
        self, run: ReplayRun, progress: RunProgress, *, everything: bool = False
    ) -> None:
        """Commit the progress of a run.

        Args:
            run: its definition.
            progress: how far it is.
            everything: also what never changes; that has to be committed once.

        Raises:
            KafkaUnavailableError: it is not committed.
            RunTooLongError: the run's selection is too long to be kept.
        """
        commits = commits_of(run, progress, everything=everything)
        places = {at: GroupOffset(commit.offset, commit.text) for at, commit in commits.items()}
        try:
            async with asyncio.timeout(_COMMIT_SECONDS):
                await self._admin.commit(self._prefix + run.id, places)
        except TimeoutError:
            raise KafkaUnavailableError("the run's progress could not be committed") from None

    async def load(self, id: str) -> tuple[ReplayRun, RunProgress] | None:
        """The run of that id, or None where there is none (any more)."""
        places = await self._admin.places(self._prefix + id) if is_run_id(id) else {}
        if not places:
            return None
        try:
            return run_in({at: Commit(place.offset, place.text) for at, place in places.items()})
        except NoRunError:
            return None

    async def all(self) -> list[tuple[ReplayRun, RunProgress]]:
        """All runs, newest first."""
        names = await self._admin.groups(self._prefix)
        ids = [name.removeprefix(self._prefix) for name in names]
        every = [found for id in ids if (found := await self.load(id)) is not None]
        # Not by the id, which has seconds only: two runs can begin within one.
        return sorted(every, key=lambda found: found[0].started_at, reverse=True)


def run_prefix(settings: Settings) -> str:
    """What the names of the runs' consumer groups begin with."""
    return f"{settings.kafka.group_id}-replay-"


def lock_group(settings: Settings) -> str:
    """The consumer group whose only member may replay."""
    return f"{settings.kafka.group_id}-replay"


@dataclass(frozen=True, slots=True)
class RunReport:
    """A run as it is shown.

    Args:
        run: its definition.
        progress: how far it is.
        state: whether it is at work.
        fared: how many of its replays have a result of each status; ``waiting`` is none yet.
    """

    run: ReplayRun
    progress: RunProgress
    state: RunState
    fared: Mapping[str, int]

    def as_object(self) -> dict[str, Any]:
        """The run for scripts."""
        run, progress = self.run, self.progress
        return {
            "run": run.id,
            "started_at": run.started_at,
            "operator": run.operator,
            "state": self.state,
            "source": run.file.path if run.file else run.source,
            "selected": run.selected,
            "published": progress.published,
            "parked": progress.parked,
            "skipped": progress.all_skipped,
            "skipped_because": dict(progress.skipped),
            "results": dict(self.fared),
        }


async def list_runs(settings: Settings, kafka: KafkaAccess) -> list[RunReport]:
    """All runs that Kafka still knows, newest first.

    Raises:
        KafkaUnavailableError: Kafka can't be reached or refuses.
    """
    async with kafka.admin() as admin:
        found = await RunStore(admin, settings).all()
        members = await admin.members(lock_group(settings)) if found else []
    if not found:
        return []
    async with kafka.reader() as reader:
        fared = await _fared(reader, settings, [run for run, _ in found])
    return [
        RunReport(run, progress, _state(run, progress, members), fared[run.id])
        for run, progress in found
    ]


def _state(run: ReplayRun, progress: RunProgress, members: Iterable[Member]) -> RunState:
    if progress.done:
        return "done"
    at_it = any(run.id in member.client_id for member in members)
    return "running" if at_it else "interrupted"


async def _fared(
    reader: RecordReader, settings: Settings, runs: list[ReplayRun]
) -> dict[str, Mapping[str, int]]:
    """For each run by its id, how many of its replays have a result of each status."""
    statuses: dict[Coordinates, tuple[str, str]] = {}  # run and status by place
    known = {run.id for run in runs}
    for topic in {run.replay_topic for run in runs}:
        starts = [run.replay_ends for run in runs if run.replay_topic == topic]
        async for place, run_id, _letter in replays_since(reader, topic, starts):
            if run_id in known:
                statuses[place] = (run_id, "waiting")
    await _join_results(reader, settings.kafka.results_topic, statuses)
    return {id: dict(Counter(s for run, s in statuses.values() if run == id)) for id in known}


async def replays_since(
    reader: RecordReader, topic: str, starts: Iterable[Mapping[int, int]]
) -> AsyncIterator[tuple[Coordinates, str, str | None]]:
    """Every replay behind the lowest of these offsets.

    Args:
        reader: of Kafka's topics.
        topic: the replay topic.
        starts: offsets by partition.

    Yields:
        Its place, its run's id, and the place of its letter as text.
    """
    ranges = await reader.offset_ranges(topic) or {}
    starts = list(starts)
    wanted = {}
    for number, offsets in ranges.items():
        first = min((ends.get(number, 0) for ends in starts), default=0)
        wanted[number] = OffsetRange(max(first, offsets.start), offsets.end)
    async for record in reader.records(topic, wanted):
        replay = replayed_of(record)
        if replay is not None and replay.run is not None:
            yield replay.at, replay.run, replay.letter


async def _join_results(
    reader: RecordReader, topic: str, statuses: dict[Coordinates, tuple[str, str]]
) -> None:
    ranges = await reader.offset_ranges(topic) if statuses else None
    topics = {place.topic.encode() for place in statuses}
    async for record in reader.records(topic, ranges or {}):
        value = record.value or b""
        if not any(name in value for name in topics):
            continue  # parsing takes most of the time, and most results answer no replay
        try:
            result = read_result(value)
        except ValueError:
            continue
        source = result.source
        place = Coordinates(source.topic, source.partition, source.offset)
        if place in statuses:
            statuses[place] = (statuses[place][0], result.status)
