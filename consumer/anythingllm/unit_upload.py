"""Getting one unit stored *and embedded*, without ever making a double.

``200 success:true`` of AnythingLLM 1.16 proves nothing, and nothing there is idempotent. So:

1. A unit is stored when its own file proves it, or a listing of the workspace (`proof`). On vector
   databases that refuse vectors without a word a search has to find it as well (rule 4).
2. A file that is there but not embedded is only embedded again; uploading it again would double it.
   Where that request is refused and others are stored, it is removed and uploaded anew.
3. After an answer that does not say that nothing happened (`effects`) the unit is looked for. It is
   not sent again before something ends the doubt (`upload_doubt`). Where that was wrong, the sweep
   finds the double (`may_still_come`). A file is not embedded again because AnythingLLM was away:
   1.16 lists a file twice that was embedded twice, and no removal takes one row without the other.
   Then it is left behind, and its text is uploaded anew.
4. A unit that is said to be stored and can't be found, although the database keeps what others send
   (`database_control`), is taken out of the workspace and put in once, from the server's cache. If
   that does not help, its cached vectors may be the trouble: it is removed and uploaded anew. If
   that does not help either, everything is tried once more with blanks where the server would cut
   a character in two. What is not found two minutes after that, the database does not take: the
   text's own fault.
5. A request that takes a unit out may also take effect later, and would take what counts as stored
   by then. So its file counts as gone from then on, and the text is uploaded anew, into another
   file. Where the first one stays, the sweep removes one of them once that is over (`going`).
6. Its vectors have to be none of an embedder that gives nonsense with success (`embedder_in_use`).
   What may have such vectors is removed and uploaded anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from enum import Enum
from typing import NoReturn, TypeVar

from consumer.anythingllm.effects import DoubtEnd
from consumer.anythingllm.errors import (
    AnythingLLMError,
    AnythingLLMNotFoundError,
    AnythingLLMPendingError,
    AnythingLLMProtocolError,
    AnythingLLMRejectedError,
    NonsenseError,
)
from consumer.anythingllm.joint_looks import LOOK_SECONDS, Looked, Sought
from consumer.anythingllm.models import VectorHit
from consumer.anythingllm.proof import Sight, query_of
from consumer.anythingllm.transport import Check, always
from consumer.anythingllm.upload_body import upload_body, with_blanks
from consumer.anythingllm.upload_doubt import UploadDoubt
from consumer.anythingllm.upload_ways import Ways
from consumer.anythingllm.vector_databases import VectorDatabase
from consumer.anythingllm.visibility import SURE_SECONDS
from consumer.model.blank import is_blank
from consumer.model.fault import Failure, Fault
from consumer.model.marker import StoredUnit, Unit
from consumer.model.names import Location, Slug, TraceId
from consumer.telemetry.library_log import library_logger

log = library_logger(__name__)

_E = TypeVar("_E", bound=AnythingLLMError)

_SHORTEST_WAIT = 0.01  # seconds; the caller must not spin
_FEW = 10  # hits that show whether anything is found; single ones may be odd
_JUDGED_EVERY = 15.0  # seconds between looks before it is blamed
_EMBEDDED_SECONDS = 5.0  # between two looks at a file whose embedding is in doubt
_TIMES = 2  # that everything was tried for a unit before it is blamed


class _Mending(Enum):
    """What is tried for a unit that is said to be stored and is not found."""

    PUT_IN_AGAIN = "it is taken out and put in again"
    UPLOAD_ANEW = "it is removed and uploaded anew"
    NONE = "all of it is tried once more"


_NEXT = {
    _Mending.PUT_IN_AGAIN: _Mending.UPLOAD_ANEW,
    _Mending.UPLOAD_ANEW: _Mending.NONE,
    _Mending.NONE: _Mending.PUT_IN_AGAIN,
}

_NO_SUCH_PATH = 404  # of a workspace that is not there AnythingLLM says 400, or nothing


def _is_refused(error: AnythingLLMError) -> bool:
    """Whether just this request is disliked: none of an outage, and nothing of it is under way."""
    is_refusal = 400 <= (error.http_status or 0) < 500
    return is_refusal and error.fault.is_counted and not error.ambiguous


class RawTextUpload:
    """One unit on its way into one workspace; not for concurrent use.

    Args:
        ways: what all uploads share.
        slug: the workspace.
        unit: what to store.
        trace_id: of the event.
        check: called before every request that changes something; what it raises gets out.
    """

    def __init__(
        self,
        ways: Ways,
        slug: Slug,
        unit: Unit,
        trace_id: TraceId | None,
        check: Callable[[], None],
    ) -> None:
        self._ways = ways
        self._slug = slug
        self._unit = unit
        self._trace_id = trace_id
        self._check = check
        self._marker = unit.marker.encode()
        self._document_id = unit.marker.document_id
        self._location: Location | None = None
        self._doubt = UploadDoubt(
            ways,
            slug,
            self._marker,
            name=lambda: self._name,
            document_id=self._document_id,
            chunk_ids=[chunk.id for chunk in unit.chunks],
            trace_id=trace_id,
        )
        self._is_stored = False
        self._sent_at = self._embedded_at = ways.clock()
        self._made_at: float | None = None  # by then its vectors were there
        self._workspace_id: int | None = None
        self._mending = _Mending.PUT_IN_AGAIN
        self._times = 0
        self._times_sent = 0
        self._was_missed = False  # by a search, since it was embedded last
        self._was_taken_out = False  # to be put in again; its file says nothing of that
        self._is_refused = False  # by the vector database, which took other texts meanwhile
        self._has_blanks = False  # once the seams between its pieces may be the trouble
        self._sought: Sought | None = None
        self._removed: list[StoredUnit] = []
        self._going: list[Location] = []

    async def attempt(self) -> StoredUnit | None:
        """Try once; a further attempt goes on where this one ended.

        Returns:
            None where it was uploaded and has to be found by a search, which is cheaper for many:
            a further attempt looks, once more of its document are uploaded.

        Raises:
            AnythingLLMError: with whose fault it is.
        """
        if is_blank(self._unit.text):
            raise AnythingLLMRejectedError(f"{self._name}: not sent, blank text can't be embedded")
        await self._ways.readiness.prepare(self._slug, self._trace_id)
        if self._ways.readiness.id_of(self._slug) != self._workspace_id:
            # Made anew: its file may still be there, and say that it was embedded.
            self._location = self._sought = self._made_at = None
        try:
            location = await self._found() or self._made
            if location is None:
                await self._ways.embedder.enter(self._trace_id, self._check)
                await self._ways.control.enter(self._slug, self._trace_id, self._check)
                async with self._ways.slots:
                    location = await self._stored()
            if not await self._is_proven(location):
                return None
        except AnythingLLMNotFoundError as error:
            error.fault = Fault.THEIRS
            if error.http_status == _NO_SUCH_PATH:
                raise
            # The workspace vanished, which is no document's fault. The next attempt makes it again,
            # where that is allowed.
            self._ways.readiness.forget(self._slug)
            error.workspace_gone = True
            raise
        return self._proven(location)

    def proven(self) -> StoredUnit | None:
        """As `attempt`, where nothing has to be asked for it any more: one look serves many."""
        location, made_at, readiness = self._made, self._made_at, self._ways.readiness
        if location is None or made_at is None or self._doubt.is_open:
            return None
        if not readiness.is_ready(self._slug) or readiness.id_of(self._slug) != self._workspace_id:
            return None
        embedder = self._ways.embedder
        if not embedder.was_well_after(made_at) or embedder.is_suspect(self._sent_at, made_at):
            return None
        return self._proven(location)

    def _proven(self, location: Location) -> StoredUnit:
        self._ways.readiness.used(self._slug)
        self._is_stored = True
        return StoredUnit(location, self._unit.marker)

    @property
    def may_still_come(self) -> bool:
        """Whether a request of it may still take effect, beside what the attempts found.

        Also where the time for that is over, or a refused connection has shown that the server
        died: a proxy refuses connections although the server behind it goes on. Also where it was
        found: a former owner's request may have brought it, and ours may still come. And where its
        file is there and nobody could see whether it is embedded.
        """
        is_unseen = self._location is not None and not self._is_stored
        return self._doubt.was_ever or is_unseen

    @property
    def removed(self) -> Sequence[StoredUnit]:
        """What its attempts have removed, or found to be gone; a listing may have shown it."""
        return self._removed

    @property
    def going(self) -> Sequence[Location]:
        """Files that a request of its attempts may still take out (rule 5)."""
        return self._going

    async def abandon(self) -> StoredUnit | None:
        """Remove the file that was stored and is not embedded: only this upload knows of it.

        It stays where it is stored after all, and only its file could not be looked at. Where a
        removal that failed is not told, one that says that it is embedded stays listed, unless a
        search shows that the database is there and its vectors are not: while the database is away
        its row would go and its vectors would be found for ever. The next upload of its document
        looks for it.

        Returns:
            What is stored after all.
        """
        if (location := self._location) is None:
            return None
        try:
            if await self._is_there_after_all(location):
                return StoredUnit(location, self._unit.marker)
            if await self._may_have_vectors(location):
                log.info(
                    "chunk.left_listed",
                    workspace=self._slug,
                    document_id=self._document_id,
                    location=location,
                )
                return None
            # Unchecked: its check says that it is given up, which is why the file goes.
            await self._remove(location, always)
        except AnythingLLMError as error:
            self._say_left(location, error.message)
        return None

    async def _is_there_after_all(self, location: Location) -> bool:
        """Whether its row is listed, and found where that has to be: nobody looked at its file."""
        database = await self._ways.database(self._ways.errand(self._ways.timeout, self._trace_id))
        listed = await self._ways.proof.by_listing(self._slug, {self._marker}, self._trace_id)
        if listed.get(self._marker) != location:
            return False
        if not database.cached_proves:
            sight, _ = await self._sight(location, database)
            if sight is not Sight.FOUND:
                return False
        embedder, now = self._ways.embedder, self._ways.clock()
        try:
            await embedder.well_after(now, self._trace_id, self._may_ask)
        except NonsenseError:
            return False  # left listed, it would count as stored
        if embedder.is_suspect(self._sent_at, now):
            return False
        self._ways.vouching.note(location)
        return True

    async def _may_have_vectors(self, location: Location) -> bool:
        database = await self._ways.database(self._ways.errand(self._ways.timeout, self._trace_id))
        if database.tells_removals or self._is_refused:
            return False
        if not await self._ways.proof.by_file(location, self._marker, self._trace_id):
            return False
        sight, is_any_seen = await self._sight(None, database)
        return sight is not Sight.MISSING or not is_any_seen

    async def _sight(
        self, location: Location | None, database: VectorDatabase
    ) -> tuple[Sight, bool]:
        """What a search for its text says, of this file or any copy; whether it found anything."""
        hit_ids, seen = self._ways.database.hit_ids, list[VectorHit]()

        def is_found() -> bool:
            of_it = [hit for hit in seen if hit.doc_source == self._marker]
            return any(
                location is None or hit_ids.may_be_of(hit, location, database) for hit in of_it
            )

        sight = await self._ways.proof.near(
            self._slug,
            self._unit.text,
            is_found,
            seen.append,
            database=database,
            trace_id=self._trace_id,
        )
        return sight, bool(seen)

    def _say_left(self, location: Location | None, why: str) -> None:
        log.warning(
            "chunk.file_left",
            workspace=self._slug,
            document_id=self._document_id,
            location=location,
            error=why,
        )

    @property
    def _name(self) -> str:
        chunks = ", ".join(ascii(chunk.id)[1:-1][:80] for chunk in self._unit.chunks[:3])
        return f"chunk {chunks} for workspace {self._slug}"

    async def _is_proven(self, location: Location) -> bool:
        """Whether it is stored; by rule 4 where that is not proven by now.

        Returns:
            False where it is to be looked for together with its siblings.

        Raises:
            AnythingLLMPendingError: it may not be visible yet.
            AnythingLLMRejectedError: the vector database does not take this text.
            AnythingLLMError: it is not known whether it is stored.
        """
        self._location = location
        errand = self._ways.errand(self._ways.timeout, self._trace_id)
        database = await self._ways.database(errand)
        looks = self._ways.looks
        if self._made_at is None:
            self._made_at = self._ways.clock()
            if database.cached_proves:
                return False  # together with its siblings: one look at the embedder for all
        if database.cached_proves:
            await self._prove_sense(location, self._made_at)
            return True
        sought = self._sought
        is_first = sought is None or sought.location != location
        if sought is None or sought.location != location:
            sought = self._sought = looks.seek(self._slug, self._unit.marker, location)
            self._embedded_at = self._ways.clock()  # an upload may take minutes
        if is_first and not looks.is_due(sought):
            return False
        if not is_first:
            await self._prove_sense(location, self._made_at)
        left = self._left(database)
        what = Looked(self._unit.text, self._sent_at, self._trace_id, self._check)
        if await looks.is_found(sought, what, database, is_late=left <= 0):
            await self._prove_row(location)
            if self._was_missed:
                self._ways.database.visibility.note(self._ways.clock() - self._embedded_at)
            return not is_first  # then as above
        self._was_missed = True
        if is_first:
            await self._prove_sense(location, self._made_at)
        if left <= 0:
            await self._mend(location, database)
        if is_first and not looks.is_crowded(sought):
            return False
        raise self._not_seen(min(left, LOOK_SECONDS))

    def _not_seen(self, seconds: float) -> AnythingLLMPendingError:
        return AnythingLLMPendingError(
            f"{self._name}: stored, and not seen by a search yet; it is looked for again",
            retry_after=max(seconds, _SHORTEST_WAIT),
        )

    async def _prove_sense(self, location: Location, made_at: float) -> None:
        """Return when its vectors are none of an embedder that gives nonsense (rule 6).

        Raises:
            AnythingLLMPendingError: they may be: the next attempt uploads it anew.
            AnythingLLMError: theirs: the embedder gives nonsense now, or nobody can say.
        """
        embedder = self._ways.embedder
        await embedder.well_after(made_at, self._trace_id, self._may_ask)
        if not embedder.is_suspect(self._sent_at, made_at):
            return
        database = self._ways.database.known
        await self._ways.control.removals_work(self._slug, database, self._trace_id, self._check)
        self._check()
        log.info(
            "chunk.suspect", workspace=self._slug, document_id=self._document_id, location=location
        )
        await self._remove(location, self._check)
        self._sought = None
        raise AnythingLLMPendingError(
            f"{self._name}: stored while AnythingLLM's embedder gave nonsense; uploaded anew",
            retry_after=_SHORTEST_WAIT,
        )

    async def _prove_row(self, location: Location) -> None:
        """Return when it is listed, where it was taken out: putting it in again may have failed.

        Its file says that it is embedded since the first time, and the database may have kept the
        vectors of then.

        Raises:
            AnythingLLMPendingError: it is not listed: the next attempt uploads it anew.
        """
        if not self._was_taken_out:
            return
        found = await self._ways.proof.by_listing(self._slug, {self._marker}, self._trace_id)
        if found.get(self._marker) == location:
            self._was_taken_out = False
            return
        self._say_left(location, "it was not put in again")
        self._gone(location)
        self._sought = None
        raise AnythingLLMPendingError(
            f"{self._name}: taken out of the workspace, and not put in again; uploaded anew",
            retry_after=_SHORTEST_WAIT,
        )

    def _may_ask(self) -> None:
        """As `_check`; of a unit that is given up it is still asked whether it is there."""
        with suppress(Failure):
            self._check()

    @property
    def _made(self) -> Location | None:
        """Its file, where that was proven to be embedded and is all that has to be proven of it."""
        is_all = self._made_at is not None and self._ways.database.known.cached_proves
        return self._location if is_all else None

    def _left(self, database: VectorDatabase) -> float:
        """Seconds until a search surely finds it, if it is stored."""
        visible = self._ways.database.visibility.seconds(database)
        return self._embedded_at + visible - self._ways.clock()

    async def _mend(self, location: Location, database: VectorDatabase) -> NoReturn:
        """Try the next remedy for a unit that is not found (rule 4); the next attempt looks."""
        control, trace_id = self._ways.control, self._trace_id
        is_last = self._mending is _Mending.NONE and self._times + 1 >= _TIMES
        if is_last and (left := self._left_to_judge) > 0:
            raise self._not_seen(min(left, _JUDGED_EVERY))
        await control.passes(self._slug, self._sent_at, trace_id, self._check)
        if (left := self._left(database)) > 0:
            raise self._not_seen(left)  # what others sent was found late as well
        if not await self._finds_anything():
            # The database may have gone away just before the look: the row would go, the vectors
            # stay. So it has to be there now, not only since this was sent.
            await control.passes(self._slug, self._ways.clock(), trace_id, self._check)
        self._check()
        mending = self._mending
        log.info(
            "chunk.not_found",
            workspace=self._slug,
            document_id=self._document_id,
            location=location,
            mending=mending.value,
        )
        errand = self._ways.errand(self._ways.upload_timeout, self._trace_id)
        if mending is _Mending.PUT_IN_AGAIN:
            self._was_taken_out = True
            try:
                with self._taking_out(location):
                    adds = deletes = [location]
                    await self._ways.api.relist(errand, self._slug, adds=adds, deletes=deletes)
            except AnythingLLMError as error:
                if _is_refused(error):
                    self._mending, self._was_taken_out = _NEXT[mending], False
                raise
        elif mending is _Mending.UPLOAD_ANEW:
            await self._remove(location, self._check)
        else:
            # The database may take and refuse by turns: once is no proof.
            await self._ways.control.passes(
                self._slug, self._ways.clock(), self._trace_id, self._check
            )
            self._times += 1
            self._has_blanks = True
            if self._times >= _TIMES:
                self._is_refused = True
                raise self._about(
                    AnythingLLMRejectedError,
                    "AnythingLLM answers that it is stored, and no search finds it, also after it"
                    " was uploaded anew, while other texts are found: its vector database does not"
                    " take this text. Publish it with line breaks, or without rare characters",
                )
        self._mending, self._was_missed = _NEXT[mending], False
        self._sent_at = self._embedded_at = self._ways.clock()
        raise AnythingLLMPendingError(
            f"{self._name}: stored, and not found by a search; {mending.value}",
            retry_after=_SHORTEST_WAIT,
        )

    @property
    def _left_to_judge(self) -> float:
        """Seconds until what no search finds is its own fault: some show new vectors late."""
        return self._embedded_at + SURE_SECONDS - self._ways.clock()

    async def _finds_anything(self) -> bool:
        """Whether a search in the workspace finds something: then the database is there now."""
        errand = self._ways.errand(self._ways.timeout, self._trace_id)
        query = query_of(self._unit.text)
        return bool(await self._ways.api.search(errand, self._slug, query, _FEW))

    async def _stored(self) -> Location:
        """Upload it, or embed what is uploaded.

        Raises:
            AnythingLLMError: as `attempt` does. A refusal that may not be AnythingLLM's own, such
                as that of a filter which does not like the *answer*, is raised only where a look
                shows that nothing was stored: it would be the text's fault.
        """
        try:
            return await self._store()
        except AnythingLLMError as error:
            if not self._doubt.is_open:
                raise
            if not self._doubt.is_over:
                await self._ways.restarts.look()  # it may be away only for seconds
            elif error.fault is Fault.DOCUMENT and (location := await self._found()) is not None:
                return location
            raise

    async def _store(self) -> Location:
        location = self._location or await self._send()
        self._location = location
        if await self._is_embedded(location):
            return location
        self._check()
        log.info(
            "chunk.embedding_again",
            workspace=self._slug,
            document_id=self._document_id,
            location=location,
        )
        try:
            with self._watching():
                errand = self._ways.errand(self._ways.upload_timeout, self._trace_id)
                await self._ways.api.embed(errand, self._slug, [location])
        except AnythingLLMError as error:
            if _is_refused(error):
                await self._leave_to_an_upload(location)
            raise
        if await self._is_embedded(location):
            return location
        await self._give_blanks(location)
        raise self._about(
            AnythingLLMError,
            "the text is stored but AnythingLLM could not embed it",
            then="a further try embeds it and uploads nothing",
        )

    async def _leave_to_an_upload(self, location: Location) -> None:
        """Remove its file, where that may not be embedded again; the next attempt uploads it anew.

        Others are uploaded and stored meanwhile. It would be blamed for a request that only what
        was stored half has to send, and that a firewall may refuse for ever.

        Raises:
            AnythingLLMError: others are not stored either.
        """
        await self._ways.control.passes(self._slug, self._sent_at, self._trace_id, self._check)
        if await self._is_embedded(location):
            return  # in spite of that answer; the next attempt finds it
        self._check()
        await self._remove(location, self._check)

    async def _give_blanks(self, location: Location) -> None:
        """Have a text uploaded anew that may not be embedded because AnythingLLM cuts it badly.

        Only where others are stored meanwhile: a text is not changed for an outage.

        Raises:
            AnythingLLMPendingError: the next attempt uploads it with blanks.
            AnythingLLMError: others are not stored either.
        """
        errand = self._ways.errand(self._ways.timeout, self._trace_id)
        database = await self._ways.database(errand)
        is_cut_badly = with_blanks(self._unit.text) != self._unit.text
        if self._has_blanks or database.takes_halves or not is_cut_badly:
            return
        now = self._ways.clock()
        await self._ways.control.passes(self._slug, now, self._trace_id, self._check)
        self._check()
        try:
            await self._remove(location, self._check)
        finally:
            self._has_blanks = self._location is None
        raise AnythingLLMPendingError(
            f"{self._name}: the text is stored but AnythingLLM could not embed it, and it may be"
            " cut in the middle of a character; it is uploaded anew with blanks to cut at",
            retry_after=_SHORTEST_WAIT,
        )

    async def _send(self) -> Location:
        self._check()
        errand = replace(
            self._ways.errand(self._ways.upload_timeout, self._trace_id),
            check=self._check,
            resent=self._times_sent,
        )
        self._times_sent += 1
        self._sent_at = self._ways.clock()
        self._workspace_id = self._ways.readiness.id_of(self._slug)
        with self._watching():
            body = upload_body(self._slug, self._unit, self._marker, has_blanks=self._has_blanks)
            file = await self._ways.api.raw_text(errand, body)
            if file.doc_source != self._marker:
                raise self._not_ours()
        return file.location

    async def _is_embedded(self, location: Location) -> bool:
        embedded = await self._ways.proof.by_file(location, self._marker, self._trace_id)
        if embedded is not None:
            return embedded
        # It was removed, or never ours: the next attempt looks for the marker and uploads.
        self._gone(location)
        self._sought = None
        self._doubt.begin()
        raise self._not_ours()

    async def _remove(self, location: Location, check: Check) -> None:
        errand = self._ways.errand(self._ways.upload_timeout, self._trace_id)
        with self._taking_out(location):
            await self._ways.removal.remove(errand, self._slug, [location], check)
        self._gone(location)

    @contextmanager
    def _taking_out(self, location: Location) -> Iterator[None]:
        """Count its file as gone where nobody knows whether a request takes it (rule 5)."""
        try:
            yield
        except AnythingLLMError as error:
            if error.ambiguous or error.unproven:
                self._going.append(location)
                self._gone(location)
                self._sought = None
                self._doubt.was_ever = True
            raise

    def _gone(self, location: Location) -> None:
        self._location = self._made_at = None
        self._was_taken_out = False
        self._removed.append(StoredUnit(location, self._unit.marker))

    def _not_ours(self) -> AnythingLLMProtocolError:
        error = self._about(
            AnythingLLMProtocolError,
            "AnythingLLM named a file that is not this chunk's",
            then="it will be looked for before it is uploaded again",
        )
        error.ambiguous = True
        return error

    def _about(self, kind: type[_E], what: str, *, then: str = "") -> _E:
        """An error that names this unit and what comes next, and its last word, which does not."""
        error = kind("; ".join(filter(None, (f"{self._name}: {what}", then))))
        error.last_word = what
        return error

    @contextmanager
    def _watching(self) -> Iterator[None]:
        """Remember when a request that changes something ended without a clear answer."""
        try:
            yield
        except AnythingLLMError as error:
            if error.ambiguous or error.unproven:
                self._doubt.begin(is_over=not error.ambiguous)
            raise

    async def _found(self) -> Location | None:
        """Where an earlier attempt's result is that is in doubt; None when it may be sent (again).

        Raises:
            AnythingLLMPendingError: it is not there, and may still come.
        """
        doubt = self._doubt
        if not doubt.is_open or self._location is None:
            return await doubt.find()
        by = await doubt.has_ended()  # before the look: what it does not show then will not come
        if await self._is_embedded(self._location):
            return await self._listed(self._location)
        if by is None:
            raise doubt.pending(_EMBEDDED_SECONDS)
        if by is DoubtEnd.RESTARTED:
            self._say_left(self._location, "embedding was cut short")
            self._location = None
            return await doubt.find()
        doubt.end(by)
        return None

    async def _listed(self, location: Location) -> Location | None:
        """Where it is listed, of a file that says that it is embedded.

        AnythingLLM 1.16 writes the vectors of a file first and its row last, and may die between.

        Raises:
            AnythingLLMPendingError: its row may still come.
        """
        found = await self._doubt.find()
        if found is None:
            self._say_left(location, "embedding was cut short")
            self._location = None
        return found
