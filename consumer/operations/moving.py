"""Moving a workspace from one of several servers to another: a command, never a side effect.

AnythingLLM does not give texts back, so they come from the events. Document by document: stored and
proven on the new server, then removed from the old one. What always holds:

- Nothing of the service is at work meanwhile: the consumer group has no members, and every server
  keeps a mark that the workspace is being moved, from before the first step until after the last.
  An instance that is started lets its documents wait.
- One move of a group is at work at a time: two in opposite directions would each remove what the
  other takes for stored. What one that was killed has sent may still take effect: whoever goes on
  waits for the ambiguity time first.
- A document is removed from where it was only when all chunks of its newest event are stored where
  it shall be. Stopped in the middle, every document is on one of the servers, and the command run
  again goes on.
- A tombstone that comes meanwhile waits until the marks are gone. They go only while the group has
  no members still: else one of them may have removed a text that was on its way here.
- What is stored is never replaced by an older event: a document whose stored version is newer than
  all events that are left stays, and so does one without any event. So do documents of others. One
  whose newest event is a tombstone is only removed, also from where the workspace shall be.
- An upload that the service had sent when it died may still land. So at the end the ambiguity time
  is waited for, and what came late is moved as well.
- Where the newest event is not settled yet, the service finds its document stored, and answers it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from consumer.anythingllm import AnythingLLMClient, AnythingLLMError
from consumer.anythingllm.server_register import ServerRegister
from consumer.kafka.group_lock import LockConfig, LockLostError, TakenError
from consumer.kafka.groups import Member
from consumer.model.marker import StoredUnit
from consumer.model.names import Identity, ServerName, Slug
from consumer.model.placement import why_missing
from consumer.model.precedence import Occurrence
from consumer.model.record import Coordinates
from consumer.model.server_marks import ServerViews, move_mark
from consumer.operations.newest_events import (
    NO_EVENT_LEFT,
    STORED_IS_NEWER,
    NewestEvent,
    NewestEvents,
)
from consumer.operations.ports import HeldLock, KafkaAccess, RecordReader
from consumer.operations.progress import StageProgress, silent
from consumer.settings import Settings
from consumer.wiring.anythingllm import server_configs

_STAGE = "moving"
_WAITING = "waiting for late uploads"
_ANOTHER = "waiting for another move"
_WAIT_STEP_SECONDS = 5.0

_Held = dict[ServerName, dict[Identity, list[StoredUnit]]]


class MoveRefused(Exception):
    """It can't be moved now; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class MoveReport:
    """What became of a move.

    Args:
        sources: the servers that had documents of ours in it.
        documents: those that were to be moved, or removed.
        moved: how many of them are on the new server now, and nowhere else; before it is done, how
            many would be, as far as that can be seen.
        removed: how many were only removed, for a tombstone.
        left: documents that stay, with why.
    """

    sources: tuple[ServerName, ...]
    documents: int
    moved: int = 0
    removed: int = 0
    left: tuple[tuple[Identity, str], ...] = ()


@dataclass(slots=True)
class _Moved:
    """What became of it so far.

    Args:
        sources: the servers that had documents of ours in it.
    """

    sources: tuple[ServerName, ...]
    moved: set[Identity] = field(default_factory=set)
    removed: set[Identity] = field(default_factory=set)
    left: dict[Identity, str] = field(default_factory=dict)

    def note(self, identity: Identity, why: str | None, *, is_removed: bool) -> None:
        """Note what became of a document; ``why`` it stays, or None."""
        self.left.pop(identity, None)
        if why is not None:
            self.left[identity] = why
        elif is_removed:
            self.removed.add(identity)
        else:
            self.moved.add(identity)

    def report(self) -> MoveReport:
        """As it is told."""
        tried = {*self.moved, *self.removed, *self.left}
        return MoveReport(
            self.sources,
            len(tried),
            len(self.moved),
            len(self.removed),
            tuple(self.left.items()),
        )


class WorkspaceMove:
    """See the module's docstring.

    Args:
        clients: connected, of all servers.
        slug: the workspace.
        to: the server that it shall live on.
        progress: called now and then.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        settings: Settings,
        kafka: KafkaAccess,
        clients: Mapping[ServerName, AnythingLLMClient],
        slug: Slug,
        to: ServerName,
        *,
        progress: StageProgress = silent,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._settings = settings
        self._kafka = kafka
        self._clients = clients
        self._slug = slug
        self._to = to
        self._progress = progress
        self._events = NewestEvents(settings)
        self._identity = settings.document.identity
        self._lock: HeldLock | None = None

    async def run(self, *, do: bool) -> MoveReport:
        """Move it, or (without ``do``) only say what would be moved.

        Raises:
            MoveRefused: see there; what was moved by then stays moved.
            KafkaUnavailableError: Kafka can't be reached or refuses.
            AnythingLLMError: a server can't be asked.
        """
        if not do:
            return await self._run(do=False)
        async with self._alone():
            return await self._run(do=True)

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        kafka = self._settings.kafka
        config = LockConfig(
            group=f"{kafka.group_id}-move",
            topic=kafka.documents_topic,
            client_id=f"workspaces-move.{self._slug}",
            session_timeout=kafka.session_timeout_seconds,
        )
        try:
            async with self._kafka.lock(config, waiting=self._tell_of, rng=random.Random()) as lock:
                self._lock = lock
                yield
        except LockLostError as error:
            raise MoveRefused(
                f"{error}: run this again; what is moved by then stays moved"
            ) from None
        except TakenError as error:
            raise MoveRefused(
                f"another move is at work ({error}): wait for it, or stop it"
            ) from None

    def _tell_of(self, members: tuple[Member, ...]) -> None:
        self._progress(_ANOTHER, 0, len(members))

    async def _run(self, *, do: bool) -> MoveReport:
        was_begun = await self._refuse()
        held = await self._held()
        begun = _Moved(self._sources(held))
        if do and (begun.sources or was_begun):
            return await self._move(begun, was_begun=was_begun)
        if begun.sources:
            await self._all(begun, held, do=False)
        return begun.report()

    async def _move(self, moved: _Moved, *, was_begun: bool) -> MoveReport:
        mark = move_mark(self._slug)
        for name in self._clients:
            await self._register(name).make_mark(mark)
        await self._refuse_beside_the_service()
        over = self._clock() + self._settings.anythingllm.ambiguity_seconds
        if was_begun:
            await self._wait_until(over)
        await self._all(moved, await self._held())
        if not moved.left:
            await self._wait_until(over)
            await self._refuse_beside_the_service()
            await self._all(moved, await self._held())
        if not moved.left:
            await self._refuse_beside_the_service()  # a tombstone may have come since
            for name in self._clients:
                await self._register(name).remove_mark(mark)
        return moved.report()

    async def _wait_until(self, over: float) -> None:
        seconds = max(0.0, over - self._clock())
        while (left := over - self._clock()) > 0:
            self._progress(_WAITING, int(seconds - left), int(seconds))
            await self._sleep(min(left, _WAIT_STEP_SECONDS))

    async def _all(self, moved: _Moved, held: _Held, *, do: bool = True) -> None:
        """Move all that is not there yet, or say what of it stays."""
        to_move = _identities(held, self._sources(held))
        every = _identities(held, list(held))
        if not every:
            return
        if do and to_move:
            await self._register(self._to).create(self._slug)
        limit = self._settings.document.max_batch_bytes
        async with self._kafka.reader(unfold_limit=limit) as reader:
            newest = await self._events.of(reader, self._slug, every, progress=self._progress)
            ended = {each for each, event in newest.items() if event.read_at is None}
            todo = sorted(to_move | ended)
            for number, identity in enumerate(todo):
                self._progress(_STAGE, number, len(todo))
                if do:
                    await self._refuse_beside_the_service()
                there = {name: units.get(identity, ()) for name, units in held.items()}
                event = newest.get(identity)
                if identity in to_move or _why_it_stays(event, there) is None:
                    await self._one(reader, identity, event, there, moved, do=do)
        self._progress(_STAGE, len(todo), len(todo))

    async def _refuse(self) -> bool:
        """Whether a move of it has begun before, and not ended."""
        pin = (self._settings.anythingllm.pins or {}).get(self._slug)
        if pin not in (None, self._to):
            raise MoveRefused(
                f"ANYTHINGLLM_PINS keeps it on server {pin}: change that first, in all instances"
            )
        surveys = {name: await self._register(name).survey() for name in self._clients}
        views = ServerViews(surveys, self._settings.kafka.group_id)
        whys = [why for name, why in views.unproven.items() if not views.is_new(name)]
        if views.missing:
            whys.append(why_missing(views.missing))
        if whys:
            raise MoveRefused("; ".join(whys))
        await self._refuse_beside_the_service()
        return views.moves(self._slug) is not None

    async def _refuse_beside_the_service(self) -> None:
        if self._lock is not None:
            await self._lock.confirm()
        group = self._settings.kafka.group_id
        async with self._kafka.admin() as admin:
            members = await admin.members(group)
        if members:
            raise MoveRefused(
                f"the consumer group {group} has {len(members)} members: stop all instances of the"
                " service, and run this again; what is moved by then stays moved"
            )

    async def _held(self) -> _Held:
        """What each server has of the workspace, ours only."""
        held: _Held = {}
        for name, client in self._clients.items():
            held[name] = {}
            for unit in await client.storage.listing(self._slug):
                held[name].setdefault(self._identity.of_marker(unit.marker), []).append(unit)
        return held

    def _sources(self, held: _Held) -> tuple[ServerName, ...]:
        return tuple(name for name, units in held.items() if units and name != self._to)

    async def _one(
        self,
        reader: RecordReader,
        identity: Identity,
        event: NewestEvent | None,
        there: Mapping[ServerName, Sequence[StoredUnit]],
        moved: _Moved,
        *,
        do: bool,
    ) -> None:
        """Move a document, of which this is there on each server, or say why it stays."""
        is_removed = event is not None and event.read_at is None
        why = _why_it_stays(event, there)
        if do and why is None:
            try:
                if event is not None and event.read_at is not None:
                    why = await self._store(reader, event.read_at, there[self._to])
                if why is None:
                    await self._remove(identity, there, but=None if is_removed else self._to)
            except AnythingLLMError as error:
                why = error.message
        moved.note(identity, why, is_removed=is_removed)

    async def _store(
        self, reader: RecordReader, at: Coordinates, stored: Sequence[StoredUnit]
    ) -> str | None:
        """Have a document's newest event stored on the new server; why that is not so, or None."""
        body = await self._events.document(reader, at)
        if body is None:
            return f"its event {at} is gone meanwhile"
        result = await self._clients[self._to].store_version(
            self._slug, body.document, body.version, stored=stored
        )
        return "; ".join(result.errors) or None

    async def _remove(
        self,
        identity: Identity,
        there: Mapping[ServerName, Sequence[StoredUnit]],
        *,
        but: ServerName | None,
    ) -> None:
        for name, units in there.items():
            if units and name != but:
                await self._clients[name].storage.erase(self._slug, units, texts=(identity,))

    def _register(self, name: ServerName) -> ServerRegister:
        return self._clients[name].register(self._settings.kafka.group_id)


@asynccontextmanager
async def open_move(
    settings: Settings,
    kafka: KafkaAccess,
    slug: Slug,
    to: ServerName,
    *,
    progress: StageProgress = silent,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncIterator[WorkspaceMove]:
    """A move, connected; its arguments are those of `WorkspaceMove`.

    Raises:
        MoveRefused: there is no such server.
    """
    configs = server_configs(settings)
    if to not in configs:
        named = ", ".join(configs) or "there is one server only"
        raise MoveRefused(f"ANYTHINGLLM_ENDPOINTS lists no server {to} ({named})")
    async with AsyncExitStack() as stack:
        clients = {
            name: await stack.enter_async_context(AnythingLLMClient(config))
            for name, config in configs.items()
        }
        yield WorkspaceMove(
            settings, kafka, clients, slug, to, progress=progress, clock=clock, sleep=sleep
        )


def _identities(held: _Held, servers: Sequence[ServerName]) -> set[Identity]:
    """The documents that these servers have."""
    return {identity for name in servers for identity in held[name]}


def _why_it_stays(
    event: NewestEvent | None, there: Mapping[ServerName, Sequence[StoredUnit]]
) -> str | None:
    """Why a document can't be moved by its newest event; None where it can."""
    if event is None:
        return NO_EVENT_LEFT
    stored = [Occurrence(unit.version) for units in there.values() for unit in units]
    if any(each.supersedes(event.occurrence) for each in stored):
        return STORED_IS_NEWER
    return None
