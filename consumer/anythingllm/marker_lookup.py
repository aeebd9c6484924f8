"""Looking for uploads that may still finish: one listing of a workspace serves all of them.

After an outage many uploads of a workspace may be ambiguous at once (`unit_upload`, rule 3), and a
listing of 20,000 documents keeps AnythingLLM's only thread busy for half a second. So:

1. Of each workspace one listing is read at a time. An upload that asks meanwhile waits for it.
2. A listing serves only uploads that were in doubt before it was started: an older listing may have
   been answered before the upload took effect.
3. An upload looks ever less often: its next look is due (`due_after`) when as much time has passed
   since the last listing as lay between the doubt and that listing.
4. Between the starts of two answered listings of a workspace there is a least distance, whatever
   asks. Of the list of all files it grows with what that costs the server.
5. Of a listing only the markers that are looked for are kept: it may hold 20 MB.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum

from consumer.anythingllm.errors import AnythingLLMError
from consumer.model.names import Location, Slug, TraceId

LEAST_DISTANCE = 0.2  # seconds between the starts of two listings of one workspace
_LONGEST_PAUSE = 30.0  # seconds between two looks of one upload
_GIVEN_UP = 900.0  # seconds after which a marker counts as no longer looked for

Read = Callable[[Slug, Collection[str], TraceId | None], Awaitable[dict[str, Location]]]


class Choice(Enum):
    """What to do for an upload that looks."""

    USE = "use the last listing"
    WAIT = "too early for another one"
    READ = "read another one"


@dataclass(frozen=True, slots=True)
class MarkerListing:
    """What is kept of a listing.

    Args:
        started: when it was asked for, on the clock.
        ended: when it was answered, on the clock.
        sought: the markers that were looked for in it.
        found: the locations of those that were there.
        error: why there is no answer.
    """

    started: float
    ended: float
    sought: frozenset[str] = frozenset()
    found: Mapping[str, Location] = field(default_factory=dict)
    error: AnythingLLMError | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """What an upload looks for.

    Args:
        marker: of the unit, encoded.
        since: when the doubt began, on the clock.
        after: a listing started earlier than that is not good enough.
        asked: when the question is asked, on the clock.
    """

    marker: str
    since: float
    after: float
    asked: float


@dataclass(frozen=True, slots=True)
class Sighting:
    """The answer: where the unit is, None where it is not, by a listing started then."""

    started: float
    location: Location | None


def due_after(started: float, since: float) -> float:
    """When the next look is due, after one by a listing started then (rule 3)."""
    return started + min(max(started - since, LEAST_DISTANCE), _LONGEST_PAUSE)


def choose(
    last: MarkerListing | None,
    question: Question,
    now: float,
    rest: float = 0.0,
) -> Choice:
    """Rules 1 to 4 of the module docstring, for an upload whose turn has come."""
    if last is None:
        return Choice.READ
    in_time = last.started >= question.after and question.marker in last.sought
    shared = last.ended >= question.asked
    young = last.error is None and question.asked < due_after(last.started, question.since)
    if in_time and (shared or young):
        return Choice.USE
    distance = max(LEAST_DISTANCE, rest * (last.ended - last.started))
    too_early = last.error is None and now - last.started < distance
    return Choice.WAIT if too_early else Choice.READ


@dataclass(slots=True)
class _WorkspaceLookup:
    """One workspace: its last listing, and the markers looked for, with when last."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    sought: dict[str, float] = field(default_factory=dict)
    last: MarkerListing | None = None


class MarkerLookup:
    """See the module's docstring.

    Args:
        read: reads a listing: the locations of those of the markers that it shows.
        clock: monotonic seconds.
        rest: times that a listing took, until the next one may start.
    """

    def __init__(self, read: Read, clock: Callable[[], float], *, rest: float = 0.0) -> None:
        self._read_listing = read
        self._clock = clock
        self._rest = rest
        self._workspaces: dict[Slug, _WorkspaceLookup] = {}

    def seek(self, slug: Slug, marker: str) -> None:
        """Have every listing from now on look for this marker."""
        self._workspaces.setdefault(slug, _WorkspaceLookup()).sought[marker] = self._clock()

    async def find(
        self, slug: Slug, marker: str, *, since: float, after: float, trace_id: TraceId | None
    ) -> Sighting | None:
        """Look for a marker; None where it is too early for that.

        Args:
            slug: the workspace.
            marker: of the unit, encoded.
            since: when the doubt began, on the clock.
            after: a listing started earlier than that is not good enough.
            trace_id: of the event.

        Raises:
            AnythingLLMError: the listing can't be had.
        """
        self.seek(slug, marker)
        lookup = self._workspaces[slug]
        question = Question(marker, since, after, asked=self._clock())
        async with lookup.turn:
            choice = choose(lookup.last, question, self._clock(), self._rest)
            if choice is Choice.WAIT:
                return None
            if choice is Choice.READ or lookup.last is None:
                lookup.last = await self._read(slug, lookup, trace_id)
            listing = lookup.last
        if listing.error is not None:
            raise _copy(listing.error)
        return Sighting(listing.started, listing.found.get(marker))

    async def _read(
        self, slug: Slug, lookup: _WorkspaceLookup, trace_id: TraceId | None
    ) -> MarkerListing:
        started = self._clock()
        for marker, asked in list(lookup.sought.items()):
            if started - asked > _GIVEN_UP:
                del lookup.sought[marker]
        sought = frozenset(lookup.sought)
        found: dict[str, Location] = {}
        error = None
        try:
            found = await self._read_listing(slug, sought, trace_id)
        except AnythingLLMError as problem:
            error = _copy(problem)
        return MarkerListing(started, self._clock(), sought, found, error)


def _copy(error: AnythingLLMError) -> AnythingLLMError:
    """The same error without its cause, which may hold the whole listing."""
    return type(error)(
        error.message,
        fault=error.fault,
        http_status=error.http_status,
        retry_after=error.retry_after,
    )
