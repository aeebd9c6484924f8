"""Removing documents also where something between us and AnythingLLM refuses the request for it.

AnythingLLM 1.16 removes a document, its file included, by DELETE with a body. HTTP gives such a
body no meaning (RFC 9110, 9.3.5), and some proxies refuse or drop it (`REFUSALS`). So:

1. A refusal is put down to a proxy only when the removal of a file that does not exist is refused
   as well: AnythingLLM answers that with success (tests/data/recordings/removal.json), and it
   harms nothing. What passes (429, 502, 503, 504, a broken connection) proves nothing.
2. From then on documents are taken out of the workspace they are listed in (``update-embeddings``
   with ``deletes``): no search finds them, no listing shows them. **Their files stay** in
   AnythingLLM's store, text and cached vectors; `workspaces verify` names them. A document that
   people put into further workspaces stays there.
3. That it was taken out is proven by a new listing: AnythingLLM mentions no failure. Only where
   the workspace is too large to be listed its answer has to do.
4. Every `AGAIN_SECONDS` the next removal tries whether the first way is open again, harmlessly.
5. Where both ways are refused for `FOR_GOOD_SECONDS` the removal is refused for good
   (`RemovalRefusedError`): asking again would change nothing before somebody mends the proxy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import structlog

from consumer.anythingllm.api import Api
from consumer.anythingllm.errors import (
    AnythingLLMError,
    AnythingLLMForbiddenError,
    AnythingLLMNotFoundError,
    AnythingLLMServerError,
)
from consumer.anythingllm.models import DocumentRow
from consumer.anythingllm.transport import Check, Errand, always
from consumer.model.fault import Fault
from consumer.model.listing import FILE_STORE
from consumer.model.names import Location, Slug
from consumer.model.slug import is_slug

log = structlog.get_logger(__name__)

NOWHERE = Location("custom-documents/anythingllm-consumer-is-a-removal-let-through.json")
AGAIN_SECONDS = 300.0  # between two looks whether removals are let through again
FOR_GOOD_SECONDS = 60.0  # a proxy that is being set up is mended within that
_RARELY_SECONDS = 20.0  # between two looks where the answer may be AnythingLLM's own
_PROBE_SECONDS = 30.0  # the event log takes 5 ms a workspace for each name
_MOST_ROUNDS = 10  # a file may be listed more than once, and each request takes out one row


@dataclass(frozen=True, slots=True)
class ProxyRefusal:
    """Why an answer to the removal of a file that does not exist is no answer of AnythingLLM.

    Args:
        why: for people, behind "something between us and AnythingLLM".
        patience: seconds for which it has to be seen before it is believed.
    """

    why: str
    patience: float = 0.0


REFUSALS: Mapping[int, ProxyRefusal] = {
    # Google's HTTPS load balancer and Cloudflare's wrangler (bench-routes/bench-routes#487,
    # cloudflare/workers-sdk#2707). AnythingLLM answers it to JSON that is broken, and ours is not.
    400: ProxyRefusal("takes a DELETE with a body for malformed"),
    # RFC 9110, 15.5.6: a proxy with a list of methods that it lets through.
    405: ProxyRefusal("does not let DELETE through"),
    # RFC 9110, 15.5.12; nginx behind a proxy that drops the length (http-party/node-http-proxy#338)
    411: ProxyRefusal("does not pass on how long the body of a DELETE is"),
    # RFC 9110, 15.6.2: a proxy that does not know the method, or it with a body.
    501: ProxyRefusal("does not know DELETE with a body"),
    # Akamai drops the body (apicollective/apibuilder#763), and AnythingLLM answers 500 where there
    # are no names. So it does while its own database is in trouble: that passes.
    500: ProxyRefusal("seems to drop the body of a DELETE", patience=60.0),
}
"""By status. AnythingLLM 1.16 itself answers 200, 403 and 500 there."""


class RemovalRefusedError(AnythingLLMForbiddenError):
    """Something between us and AnythingLLM refuses both ways to remove, for good."""


class RemovalWay:
    """Whether DELETE with a body is let through, as far as was seen; one for a server.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._status: int | None = None
        self._is_told = False
        self._since = self._asked_at = float("-inf")
        self._both_since: float | None = None

    @property
    def is_shut(self) -> bool:
        """Whether documents are to be taken out of workspaces instead."""
        status = self._status
        return status is not None and (self._asked_at - self._since >= REFUSALS[status].patience)

    def is_worth_a_look(self, status: int) -> bool:
        """Whether a removal that was answered so is a reason to look: not each that may pass."""
        is_definite = not REFUSALS[status].patience
        return is_definite or self._clock() >= self._asked_at + _RARELY_SECONDS

    @property
    def is_due(self) -> bool:
        """Whether it is to be looked at again."""
        return self._clock() >= self._asked_at + AGAIN_SECONDS

    @property
    def refusal(self) -> str:
        """What is seen of it, for people."""
        status = self._status or 0
        return (
            f"something between us and AnythingLLM {REFUSALS[status].why} (DELETE "
            f"/api/v1/system/remove-documents is answered {status}, also for a file that is not"
            " there)"
        )

    def refused(self, status: int) -> None:
        """Note that the removal of a file that does not exist was answered so."""
        now = self._clock()
        if not self.is_shut and (self._status is None or self.is_due):
            self._since = now  # what was seen long ago may have passed since
        self._asked_at, self._status = now, status

    def tell(self) -> None:
        """Log it once that documents are taken out of workspaces instead."""
        if self._is_told:
            return
        self._is_told = True
        log.error(
            "removal.let_through_no_more",
            error=self.refusal,
            consequence="what is removed is taken out of its workspace and found no more; its file"
            " stays in AnythingLLM's store",
            what_to_do=WHAT_TO_DO,
        )

    def passed(self) -> None:
        """Note that a removal was answered by AnythingLLM."""
        if self._is_told:
            log.warning("removal.let_through_again", what_to_do="`workspaces repair --yes`")
        self._is_told = False
        self._status = self._both_since = None

    def other_refused(self) -> bool:
        """Note that the other way is refused, too; whether both are for good."""
        if self._both_since is None:
            self._both_since = self._clock()
        return self._clock() - self._both_since >= FOR_GOOD_SECONDS

    def other_passed(self) -> None:
        """Note that the other way works."""
        self._both_since = None


WHAT_TO_DO = (
    "have it let DELETE /api/v1/system/remove-documents through with its body, then run"
    " `workspaces repair --yes`: it removes the files that stayed"
)


class DocumentRemoval:
    """See the module's docstring. Every method raises `AnythingLLMError`.

    Args:
        api: the endpoints.
        way: what was seen of the first way, shared by all who remove.
    """

    def __init__(self, api: Api, way: RemovalWay) -> None:
        self._api = api
        self._way = way

    async def remove(
        self,
        errand: Errand,
        slug: Slug | None,
        locations: Sequence[Location],
        check: Check = always,
    ) -> bool:
        """Remove documents; those that are gone already are no error.

        Args:
            errand: for all of it.
            slug: where they are listed; `FILE_STORE`: in whatever workspace; None: in none.
            locations: as listed.
            check: called before every request; what it raises gets out.

        Returns:
            Whether their files are gone as well.

        Raises:
            RemovalRefusedError: neither way is let through.
        """
        if not self._way.is_shut or (self._way.is_due and await self.look(errand, check) is None):
            check()
            try:
                await self._api.remove(errand, locations)
            except AnythingLLMError as error:
                if await self._is_let_through(errand, error.http_status, check):
                    raise
            else:
                self._way.passed()
                return True
        await self._take_out(errand, slug, locations, check)
        return False

    async def look(self, errand: Errand, check: Check = always) -> str | None:
        """Remove a file that does not exist: why that is not let through, or None where it is.

        Raises:
            AnythingLLMError: nobody can say now.
        """
        soon = min(errand.deadline, errand.clock() + _PROBE_SECONDS)
        check()
        try:
            await self._api.remove(replace(errand, deadline=soon), [NOWHERE])
        except AnythingLLMError as error:
            status = error.http_status
            if status is None or status not in REFUSALS:
                raise
            self._way.refused(status)
            return self._way.refusal
        self._way.passed()
        return None

    @property
    def refusal(self) -> str | None:
        """Why files stay, for people; None where that is not known to be so."""
        return self._way.refusal if self._way.is_shut else None

    async def _is_let_through(self, errand: Errand, status: int | None, check: Check) -> bool:
        """Whether a removal that was answered so is not known to be refused by a proxy."""
        if status is None or status not in REFUSALS:
            return True
        if self._way.is_worth_a_look(status):
            with suppress(AnythingLLMError):
                await self.look(errand, check)
        return not self._way.is_shut

    # -- the other way ---------------------------------------------------------------------------

    async def _take_out(
        self, errand: Errand, slug: Slug | None, locations: Sequence[Location], check: Check
    ) -> None:
        self._way.tell()
        wanted = frozenset(locations)
        if slug == FILE_STORE:
            for each in await self._api.workspaces(errand):
                if is_slug(each.slug):
                    await self._take_out_wherever(errand, each.slug, wanted, check)
        elif slug is not None:
            await self._take_out_of(errand, slug, Counter(dict.fromkeys(wanted, 1)), check)
        self._way.other_passed()

    async def _take_out_wherever(
        self, errand: Errand, slug: Slug, wanted: frozenset[Location], check: Check
    ) -> None:
        """Out of one workspace of all: most don't list it, and one may not be listed itself."""
        check()
        listed = await self._listed(errand, slug, wanted)
        await self._take_out_of(errand, slug, Counter(wanted) if listed is None else listed, check)

    async def _take_out_of(
        self, errand: Errand, slug: Slug, listed: Counter[Location], check: Check
    ) -> None:
        wanted = frozenset(listed)
        for _ in range(_MOST_ROUNDS):
            if not listed:
                return
            check()
            refused = await self._unlist(errand, slug, sorted(listed.elements()))
            after = await self._listed(errand, slug, wanted)
            if refused is not None and after != Counter():
                raise self._refused_twice(slug, refused)
            listed = after or Counter()
        if listed:
            raise AnythingLLMError(
                f"AnythingLLM still lists {len(listed)} documents in workspace {slug!r} that were"
                " taken out of it"
            )

    async def _unlist(
        self, errand: Errand, slug: Slug, locations: Sequence[Location]
    ) -> AnythingLLMError | None:
        """Take rows out; the refusal, which may mean that the workspace is gone."""
        try:
            await self._api.unlist(errand, slug, locations)
        except (AnythingLLMNotFoundError, AnythingLLMForbiddenError) as error:
            return error
        except AnythingLLMError as error:
            if error.http_status not in REFUSALS or error.http_status == 500:
                raise
            return error
        return None

    async def _listed(
        self, errand: Errand, slug: Slug, wanted: frozenset[Location]
    ) -> Counter[Location] | None:
        """How often it lists each of them; None where AnythingLLM can't list it (500)."""
        found: Counter[Location] = Counter()

        def take(row: DocumentRow) -> None:
            if row.location in wanted:
                found[row.location] += 1

        try:
            await self._api.scan(errand, slug, take)
        except AnythingLLMServerError as error:
            if error.http_status != 500:
                raise
            return None
        return found

    def _refused_twice(self, slug: Slug, refused: AnythingLLMError) -> AnythingLLMError:
        path = f"POST /api/v1/workspace/{slug}/update-embeddings"
        seen = f"{self._way.refusal}, and {path} is answered {refused.http_status}"
        is_definite = isinstance(refused, AnythingLLMForbiddenError)
        if not self._way.other_refused() and not is_definite:
            return AnythingLLMError(f"{seen}: it is tried again", fault=Fault.THEIRS)
        return RemovalRefusedError(
            f"{seen}: nothing can be removed. Have it let both through, and replay the dead letter",
            http_status=refused.http_status,
        )
