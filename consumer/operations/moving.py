"""Moving a workspace from one of several servers to another: a command, never a side effect.

AnythingLLM does not give texts back, so they come from the events. Document by document: stored and
proven on the new server, then removed from the old one. What always holds:

- Nothing of the service is at work meanwhile: the consumer group has no members.
- A document is removed from where it was only when all chunks of its newest event are stored where
  it shall be. Stopped in the middle, every document is on one of the servers, and the workspace is
  on two: the service names it and lets its documents wait, and the command run again goes on.
- A document whose newest event is a tombstone is only removed. One without any event stays where it
  is, and so do documents of others.
- Where the newest event is not settled yet, the service finds its document stored, and answers it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from consumer.anythingllm import AnythingLLMClient, AnythingLLMError
from consumer.anythingllm.server_register import ServerRegister
from consumer.model.event import DocumentEvent, TombstoneEvent
from consumer.model.marker import StoredUnit
from consumer.model.names import Identity, ServerName, Slug
from consumer.model.precedence import Occurrence
from consumer.model.record import Coordinates
from consumer.model.server_list import one_server_twice
from consumer.operations.ports import KafkaAccess, RecordReader
from consumer.operations.progress import StageProgress, silent
from consumer.settings import Settings
from consumer.wiring.anythingllm import server_configs
from consumer.wiring.events import event_reader

_PROGRESS_EVERY = 200  # records between two reports of progress
_STAGE = "moving"


class MoveRefused(Exception):
    """It can't be moved now; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class MoveReport:
    """What became of a move.

    Args:
        sources: the servers that had documents of ours in it.
        documents: those that were to be moved.
        moved: how many of them are on the new server now, and nowhere else.
        removed: how many were only removed, for a tombstone.
        left: documents that stay, with why.
    """

    sources: tuple[ServerName, ...]
    documents: int
    moved: int = 0
    removed: int = 0
    left: tuple[tuple[Identity, str], ...] = ()


@dataclass(frozen=True, slots=True)
class _NewestEvent:
    """The newest event about a document; where it is None for a tombstone."""

    occurrence: Occurrence
    read_at: Coordinates | None


class WorkspaceMove:
    """See the module's docstring.

    Args:
        clients: connected, of all servers.
        slug: the workspace.
        to: the server that it shall live on.
        progress: called now and then.
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
    ) -> None:
        self._settings = settings
        self._kafka = kafka
        self._clients = clients
        self._slug = slug
        self._to = to
        self._progress = progress
        self._events = event_reader(settings)
        self._identity = settings.document.identity

    async def run(self, *, do: bool) -> MoveReport:
        """Move it, or (without ``do``) only say what would be moved.

        Raises:
            MoveRefused: see there; nothing more was changed.
            KafkaUnavailableError: Kafka can't be reached or refuses.
            AnythingLLMError: a server can't be asked.
        """
        await self._refuse()
        stored = {
            name: units
            for name in self._clients
            if name != self._to and (units := await self._units(name))
        }
        identities = {each for units in stored.values() for each in units}
        if not do or not identities:
            return MoveReport(tuple(stored), len(identities))
        await self._register(self._to).create(self._slug)
        limit = self._settings.document.max_batch_bytes
        async with self._kafka.reader(unfold_limit=limit) as reader:
            newest = await self._newest(reader, identities)
            return await self._each(reader, newest, stored, sorted(identities))

    async def _refuse(self) -> None:
        pin = (self._settings.anythingllm.pins or {}).get(self._slug)
        if pin not in (None, self._to):
            raise MoveRefused(
                f"ANYTHINGLLM_PINS keeps it on server {pin}: change that first, in all instances"
            )
        kept = {name: (await self._register(name).survey()).kept for name in self._clients}
        if twice := one_server_twice(kept):
            raise MoveRefused(
                f"{twice[0]} and {twice[1]} are one server: what is removed from one of them is"
                " gone from both. Leave one out of ANYTHINGLLM_ENDPOINTS"
            )
        await self._refuse_beside_the_service()

    async def _refuse_beside_the_service(self) -> None:
        group = self._settings.kafka.group_id
        async with self._kafka.admin() as admin:
            members = await admin.members(group)
        if members:
            raise MoveRefused(
                f"the consumer group {group} has {len(members)} members: stop all instances of the"
                " service, and run this again; what is moved by then stays moved"
            )

    async def _units(self, name: ServerName) -> dict[Identity, list[StoredUnit]]:
        """What a server has of the workspace, ours only."""
        found: dict[Identity, list[StoredUnit]] = {}
        for unit in await self._clients[name].storage.listing(self._slug):
            found.setdefault(self._identity.of_marker(unit.marker), []).append(unit)
        return found

    async def _newest(
        self, reader: RecordReader, identities: set[Identity]
    ) -> dict[Identity, _NewestEvent]:
        """The newest event about each of these documents."""
        kafka = self._settings.kafka
        newest: dict[Identity, _NewestEvent] = {}
        for topic in (kafka.documents_topic, kafka.replay_topic):
            ranges = await reader.offset_ranges(topic)
            total = sum(each.end - each.start for each in (ranges or {}).values())
            done = 0
            async for record in reader.records(topic, ranges or {}):
                done += 1
                if done % _PROGRESS_EVERY == 0:
                    self._progress(f"reading {topic}", done, total)
                body = self._events.read(record).body
                if isinstance(body, DocumentEvent | TombstoneEvent) and (
                    body.identity in identities and self._is_about(body)
                ):
                    _take(newest, body, record.at)
        return newest

    def _is_about(self, body: DocumentEvent | TombstoneEvent) -> bool:
        return body.slug == self._slug or (isinstance(body, TombstoneEvent) and body.slug is None)

    async def _each(
        self,
        reader: RecordReader,
        newest: Mapping[Identity, _NewestEvent],
        stored: Mapping[ServerName, Mapping[Identity, Sequence[StoredUnit]]],
        identities: Sequence[Identity],
    ) -> MoveReport:
        moved = removed = 0
        left: list[tuple[Identity, str]] = []
        for number, identity in enumerate(identities):
            self._progress(_STAGE, number, len(identities))
            await self._refuse_beside_the_service()
            event = newest.get(identity)
            try:
                why = await self._store(reader, event)
                if why is None:
                    await self._remove(stored, identity)
            except AnythingLLMError as error:
                why = error.message
            if why is not None:
                left.append((identity, why))
            elif event is not None and event.read_at is None:
                removed += 1
            else:
                moved += 1
        self._progress(_STAGE, len(identities), len(identities))
        return MoveReport(tuple(stored), len(identities), moved, removed, tuple(left))

    async def _store(self, reader: RecordReader, event: _NewestEvent | None) -> str | None:
        """Have a document's newest event stored on the new server; why that is not so, or None."""
        if event is None:
            return "no event of it is left in Kafka, and AnythingLLM gives no texts back"
        if event.read_at is None:
            return None
        record = await reader.record(event.read_at)
        body = self._events.read(record).body if record is not None else None
        if not isinstance(body, DocumentEvent):
            return f"its event {event.read_at} is gone meanwhile"
        result = await self._clients[self._to].store_version(
            self._slug, body.document, body.version
        )
        return "; ".join(result.errors) or None

    async def _remove(
        self,
        stored: Mapping[ServerName, Mapping[Identity, Sequence[StoredUnit]]],
        identity: Identity,
    ) -> None:
        for name, units in stored.items():
            if there := units.get(identity):
                await self._clients[name].storage.erase(self._slug, there, texts=(identity,))

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
) -> AsyncIterator[WorkspaceMove]:
    """A move, connected.

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
        yield WorkspaceMove(settings, kafka, clients, slug, to, progress=progress)


def _take(
    newest: dict[Identity, _NewestEvent],
    body: DocumentEvent | TombstoneEvent,
    at: Coordinates,
) -> None:
    removes = isinstance(body, TombstoneEvent)
    new = Occurrence(body.version, removes=removes)
    known = newest.get(body.identity)
    if known is None or not known.occurrence.supersedes(new):
        newest[body.identity] = _NewestEvent(new, None if removes else at)
