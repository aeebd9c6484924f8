"""Replaying from a test: the operations behind the commands, on any stage."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from consumer.contract.exported_letter import encode_exported
from consumer.contract.received_letter import Letter
from consumer.kafka.groups import Member
from consumer.model.record import Record
from consumer.operations.letters.original import NoOriginal
from consumer.operations.letters.payloads import open_payloads
from consumer.operations.letters.selection import Selection
from consumer.operations.ports import KafkaAccess
from consumer.operations.replay.execution import RunOutcome, Tell
from consumer.operations.replay.planning import ReplayLook, ReplayRequest
from consumer.operations.replay.replay import plan_replay, resume_replay, start_replay
from consumer.operations.replay.run import ReplayRun
from consumer.settings import Settings
from tests.staging import header

OPERATOR = "tester@here"


class Operated(Protocol):
    """A stage, as far as an operator reaches."""

    settings: Settings

    @property
    def clients(self) -> KafkaAccess: ...


@dataclass(slots=True)
class Told:
    """What an operator was told.

    Args:
        at: what happens when so many letters are done, before anything else can.
    """

    at: Mapping[int, Callable[[], object]] = field(default_factory=dict)
    waited_for: list[str] = field(default_factory=list)
    runs: list[ReplayRun] = field(default_factory=list)
    done: int = 0

    def tell(self) -> Tell:
        return Tell(lambda done, total: None, self._waiting, self._began, self._done)

    def _waiting(self, members: tuple[Member, ...]) -> None:
        self.waited_for.extend(member.client_id for member in members)

    def _began(self, run: ReplayRun, look: ReplayLook) -> None:
        self.runs.append(run)

    def _done(self, more: int) -> None:
        self.done += more
        if (happens := self.at.get(self.done)) is not None:
            happens()


def a_request(**wanted: Any) -> ReplayRequest:
    """What to replay: everything, unless told otherwise."""
    return ReplayRequest(**({"selection": Selection()} | wanted))


async def plan(stage: Operated, **wanted: Any) -> ReplayLook:
    """What a run would do."""
    return await plan_replay(
        stage.settings, stage.clients, a_request(**wanted), lambda done, total: None
    )


async def replay(
    stage: Operated,
    *,
    settings: Settings | None = None,
    told: Told | None = None,
    operator: str = OPERATOR,
    **wanted: Any,
) -> RunOutcome:
    """A run from begin to end."""
    tell = (told or Told()).tell()
    request = a_request(**wanted)
    return await start_replay(
        settings or stage.settings,
        stage.clients,
        request,
        tell,
        operator=operator,
        rng=random.Random(),
    )


async def resume(stage: Operated, id: str, **wanted: Any) -> RunOutcome:
    """Go on with a run."""
    return await resume_replay(
        stage.settings,
        stage.clients,
        id,
        a_request(**wanted),
        Told().tell(),
        operator=OPERATOR,
        rng=random.Random(),
    )


async def replays(stage: Operated) -> list[Record]:
    """What lies on the replay topic."""
    topic = stage.settings.kafka.replay_topic
    return [record async for record in stage.clients.read_topic(topic)]


async def parked(stage: Operated) -> list[Record]:
    """What lies on the parked topic."""
    topic = stage.settings.kafka.parked_topic
    return [record async for record in stage.clients.read_topic(topic)]


def exported(records: Iterable[Record]) -> list[bytes]:
    """Dead letters as `dlq export` writes them."""
    return [encode_exported(record) for record in records]


def original_headers(record: Record) -> list[tuple[str, bytes]]:
    """A replay's headers without ours."""
    return [
        (name, value)
        for name, value in record.headers
        if not name.startswith(("dlq.", "__connect.errors."))
    ]


def letters_of(records: Iterable[Record]) -> list[str]:
    """The letters that replays were made of."""
    return [header(record, "dlq.letter") or "" for record in records]


async def payload_of(
    kafka: KafkaAccess, letter: Letter, topics: Collection[str] = ()
) -> Record | None:
    """The record of one letter; for a by-reference letter the original that it stands for."""
    async with open_payloads(kafka) as payloads:
        if not letter.by_reference:
            return await payloads.of(letter)
        original = await payloads.original_of(letter, topics)
        return None if isinstance(original, NoOriginal) else original
