"""Replay runs as Kafka keeps them, and how their replays fared.

A run is a consumer group; `consumer.operations.replay.run` says what is in it. Kafka forgets it
7 days after its last commit, by default (the brokers' ``offsets.retention.minutes``).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from consumer.contract.received_letter import letter_of
from consumer.contract.received_result import read_result
from consumer.kafka.connection import KafkaUnavailableError
from consumer.kafka.group_lock import LockConfig
from consumer.kafka.groups import GroupOffset, Member
from consumer.kafka.offset_reset import OffsetRange
from consumer.model.origin import origin_of
from consumer.model.record import Coordinates, Record
from consumer.operations.letters.standing import ReplayedRecord, replayed_of
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
_WAITING, _NO_RESULT = "waiting", "no result"


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


def replay_lock(settings: Settings, client_id: str) -> LockConfig:
    """The lock of all that publishes to the replay topic: dead letters, lost or rebuilt documents.

    Args:
        settings: of the service.
        client_id: by which others see who holds it.
    """
    return LockConfig(
        group=lock_group(settings),
        topic=settings.kafka.dead_letters_topic,
        client_id=client_id,
        session_timeout=settings.kafka.session_timeout_seconds,
    )


@dataclass(frozen=True, slots=True)
class RunReport:
    """A run as it is shown.

    Args:
        run: its definition.
        progress: how far it is.
        state: whether it is at work.
        fared: how many of its replays have a result of each status; ``waiting`` is none yet, ``no
            result`` none, but a new letter.
        failed_again: how many of its replays became dead letters again, which are open.
    """

    run: ReplayRun
    progress: RunProgress
    state: RunState
    fared: Mapping[str, int]
    failed_again: int = 0

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
            "failed_again": self.failed_again,
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
        fates = await _fates(reader, settings, [run for run, _ in found])
    return [
        _report(run, progress, _state(run, progress, members), fates) for run, progress in found
    ]


def _report(
    run: ReplayRun, progress: RunProgress, state: RunState, fates: Iterable[_Fate]
) -> RunReport:
    own = [fate for fate in fates if fate.run == run.id]
    fared = Counter(fate.shown for fate in own)
    return RunReport(run, progress, state, fared, sum(fate.failed_again for fate in own))


def _state(run: ReplayRun, progress: RunProgress, members: Iterable[Member]) -> RunState:
    if progress.done:
        return "done"
    at_it = any(run.id in member.client_id for member in members)
    return "running" if at_it else "interrupted"


@dataclass(slots=True)
class _Fate:
    """What became of one replay.

    Args:
        run: its run's id.
        status: of its result; None is none yet.
        failed_again: whether its event is a dead letter once more.
    """

    run: str
    status: str | None = None
    failed_again: bool = False

    @property
    def shown(self) -> str:
        """The status of its result. An event whose id can't be read gets a letter and no result."""
        return self.status or (_NO_RESULT if self.failed_again else _WAITING)


async def _fates(
    reader: RecordReader, settings: Settings, runs: list[ReplayRun]
) -> Sequence[_Fate]:
    """What became of each replay of these runs."""
    found: dict[Coordinates, _Fate] = {}
    replays: dict[tuple[Coordinates | None, int], _Fate] = {}
    known = {run.id for run in runs}
    for topic in {run.replay_topic for run in runs}:
        starts = [run.replay_ends for run in runs if run.replay_topic == topic]
        async for replay in replays_since(reader, topic, starts):
            if replay.run in known:
                found[replay.at] = replays[replay.original, replay.number] = _Fate(replay.run)
    await _join_results(reader, settings.kafka.results_topic, found)
    if replays:
        letters = settings.kafka.dead_letters_topic
        # Letters that a run's replays became lie behind those that it read.
        ends = [run.ends if run.source == letters else {} for run in runs]
        await _join_letters(reader, letters, ends, replays)
    return tuple(found.values())


async def replays_since(
    reader: RecordReader, topic: str, starts: Iterable[Mapping[int, int]]
) -> AsyncIterator[ReplayedRecord]:
    """Every replay of a run behind the lowest of these offsets.

    Args:
        reader: of Kafka's topics.
        topic: the replay topic.
        starts: offsets by partition.
    """
    async for record in _records_since(reader, topic, starts):
        replay = replayed_of(record)
        if replay is not None and replay.run is not None:
            yield replay


async def _records_since(
    reader: RecordReader, topic: str, starts: Iterable[Mapping[int, int]]
) -> AsyncIterator[Record]:
    ranges = await reader.offset_ranges(topic) or {}
    starts = list(starts)
    wanted = {}
    for number, offsets in ranges.items():
        first = min((ends.get(number, 0) for ends in starts), default=0)
        wanted[number] = OffsetRange(max(first, offsets.start), offsets.end)
    async for record in reader.records(topic, wanted):
        yield record


async def _join_letters(
    reader: RecordReader,
    topic: str,
    starts: Iterable[Mapping[int, int]],
    replays: Mapping[tuple[Coordinates | None, int], _Fate],
) -> None:
    """Find the letters that came of replays: they tell the original, and how often it was tried."""
    async for record in _records_since(reader, topic, starts):
        origin = origin_of(record, is_replay=True)
        if (fate := replays.get((origin.at, origin.replays))) is not None:
            fate.failed_again = letter_of(record).is_ours


async def _join_results(
    reader: RecordReader, topic: str, replays: Mapping[Coordinates, _Fate]
) -> None:
    ranges = await reader.offset_ranges(topic) if replays else None
    topics = {place.topic.encode() for place in replays}
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
        if place in replays:
            replays[place].status = result.status
