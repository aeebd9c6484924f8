"""The documents of a workspace, brought one after the other to the server that it shall live on.

AnythingLLM does not give texts back, so they come from the events: stored and proven on the new
server, then removed from the others. What always holds:

- A document is removed from where it was only when all chunks of its newest event are stored where
  it shall be.
- What is stored is never replaced by an older event: a document whose stored version is newer than
  all events that are left stays, and so does one without any event. So do documents of others. One
  whose newest event is a tombstone is only removed, also from where the workspace shall be.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from consumer.anythingllm import AnythingLLMClient, AnythingLLMError
from consumer.model.marker import StoredUnit
from consumer.model.names import Identity, ServerName, Slug
from consumer.model.precedence import Occurrence
from consumer.model.record import Coordinates
from consumer.operations.moving.report import MoveTally
from consumer.operations.newest_events import (
    NO_EVENT_LEFT,
    STORED_IS_NEWER,
    NewestEvent,
    NewestEvents,
)
from consumer.operations.ports import KafkaAccess, RecordReader
from consumer.operations.progress import StageProgress
from consumer.settings import Settings

_STAGE = "moving"

Held = Mapping[ServerName, Mapping[Identity, Sequence[StoredUnit]]]
"""What each server has of the workspace, ours only."""


class MovedDocuments:
    """See the module's docstring.

    Args:
        clients: connected, of all servers.
        slug: the workspace.
        to: the server that it shall live on.
        may_go_on: awaited before each document; raises where nothing more may be done.
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
        may_go_on: Callable[[], Awaitable[None]],
        progress: StageProgress,
    ) -> None:
        self._settings = settings
        self._kafka = kafka
        self._clients = clients
        self._slug = slug
        self._to = to
        self._may_go_on = may_go_on
        self._progress = progress
        self._events = NewestEvents(settings)
        self._identity = settings.document.identity

    async def held(self) -> Held:
        """List the workspace on all servers."""
        held: dict[ServerName, dict[Identity, list[StoredUnit]]] = {}
        for name, client in self._clients.items():
            held[name] = {}
            for unit in await client.storage.listing(self._slug):
                held[name].setdefault(self._identity.of_marker(unit.marker), []).append(unit)
        return held

    def sources(self, held: Held) -> tuple[ServerName, ...]:
        """The servers from which documents have to go."""
        return tuple(name for name, units in held.items() if units and name != self._to)

    async def move(self, held: Held, tally: MoveTally, *, do: bool = True) -> None:
        """Move all that is not there yet, or say what of it stays."""
        to_move = _identities(held, self.sources(held))
        every = _identities(held, list(held))
        if not every:
            return
        limit = self._settings.document.max_batch_bytes
        async with self._kafka.reader(unfold_limit=limit) as reader:
            newest = await self._events.of(reader, self._slug, every, progress=self._progress)
            ended = {each for each, event in newest.items() if event.read_at is None}
            todo = sorted(to_move | ended)
            for number, identity in enumerate(todo):
                self._progress(_STAGE, number, len(todo))
                if do:
                    await self._may_go_on()
                there = {name: units.get(identity, ()) for name, units in held.items()}
                event = newest.get(identity)
                if identity in to_move or _why_it_stays(event, there) is None:
                    await self._one(reader, identity, event, there, tally, do=do)
        self._progress(_STAGE, len(todo), len(todo))

    async def _one(
        self,
        reader: RecordReader,
        identity: Identity,
        event: NewestEvent | None,
        there: Mapping[ServerName, Sequence[StoredUnit]],
        tally: MoveTally,
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
        tally.note(identity, why, is_removed=is_removed)

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


def _identities(held: Held, servers: Sequence[ServerName]) -> set[Identity]:
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
