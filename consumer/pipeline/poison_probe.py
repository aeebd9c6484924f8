"""The poison probe: is it this chunk that fails, or would anything of its length and kind?

It asks for one pair at a time: the same call with the chunk's own text and with a control text
(`control_text`), in random order: against a server that fails every second call a strict
alternation would blame whoever is always second. Three calls can be compared (`Compared`):

- Embedding: nothing is stored.
- Storing, where the embedder takes its text: each is stored as a test document, and removed.
- Uploading, where that goes well too: a chunk's own upload failed, and one or two controls at
  random are stored.

Where controls of its kind fail as well, one or two plain texts are embedded, or stored, beside it
(`consumer.pipeline.refused_kinds`).

What a pair shows is counted in a `Comparison`. What is always true:

- Few pairs are made at a time, over all documents. Where each call takes minutes, uploads of others
  keep their slots; a chunk that finds no turn soon is compared later.
- A pair that a rest or an outage of everything cut short says nothing.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from consumer.model.fault import Failure, Fault
from consumer.model.names import Slug, TraceId
from consumer.pipeline.control_text import PLAIN, control_text, kind_of
from consumer.pipeline.ports import RightToWork, Storage
from consumer.pipeline.request_slots import RequestSlots
from consumer.resilience.blame import Comparison

_AT_ONCE = 2  # pairs; each holds one request slot at a time
_TURN_SECONDS = 5.0  # a document keeps its place in flight meanwhile
_PLAIN_LENGTH = 4  # times its own: as many characters of English are one token, or its one
_VARIANTS = 2**32


class NoTurn(Exception):
    """Others are being compared, and it takes long: nothing was asked."""


class CutShort(Exception):
    """Something ended the pair that says nothing of either text."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """What is compared: a text on its way into a workspace.

    Args:
        slug: the workspace.
        text: its own.
        right: checked before every request.
        trace_id: sent to AnythingLLM.
    """

    slug: Slug
    text: str
    right: RightToWork
    trace_id: TraceId


class _Ask(Protocol):
    """Sends a text somewhere; what that met, None: it went well."""

    async def __call__(self, suspect: Suspect, text: str, *, is_own: bool) -> Failure | None: ...


class PoisonProbe:
    """See the module's docstring.

    Args:
        storage: has the embedder, and takes test documents.
        slots: shared with uploads.
        rng: shuffles own text and control, and varies controls.
    """

    def __init__(self, storage: Storage, slots: RequestSlots, rng: random.Random) -> None:
        self._storage = storage
        self._slots = slots
        self._rng = rng
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def embedding(self, suspect: Suspect, so_far: Comparison) -> Comparison | None:
        """Compare how both are embedded; None where its own text was: it is acquitted.

        Raises:
            NoTurn: see there.
            CutShort: see there.
            FenceClosedError: the right to go on ended.
        """
        return await self._pair(suspect, so_far, self._embed)

    async def storing(self, suspect: Suspect, so_far: Comparison) -> Comparison | None:
        """Compare how both are stored; as `embedding`."""
        return await self._pair(suspect, so_far, self._store)

    async def uploading(self, suspect: Suspect, failure: Failure, so_far: Comparison) -> Comparison:
        """Compare its upload, which failed, with uploads of controls.

        Raises:
            NoTurn: see there.
            CutShort: see there.
            FenceClosedError: the right to go on ended.
        """
        so_far = _with_own(so_far, failure)
        return await self._controls(
            suspect, so_far, self._store, lambda: self._control(suspect.text)
        )

    async def plain(
        self,
        suspect: Suspect,
        so_far: Comparison,
        *,
        stored: bool = False,
        length: int | None = None,
    ) -> Comparison:
        """Embed, or store, plain texts beside its own, which failed (`uploading`).

        Args:
            suspect: its own.
            so_far: what pairs have shown.
            stored: whether they are stored.
            length: characters of one; None: they cost as much as its own.

        Raises:
            NoTurn: see there.
            CutShort: see there.
            FenceClosedError: the right to go on ended.
        """
        characters = length or _PLAIN_LENGTH * len(suspect.text)

        def plain() -> str:
            return control_text(characters, PLAIN, self._rng.randrange(_VARIANTS))

        return await self._controls(suspect, so_far, self._store if stored else self._embed, plain)

    async def _controls(
        self, suspect: Suspect, so_far: Comparison, ask: _Ask, made: Callable[[], str]
    ) -> Comparison:
        """One or two at random: see the module's docstring."""
        async with self._turn(suspect.right):
            for _ in range(self._rng.choice((1, 2))):
                failed = await ask(suspect, made(), is_own=False)
                so_far = so_far.with_control(failed=failed is not None)
        return so_far

    async def _pair(self, suspect: Suspect, so_far: Comparison, ask: _Ask) -> Comparison | None:
        async with self._turn(suspect.right):
            for is_own in self._rng.sample((True, False), 2):
                text = suspect.text if is_own else self._control(suspect.text)
                failure = await ask(suspect, text, is_own=is_own)
                if not is_own:
                    so_far = so_far.with_control(failed=failure is not None)
                elif failure is None:
                    return None
                else:
                    so_far = _with_own(so_far, failure)
        return so_far

    @asynccontextmanager
    async def _turn(self, right: RightToWork) -> AsyncIterator[None]:
        try:
            async with right.short(), asyncio.timeout(_TURN_SECONDS):
                await self._turns.acquire()
        except TimeoutError:
            raise NoTurn from None
        try:
            yield
        finally:
            self._turns.release()

    def _control(self, text: str) -> str:
        return control_text(len(text), kind_of(text), self._rng.randrange(_VARIANTS))

    async def _embed(self, suspect: Suspect, text: str, *, is_own: bool) -> Failure | None:
        async def embed() -> None:
            await self._storage.embeds(text, trace_id=suspect.trace_id)

        return await self._ask(suspect, embed, is_own=is_own)

    async def _store(self, suspect: Suspect, text: str, *, is_own: bool) -> Failure | None:
        async def store() -> None:
            await self._storage.store_control(
                suspect.slug, text, trace_id=suspect.trace_id, check=suspect.right.check
            )

        return await self._ask(suspect, store, is_own=is_own)

    async def _ask(
        self, suspect: Suspect, request: Callable[[], Awaitable[None]], *, is_own: bool
    ) -> Failure | None:
        def counts(failure: Failure) -> bool:
            # A row of poison documents must not look like an outage; a dead embedder must.
            return not is_own or not failure.may_be_its_texts

        try:
            await self._slots.send(suspect.slug, request, suspect.right, counts=counts)
        except Failure as failure:
            if failure.pending or failure.fault is Fault.BUSY:
                raise CutShort from failure
            if is_own and not failure.may_be_its_texts:
                raise CutShort from failure
            return failure
        return None


def _with_own(comparison: Comparison, failure: Failure) -> Comparison:
    return comparison.with_own(
        by_intermediary=failure.by_intermediary, unanswered=failure.unanswered
    )
