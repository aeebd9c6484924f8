"""Rows that are listed, on vector databases where a listing proves nothing: are they found?

AnythingLLM lists a document whose vectors the database has refused (`vector_databases`). Whoever
made it would have found out, but may have died before: then its row looks like that of a stored
chunk. So a row counts as stored when a search has found it, once in the life of a process.

One search proves as many chunks of a document as it happens to find: with a common title and a
common subject they are near each other. Copies of a chunk are told apart by `hit_ids`.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from consumer.anythingllm.blocked_search import AGAIN_SECONDS, LATELY, BlockedSearches
from consumer.anythingllm.database_control import DatabaseControl
from consumer.anythingllm.database_in_use import DatabaseInUse
from consumer.anythingllm.embedder_in_use import EmbedderInUse
from consumer.anythingllm.errors import AnythingLLMError
from consumer.anythingllm.hit_ids import HitIds
from consumer.anythingllm.models import VectorHit
from consumer.anythingllm.proof import Sight, StorageProof
from consumer.anythingllm.removal_looks import title_words
from consumer.anythingllm.transport import Check, NewErrand
from consumer.anythingllm.vector_databases import VectorDatabase
from consumer.model.blank import is_blank
from consumer.model.copies import ComparableUnit
from consumer.model.marker import StoredUnit, decode_marker
from consumer.model.names import Location, Slug, TraceId
from consumer.model.packing import pack_text
from consumer.model.version import DocumentVersion
from consumer.telemetry.library_log import library_logger

log = library_logger(__name__)

MOST_KNOWN = 200_000  # locations that were found, about 20 MB; the longest known go first
_HITS_EACH = 3  # asked for at first for each row that is looked for
_MOST_AT_ONCE = 300  # hits of a first search
_LOOK_SECONDS = 2.0  # between two searches for what may not be visible yet

_NOWHERE = Location("")


class _Key(NamedTuple):
    """What rows and hits have in common that are of the same chunk."""

    version: DocumentVersion
    digests: tuple[str, ...]
    chunk_ids: str


@dataclass(frozen=True, slots=True)
class _Asked:
    """Where rows are looked for, by what, and for whom; what is listed of each kind."""

    slug: Slug
    texts: Mapping[str, str]
    listed: Mapping[_Key, Set[Location]]
    database: VectorDatabase
    trace_id: TraceId | None
    check: Check


class Vouching:
    """See the module's docstring.

    Args:
        timeout: seconds for one request.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        proof: StorageProof,
        database: DatabaseInUse,
        control: DatabaseControl,
        embedder: EmbedderInUse,
        *,
        errand: NewErrand,
        timeout: float,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._proof = proof
        self._database = database
        self._control = control
        self._embedder = embedder
        self._errand = errand
        self._timeout = timeout
        self._clock = clock
        self._sleep = sleep
        self._found_in: VectorDatabase | None = None
        self._known: OrderedDict[int, None] = OrderedDict()

    def note(self, location: Location) -> None:
        """Note that a search has found it, or that nobody can say more of it."""
        self._known[hash(location)] = None
        while len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)

    def __contains__(self, location: Location) -> bool:
        """Whether it was noted, and is not forgotten."""
        return hash(location) in self._known

    async def found(
        self,
        slug: Slug,
        rows: Sequence[ComparableUnit],
        texts: Callable[[], Mapping[str, str]],
        trace_id: TraceId | None,
        check: Check,
    ) -> frozenset[Location]:
        """The locations of the rows that are stored; all of them where listings can be believed.

        Args:
            slug: the workspace.
            rows: of one document.
            texts: of the document's chunks, by digest. Rows with other texts are not looked for.
            trace_id: of the event.
            check: called before every request; what it raises gets out.

        Raises:
            AnythingLLMError: nobody can say it, because the vector database is not well.
        """
        database = await self._database(self._errand(self._timeout, trace_id))
        if database is not self._found_in:  # another one begins empty
            self._known.clear()
            self._found_in = database
        every = frozenset(row.location for row in rows)
        unknown = [row for row in rows if row.digests and hash(row.location) not in self._known]
        is_believed = database.cached_proves and not self._embedder.has_been_mad
        if is_believed or not unknown:
            return every
        by_digest = texts()
        unknown = [row for row in unknown if by_digest.keys() >= set(row.digests)]
        asked = _Asked(slug, by_digest, _by_key(rows), database, trace_id, check)
        return every - await self._missing(unknown, asked)

    async def look(
        self, slug: Slug, rows: Sequence[ComparableUnit], trace_id: TraceId | None, check: Check
    ) -> None:
        """Note the rows that a search for the title of their document shows, whatever their texts.

        Args:
            slug: the workspace.
            rows: all that it lists of one document.
            trace_id: of the event.
            check: called before the search; what it raises gets out.

        Raises:
            AnythingLLMError: it can't be searched now.
        """
        database = await self._database(self._errand(self._timeout, trace_id))
        title = next((words for row in rows if (words := title_words(row.location))), "")
        if database.cached_proves or is_blank(title):
            return
        wanted = _by_key(rows)
        shown = _Shown(_by_key(rows), self._database.hit_ids, database)

        def is_done() -> bool:
            shown.again()
            return not wanted

        def saw(hit: VectorHit) -> None:
            for location in shown.take(hit, wanted):
                self.note(location)

        check()
        await self._proof.near(
            slug,
            title,
            is_done,
            saw,
            database=database,
            trace_id=trace_id,
            top=_MOST_AT_ONCE,
            is_exact=True,
        )

    async def _missing(self, rows: Sequence[ComparableUnit], asked: _Asked) -> frozenset[Location]:
        began = self._clock()
        wanted = _by_key(rows)
        is_late = not self._left(began, asked)
        await self._look(wanted, list(wanted), asked, is_exact=is_late)
        await self._look_on(wanted, asked, began)
        if wanted:
            await self._control.passes(asked.slug, began, asked.trace_id, asked.check)
            await self._look_on(wanted, asked, began)  # its test document was found late as well
        if wanted:
            log.warning("chunk.row_without_vectors", workspace=asked.slug, rows=len(wanted))
        return frozenset[Location]().union(*wanted.values())

    def _left(self, began: float, asked: _Asked) -> float:
        """Seconds until a search surely finds what was stored when it began."""
        seconds = self._database.visibility.seconds(asked.database)
        return max(0.0, began + seconds - self._clock())

    async def _look_on(
        self, wanted: dict[_Key, set[Location]], asked: _Asked, began: float
    ) -> None:
        """Look again until everything is found, or surely would be."""
        while wanted and (left := self._left(began, asked)):
            await self._sleep(min(_LOOK_SECONDS, left))
            is_late = not self._left(began, asked)
            # Meanwhile one is enough to see whether anything has become visible.
            some = list(wanted) if is_late else list(wanted)[:1]
            await self._look(wanted, some, asked, is_exact=is_late)

    async def _look(
        self,
        wanted: dict[_Key, set[Location]],
        some: Sequence[_Key],
        asked: _Asked,
        *,
        is_exact: bool,
    ) -> None:
        """Take out of `wanted` what searches for some find, and what they can't say anything of."""
        shown = _Shown(asked.listed, self._database.hit_ids, asked.database)

        def saw(hit: VectorHit) -> None:
            for location in shown.take(hit, wanted):
                self.note(location)

        def is_gone(key: _Key) -> bool:
            shown.again()
            return key not in wanted

        blocked = BlockedSearches[_Key](self._clock)
        left = deque(some)
        while left:
            key = left.popleft()
            shown.again()
            text = pack_text(asked.texts[digest] for digest in key.digests)
            if key not in wanted or is_blank(text):
                continue
            asked.check()
            try:
                sight = await self._proof.near(
                    asked.slug,
                    text,
                    partial(is_gone, key),
                    saw,
                    database=asked.database,
                    trace_id=asked.trace_id,
                    top=min(_HITS_EACH * len(wanted), _MOST_AT_ONCE),
                    is_exact=is_exact,
                )
            except AnythingLLMError as error:
                is_blocked = blocked.failed(key, error)
                # Others have to be found meanwhile.
                lately = self._clock() - LATELY
                await self._control.passes(asked.slug, lately, asked.trace_id, asked.check)
                if not is_blocked:
                    await self._sleep(AGAIN_SECONDS / (len(left) + 1))
                    left.append(key)
                    continue
                log.warning("chunk.not_provable", workspace=asked.slug, error=error.message)
                sight = Sight.HIDDEN
            if sight is Sight.HIDDEN:
                for location in wanted.pop(key, ()):
                    self.note(location)


class _Shown:
    """Which units a search shows.

    Where a hit does not name its file, a text that is listed twice has to be there twice, or nobody
    knows which of the rows has it: what was found for one of them before is found once more.

    Args:
        listed: where rows of each kind are.
        ids: may name the file of a hit.
        database: what is searched.
    """

    def __init__(
        self,
        listed: Mapping[_Key, Set[Location]],
        ids: HitIds,
        database: VectorDatabase,
    ) -> None:
        self._listed = listed
        self._ids = ids
        self._database = database
        self._named: defaultdict[_Key, set[Location]] = defaultdict(set)
        self._nameless: Counter[tuple[_Key, str]] = Counter()
        self._most_nameless: Counter[_Key] = Counter()  # of one text

    def take(self, hit: VectorHit, wanted: dict[_Key, set[Location]]) -> set[Location]:
        """Take out of `wanted` what is shown by now; that."""
        marker = decode_marker(hit.doc_source)
        key = _key(StoredUnit(_NOWHERE, marker)) if marker else None
        if key is None or key not in wanted:
            return set()
        found = wanted[key] & self._by(hit, key)
        wanted[key] -= found
        if not wanted[key]:
            del wanted[key]
        return found

    def _by(self, hit: VectorHit, key: _Key) -> Set[Location]:
        rows, named = self._listed[key], self._named[key]
        if self._ids.tell(hit, self._database):
            named |= {each for each in rows if self._ids.may_be_of(hit, each, self._database)}
        else:
            times = self._nameless[key, hit.text] = self._nameless[key, hit.text] + 1
            self._most_nameless[key] = max(self._most_nameless[key], times)
        return rows if self._most_nameless[key] >= len(rows - named) else named

    def again(self) -> None:
        """A further search shows the same vectors again."""
        self._named.clear()
        self._nameless.clear()
        self._most_nameless.clear()


def _by_key(rows: Iterable[ComparableUnit]) -> dict[_Key, set[Location]]:
    found: dict[_Key, set[Location]] = {}
    for row in rows:
        found.setdefault(_key(row), set()).add(row.location)
    return found


def _key(unit: ComparableUnit) -> _Key:
    return _Key(unit.version, tuple(unit.digests), unit.chunk_ids)
