"""Ports: what the stations need from the other rooms, as they see it. `consumer.app` fills them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from consumer.contract.envelope import Wrapping
from consumer.model.copies import ComparableUnit
from consumer.model.death_count import DeathCount
from consumer.model.document import ProcessedDocument
from consumer.model.listing import Listed
from consumer.model.marker import Marker, StoredUnit, Unit
from consumer.model.names import Location, Slug, TraceId
from consumer.model.record import Headers, Record
from consumer.model.remains import Remains
from consumer.model.server_marks import Mark, ServerSurvey
from consumer.resilience.fence import Fence


class UnitUpload(Protocol):
    """One unit on its way into one workspace. It remembers what its last attempt did."""

    async def attempt(self) -> StoredUnit | None:
        """Try once to get the unit stored and embedded.

        Attempts never make doubles: an ambiguous earlier attempt is looked for before anything is
        sent again, and a file that is there but not embedded is only embedded again.

        Returns:
            None where it was uploaded, and another attempt proves it together with others of its
            document: it is to be made when those are uploaded.

        Raises:
            Failure: with whose fault it is.
        """
        ...

    def proven(self) -> StoredUnit | None:
        """As `attempt`, where it was uploaded and nothing has to be asked for it any more.

        Returns:
            None where an attempt has to be made.
        """
        ...

    @property
    def may_still_come(self) -> bool:
        """Whether something of it may still take effect, beside what the attempts found."""
        ...

    @property
    def removed(self) -> Sequence[StoredUnit]:
        """What its attempts have removed, or found to be gone; a listing may have shown it."""
        ...

    @property
    def going(self) -> Sequence[Location]:
        """What a removal that an attempt has sent may still take."""
        ...

    async def abandon(self) -> StoredUnit | None:
        """Leave nothing of it behind, as far as that is possible; raises no `Failure`.

        Returns:
            The unit where a last look shows that it is stored after all.
        """
        ...


class Storage(Protocol):
    """AnythingLLM as the journey needs it. Every method may raise `Failure`."""

    async def prepare(self, slug: Slug, *, trace_id: TraceId) -> None:
        """Make sure the workspace exists and takes concurrent uploads without losing any."""
        ...

    async def scan(
        self,
        slug: Slug,
        take: Callable[[StoredUnit], None],
        *,
        unless: str | None = None,
        trace_id: TraceId,
    ) -> Listed | None:
        """Give away everything in the workspace with our marker, each location once.

        The units arrive one by one and prove nothing before this has returned: if the listing turns
        out to be cut short, it raises. Nothing arrives where there is no workspace.

        Args:
            slug: the workspace, or `FILE_STORE` for the files of all.
            take: gets the units.
            unless: the ETag of a listing that was read before.
            trace_id: of the event.

        Returns:
            What was listed; None, and nothing was given away, where the ETag is still the same.
        """
        ...

    async def found(
        self,
        slug: Slug,
        rows: Sequence[ComparableUnit],
        texts: Callable[[], Mapping[str, str]],
        *,
        trace_id: TraceId,
        check: Callable[[], None],
    ) -> frozenset[Location]:
        """The locations of the listed rows that are stored: a listing may not prove it.

        Args:
            slug: the workspace.
            rows: of one document.
            texts: of the document's chunks, by digest. Rows with other texts are not looked for.
            trace_id: of the event.
            check: called before every request, as in `upload`.
        """
        ...

    async def rows_prove(self, *, trace_id: TraceId) -> bool:
        """Whether a listed row is stored, whoever looks at it: `is_proven` is true for all then."""
        ...

    async def prove(
        self,
        slug: Slug,
        rows: Sequence[ComparableUnit],
        *,
        trace_id: TraceId,
        check: Callable[[], None],
    ) -> None:
        """Look for all rows of a document whose texts are not known; `is_proven` tells then."""
        ...

    def is_proven(self, location: Location) -> bool:
        """Whether a row that is listed is known to be stored: `found`, or where listings prove it.

        False says that nobody knows; it is not asked from AnythingLLM.
        """
        ...

    async def workspaces(self, *, trace_id: TraceId) -> Sequence[Slug]:
        """The slugs of all workspaces."""
        ...

    async def is_sole(self, *, lacks: bool, trace_id: TraceId) -> None:
        """Return where no other server can have what this one lacks.

        Args:
            lacks: whether this one has nothing of what is looked for; else hardly anything is
                asked for it.
            trace_id: of the event.

        Raises:
            Failure: it is one of several servers, and the settings do not say so; or nobody knows.
        """
        ...

    async def tidy(self, slug: Slug, *, trace_id: TraceId) -> float | None:
        """Remove test documents that nobody needs from the workspace, as the last `scan` saw it.

        Returns:
            Seconds until all that are left may go; None where none are left.
        """
        ...

    def upload(
        self, slug: Slug, unit: Unit, *, trace_id: TraceId, check: Callable[[], None]
    ) -> UnitUpload:
        """A unit's upload, not started yet.

        ``check`` is called before every request that changes something. It raises where the right
        to go on has ended, and its exception leaves `UnitUpload.attempt`.
        """
        ...

    async def remove(
        self,
        slug: Slug,
        locations: Sequence[Location],
        *,
        trace_id: TraceId,
        check: Callable[[], None],
    ) -> None:
        """Remove units from the server. It is no error if they are gone already.

        ``check`` is called before every request, as in `upload`.
        """
        ...

    async def remains(
        self,
        slug: Slug,
        is_gone: Callable[[Marker], bool],
        locations: Sequence[Location],
        texts: Sequence[str],
        relist: Callable[[], Awaitable[None]],
        *,
        trace_id: TraceId,
        check: Callable[[], None],
    ) -> Remains | None:
        """What searches still find of units that were removed: a removal may not be told truly.

        Args:
            slug: the workspace they were in.
            is_gone: whether a unit was removed and no other one has its marker.
            locations: where some of them were.
            texts: what they may be near to, beside their titles.
            relist: reads a new listing for `is_gone`, before a further look.
            trace_id: of the event.
            check: called before every look, as in `upload`.
        """
        ...

    async def probe(self, *, trace_id: TraceId | None = None) -> None:
        """The deep probe: key, collector and embedder, without side effects.

        Raises:
            Failure: AnythingLLM as a whole is not well.
        """
        ...

    async def embeds(self, text: str, *, trace_id: TraceId) -> None:
        """Have the embedder embed a text as an upload would; nothing is stored."""
        ...

    async def store_control(
        self, slug: Slug, text: str, *, trace_id: TraceId, check: Callable[[], None]
    ) -> None:
        """Store a test document as an upload would, and remove it; ``check`` as in `upload`."""
        ...

    async def answers(self, *, trace_id: TraceId | None = None) -> None:
        """Whether anybody is there, by the smallest request.

        Raises:
            Failure: `Failure.not_there` where nobody is.
        """
        ...

    def answered_at(self) -> float:
        """When the server last answered anything well, monotonic seconds."""
        ...

    def begun_requests(self) -> int | None:
        """How many requests of ours were begun so far; None while one is under way."""
        ...

    async def silent(self) -> None:
        """Return when no request of ours is under way."""
        ...

    def distrust(self, slug: Slug) -> None:
        """Have the next `prepare` prove with a sentinel that the workspace takes uploads."""
        ...


class Server(Protocol):
    """One of several AnythingLLMs as a whole. Every method may raise `Failure`."""

    async def survey(self) -> ServerSurvey:
        """Which workspaces it has, and its marks."""
        ...

    async def make_mark(self, mark: Mark) -> None:
        """Make sure that it has this mark."""
        ...

    async def remove_mark(self, mark: Mark) -> None:
        """Make sure that it does not have this mark."""
        ...

    async def create(self, slug: Slug) -> None:
        """Make sure that there is a workspace of this slug."""
        ...

    async def holds_ours(self, slug: Slug) -> bool:
        """Whether documents of ours are in a workspace."""
        ...


class RightToWork(Protocol):
    """The right to go on with a piece of work, and the ways to wait that its end cuts short."""

    @property
    def closed(self) -> bool:
        """Whether it has ended; it never begins anew."""
        ...

    def check(self) -> None:
        """Raise `FenceClosedError` once it has ended. To be asked before every request."""
        ...

    def following(self) -> RightToWork:
        """The same right for what has to be followed to its end: only a revocation ends it."""
        ...

    def short(self) -> AbstractAsyncContextManager[None]:
        """A wait between attempts, which a revocation ends."""
        ...

    def long(self) -> AbstractAsyncContextManager[None]:
        """A wait while nothing can be done; a revocation, a stop or a newer event ends it."""
        ...

    def aside(self) -> AbstractAsyncContextManager[None]:
        """A long wait that gives up the document's place in flight, where there is room aside."""
        ...


class TooLarge(Exception):
    """The record can never be published as it is; `Publish` raises it."""


class Publish(Protocol):
    """Publishes a record and waits, for ever if it has to, until Kafka has acknowledged it."""

    async def __call__(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers
    ) -> None:
        """Raise `TooLarge` when the record can never be published as it is."""
        ...


Release = Callable[[], None]
"""Lets an offset be committed that was held back."""


class Receipt(Protocol):
    """Lets a record's offset be committed, and tells its partition's next owner what may come."""

    @property
    def record(self) -> Record:
        """The original bytes."""
        ...

    @property
    def held_before(self) -> bool:
        """Whether it was held back then (`hold`)."""
        ...

    @property
    def carried_out_before(self) -> bool:
        """Whether its state was brought into AnythingLLM then."""
        ...

    @property
    def held_until(self) -> float:
        """Until when a former owner knew that something may come, epoch seconds; 0: nothing."""
        ...

    @property
    def taken_over_at(self) -> float | None:
        """Monotonic seconds; set where a former owner may have had it in work when it died."""
        ...

    def settled(self, *, carried_out: bool) -> None:
        """Let the offset be committed.

        Args:
            carried_out: whether the event's state was brought into AnythingLLM.
        """
        ...

    def hold(self, until: float, *, carried_out: bool) -> Release:
        """Note that it is settled and must not be committed yet.

        Args:
            until: epoch seconds until which whoever gets the partition has to hold it, too.
            carried_out: as in `settled`.

        Returns:
            Lets the offset be committed.
        """
        ...

    def leave_in_doubt(self, what: str, until: float) -> Release:
        """Have the next owner know that something may still come, which holds nothing back.

        Args:
            what: a name for it.
            until: epoch seconds.

        Returns:
            Notes that nothing may come any more.
        """
        ...

    def left_in_doubt(self, what: str) -> bool:
        """Whether a former owner left that in doubt, until `held_until`; rarely true by chance."""
        ...


class Delivery(Receipt, Protocol):
    """A record with the receipt that lets its offset be committed."""

    @property
    def fence(self) -> Fence:
        """Closed when the right to work on it ends."""
        ...

    @property
    def ended(self) -> bool:
        """True when another member may own its partition by now."""
        ...

    @property
    def settled_before(self) -> bool:
        """True when it was settled in an earlier assignment: Kafka has its result."""
        ...

    def carried_by(self, task: asyncio.Task[object]) -> None:
        """Note the task that works on it."""
        ...

    def deaths_of(self, what: str) -> DeathCount | None:
        """What is kept of deaths of the server by this name, also by former owners."""
        ...

    def note_deaths(self, what: str, count: DeathCount | None) -> None:
        """Keep it for the next owner, until the event is settled; None: nothing is proven."""
        ...


HoldsAll = Callable[[], bool]
"""Whether all partitions of the input topics are ours at the moment."""

InDoubtUntil = Callable[[], float]
"""Until when something may come that former owners of our partitions had begun, epoch seconds."""

Poll = Callable[[float], Awaitable[Delivery | None]]
"""The next record, or None when there was none for so many seconds."""

Permits = Callable[[Slug], bool]
"""Whether a workspace may be touched, by its slug."""

DecodeApart = Callable[[bytes, Wrapping], Awaitable[ProcessedDocument]]
"""Decodes a heavy event's value as `consumer.pipeline.decode.decode`, without holding the loop."""

IsAssigned = Callable[[], bool]
"""Whether any partition is ours at the moment."""

IsOurs = Callable[[int | None], bool]
"""Whether this partition of the documents topic is ours at the moment."""

TakenOverAt = Callable[[], float | None]
"""When a partition of ours was last taken over from an owner that did not end in order, monotonic
seconds; None: from nobody."""
