"""Removing documents also where something between us and AnythingLLM refuses the request for it.

AnythingLLM 1.16 removes a document, its file included, by DELETE with a body. HTTP gives such a
body no meaning (RFC 9110, 9.3.5), and some proxies refuse or drop it (`removal_way`). So:

1. A refusal is put down to a proxy only when the removal of a file that does not exist is refused
   as well while the API key is accepted, for as long as such an answer may pass (`refusal_of`).
   Where that one is let through, something dislikes these documents: `RemovalRefusedError`.
2. From then on documents are taken out of the workspace they are listed in (``update-embeddings``
   with ``deletes``): no search finds them, no listing shows them. **Their files stay** in
   AnythingLLM's store, text and cached vectors; `workspaces verify` names them. A document that
   people put into further workspaces stays there.
3. That it was taken out is proven by a new listing: AnythingLLM mentions no failure. Only where
   the workspace is too large to be listed its answer has to do.
4. Every `AGAIN_SECONDS` the next removal tries whether the first way is open again, harmlessly.
5. Where both ways are refused the removal is (`RemovalRefusedError`). Whether that is for good
   shows when it is asked for again, over minutes (`consumer.pipeline.removal`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from consumer.anythingllm.api import Api
from consumer.anythingllm.errors import (
    AnythingLLMError,
    AnythingLLMForbiddenError,
    AnythingLLMNotFoundError,
    AnythingLLMServerError,
)
from consumer.anythingllm.models import DocumentRow
from consumer.anythingllm.removal_way import ProxyRefusal, RemovalWay, refusal_of
from consumer.anythingllm.transport import Check, Errand, always
from consumer.model.fault import Fault
from consumer.model.listing import FILE_STORE
from consumer.model.names import Location, Slug
from consumer.model.slug import is_slug

NOWHERE = Location("custom-documents/anythingllm-consumer-is-a-removal-let-through.json")
_AT_ONCE_SECONDS = 10.0  # a firewall's answer; one that comes later is a gateway's that lost it
_SOON_BELIEVED = 60.0  # seconds; what has to be seen for longer looks like an outage
_PROBE_SECONDS = 30.0  # the event log takes 5 ms a workspace for each name
_MOST_ROUNDS = 10  # a file may be listed more than once, and each request takes out one row


class RemovalRefusedError(AnythingLLMForbiddenError):
    """Something between us and AnythingLLM refuses both ways to remove, or these documents."""


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
            errand: for all of it, but looks whether it is let through.
            slug: where they are listed; `FILE_STORE`: in whatever workspace; None: in none.
            locations: as listed.
            check: called before every request; what it raises gets out.

        Returns:
            Whether their files are gone as well.

        Raises:
            RemovalRefusedError: neither way is let through, or others are and these are not.
        """
        if not self._way.is_shut or (self._way.is_due and await self._look(errand, check) is None):
            check()
            began = errand.clock()
            try:
                await self._api.remove(errand, locations)
            except AnythingLLMError as error:
                is_firewall = error.by_intermediary and errand.clock() - began <= _AT_ONCE_SECONDS
                if await self._is_let_through(errand, error, check, is_firewall=is_firewall):
                    raise
            else:
                self._way.passed()
                return True
        await self._take_out(errand, slug, locations, check)
        return False

    async def look(self, errand: Errand) -> str | None:
        """Remove a file that does not exist: why that is not let through, or None where it is.

        Raises:
            AnythingLLMForbiddenError: it is forbidden.
            AnythingLLMError: nobody can say now.
        """
        refusal = await self._look(errand, always)
        if refusal is not None and refusal.patience > _SOON_BELIEVED:
            raise AnythingLLMError(f"{self._way.refusal}: that may pass", fault=Fault.THEIRS)
        return None if refusal is None else self._way.refusal

    @property
    def refusal(self) -> str | None:
        """Why files stay, for people; None where that is not known to be so."""
        return self._way.refusal if self._way.is_shut else None

    async def _look(self, errand: Errand, check: Check) -> ProxyRefusal | None:
        check()
        try:
            await self._api.remove(_soon(errand), [NOWHERE])
        except AnythingLLMError as error:
            if (refusal := refusal_of(error)) is None:
                raise
            await self._api.check_key(_soon(errand))  # or all are answered so
            self._way.refused(refusal, error.http_status)
            return refusal
        self._way.passed()
        return None

    async def _is_let_through(
        self, errand: Errand, error: AnythingLLMError, check: Check, *, is_firewall: bool
    ) -> bool:
        """Whether a removal that was answered so is not known to be refused by a proxy."""
        refusal = refusal_of(error)
        if refusal is None:
            return True
        if self._way.is_worth_a_look(refusal):
            try:
                is_only_this = await self._look(errand, check) is None
            except AnythingLLMError:
                is_only_this = False
            if is_only_this and is_firewall:
                raise _disliked(error) from error
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
            if error.http_status == 500 or not _is_refusal(error):
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

    def _refused_twice(self, slug: Slug, refused: AnythingLLMError) -> RemovalRefusedError:
        path = f"POST /api/v1/workspace/{slug}/update-embeddings"
        return RemovalRefusedError(
            f"{self._way.refusal}, and {path} is answered {refused.http_status}: nothing can be"
            " removed. Have it let both through",
            http_status=refused.http_status,
        )


def _soon(errand: Errand) -> Errand:
    """Time of its own for a look: a removal that nobody answers has used up all of its errand."""
    return replace(errand, deadline=errand.clock() + _PROBE_SECONDS)


def _is_refusal(error: AnythingLLMError) -> bool:
    """Whether it was answered by a refusal, not by what an outage looks like."""
    refusal = refusal_of(error)
    return refusal is not None and refusal.patience <= _SOON_BELIEVED


def _disliked(error: AnythingLLMError) -> RemovalRefusedError:
    disliked = RemovalRefusedError(
        f"{error.message}, and the removal of a file that is not there is let through: something"
        " between us and AnythingLLM dislikes these names. Find its rule, and allow them",
        http_status=error.http_status,
        ambiguous=error.ambiguous,
    )
    disliked.unproven, disliked.by_intermediary = error.unproven, True
    return disliked
