"""What the simulated server does: uploads, embedding, removal, search. Knows nothing of HTTP.

The faithful lies live here. An upload answers success whatever becomes of its embedding; an unknown
workspace is skipped without a word; the first workspace that fails ends the loop; a file counts as
``cached`` once its vectors were stored anywhere, and stays so when the creation race wipes them; on
some vector databases it does so although they were refused.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from consumer.sandbox.simulator import names, text
from consumer.sandbox.simulator.embedder import DIMENSION, Nonsense, Vector, embed, nonsense
from consumer.sandbox.simulator.fault_rules import FaultKind
from consumer.sandbox.simulator.faults import Faults
from consumer.sandbox.simulator.journal import Journal
from consumer.sandbox.simulator.state import (
    Embedded,
    EmbeddedRow,
    KeptWorkspace,
    SimulatorState,
    SourceFile,
)
from consumer.sandbox.simulator.tables import TableError
from consumer.sandbox.simulator.vector_store import Hit, VectorStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

POLL_SECONDS = 0.01
NO_FLAGS: frozenset[FaultKind] = frozenset()


_MINUTE = 60.0


class EmbedderError(Exception):
    """The embedder refused or could not be reached."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Simulated time; all zero unless asked for.

    Args:
        upload: seconds of the server's only thread an upload takes; every request waits for it.
        search: the same for a search; on pgvector it grows with the vectors of all workspaces.
        delete_per_add: seconds a removed row takes for each insert its table ever had.
        removal_per_workspace: seconds each name in a removal takes for each workspace.
    """

    upload: float = 0.0
    search: float = 0.0
    delete_per_add: float = 0.0
    removal_per_workspace: float = 0.0

    @classmethod
    def measured(cls) -> Costs:
        """What AnythingLLM 1.16 took on two cores."""
        return cls(upload=0.052, delete_per_add=0.0023, removal_per_workspace=0.005)


class Model:
    """The modelled server.

    Args:
        state: workspaces, files, rows.
        vectors: the vector database.
        faults: asked at every step, so that a change takes effect at once.
        journal: told of everything that took effect.
        costs: simulated time.
        rng: decides which embedding calls fail.
        split_size: UTF-16 units that get a vector, at most.
    """

    def __init__(
        self,
        state: SimulatorState,
        vectors: VectorStore,
        faults: Faults,
        journal: Journal,
        costs: Costs,
        rng: random.Random,
        split_size: int = text.CHUNK_SIZE,
    ) -> None:
        self.state = state
        self.vectors = vectors
        self.faults = faults
        self.journal = journal
        self.costs = costs
        self._thread = asyncio.Lock()
        self._rng = rng
        self._embeddings = 0
        self._spent: list[tuple[float, int]] = []  # characters embedded in the last minute
        self._split_size = split_size

    @asynccontextmanager
    async def thread(self, seconds: float = 0.0) -> AsyncIterator[None]:
        """Wait for the server's only thread and keep it that long."""
        if self.costs.upload or self.costs.search:
            async with self._thread:
                await asyncio.sleep(seconds)
        yield

    async def store(
        self,
        slug: str,
        metadata: dict[str, Any],
        content: str,
        slugs: Sequence[str],
        flags: Collection[FaultKind],
    ) -> SourceFile:
        """Store an upload and embed it into each workspace, one after the other.

        Args:
            slug: what its file is called.
            metadata: its fields as the server shows them, ``title`` already a file name.
            content: its text.
            slugs: wanted workspaces; unknown ones are skipped silently.
            flags: parts that are broken for this request only.
        """
        file = self.state.add_file(slug, metadata, content)
        self.journal.record(
            "document.stored",
            location=file.location,
            doc_source=metadata["docSource"],
            sha256=hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest(),
            workspaces=list(slugs),
        )
        for wanted in slugs:
            workspace = self.state.workspaces.get(wanted)
            if workspace and not await self.add(workspace, file, flags):
                break
        return file

    async def add(
        self, workspace: KeptWorkspace, file: SourceFile, flags: Collection[FaultKind] = NO_FLAGS
    ) -> bool:
        """Embed a file into a workspace; false says it failed, which no answer ever tells."""
        try:
            await self._embed_into(workspace, file, flags)
        except (EmbedderError, TableError) as error:
            self.journal.record(
                "embedding.failed",
                slug=workspace.slug,
                location=file.location,
                reason=str(error),
            )
            return False
        return True

    async def remove_from(self, row: EmbeddedRow) -> None:
        """Remove a row and its vectors; the file stays.

        Raises:
            TableError: the vector database failed and the server knows it: both stay.
        """
        adds = self.vectors.adds(row.workspace)
        if adds and self.costs.delete_per_add:
            await asyncio.sleep(self.costs.delete_per_add * adds)
        if row not in self.state.rows_of(row.file.location):
            return
        there = self.vectors.count_of(row.workspace, row.doc_id)
        self.vectors.remove(row.workspace, row.doc_id)
        self.state.remove_row(row)
        self.journal.record(
            "document.unembedded",
            slug=row.workspace,
            location=row.file.location,
            vectors=there,
            kept=self.vectors.count_of(row.workspace, row.doc_id),
        )

    async def remove(self, location: str) -> None:
        """Remove a file, its cache, and its rows and vectors in every workspace.

        Raises:
            TableError: as `remove_from`; the file is gone all the same.
        """
        per_workspace = self.costs.removal_per_workspace
        if per_workspace:
            await asyncio.sleep(per_workspace * len(self.state.workspaces))
        try:
            for row in self.state.rows_of(location):
                await self.remove_from(row)
        finally:
            if self.state.remove_file(location) is not None:
                self.journal.record("document.removed", location=location)

    def delete_workspace(self, workspace: KeptWorkspace) -> None:
        """Delete a workspace, its rows and what is in its table; files stay.

        Where deletes fail the vectors stay: a new workspace of that name finds them.
        """
        self.state.delete_workspace(workspace)
        self.vectors.drop(workspace.slug)
        self.journal.record("workspace.deleted", slug=workspace.slug)

    async def search(
        self,
        workspace: KeptWorkspace,
        query: str,
        limit: int,
        threshold: float,
        flags: Collection[FaultKind] = NO_FLAGS,
    ) -> list[Hit]:
        """The nearest vectors whose score reaches the threshold.

        Raises:
            EmbedderError: the query can't be embedded.
            TableError: it has another dimension than the table.
        """
        [vector] = await self.embed([query], workspace.slug, flags)
        return self.vectors.search(workspace.slug, vector, limit, threshold)

    async def embed(
        self, texts: Sequence[str], slug: str = "", flags: Collection[FaultKind] = NO_FLAGS
    ) -> list[Vector]:
        """One embedding call.

        Raises:
            EmbedderError: the embedder is broken, or one of the texts is poison to it.
        """
        faults = self.faults
        self._embeddings += 1
        turn = self._embeddings
        characters = sum(map(len, texts))
        if faults.embedder_latency or faults.embedder_pace:
            await asyncio.sleep(faults.embedder_latency + faults.embedder_pace * characters / 1000)
        if faults.embedder_down or FaultKind.EMBEDDER_FAILS in flags:
            raise EmbedderError("the embedder is down")
        if faults.embedder_fails_every and turn % faults.embedder_fails_every == 0:
            raise EmbedderError("the embedder fails now and then")
        if self._rng.random() < faults.embedder_fails_share:
            raise EmbedderError("the embedder fails at random")
        if 0 < faults.embedder_longest < characters:
            raise EmbedderError("the texts are too long for the embedder")
        if faults.embedder_per_minute and not self._has_tokens(characters):
            raise EmbedderError("the embedder is out of tokens for this minute")
        if any(poison in each for poison in faults.embedder_poison for each in texts):
            raise EmbedderError("the embedder refuses this text")
        normal = faults.embedder_dimension or DIMENSION
        dimension = faults.workspace_dimensions.get(slug, normal)
        if faults.embedder_nonsense:
            return [nonsense(Nonsense(faults.embedder_nonsense), dimension) for _ in texts]
        return [embed(each, dimension) for each in texts]

    def _has_tokens(self, characters: int) -> bool:
        """Whether the minute has so many left; a call that is refused takes none."""
        now = asyncio.get_running_loop().time()
        self._spent = [(at, each) for at, each in self._spent if at > now - _MINUTE]
        spent = sum(each for _, each in self._spent)
        if spent + characters > self.faults.embedder_per_minute:
            return False
        self._spent.append((now, characters))
        return True

    async def collector_ready(self) -> None:
        """Wait while the collector is frozen: an upload then hangs and takes effect later."""
        # Switches are plain values that anybody may set: nobody signals that one changed.
        while self.faults.collector == "frozen":  # noqa: ASYNC110
            await asyncio.sleep(POLL_SECONDS)

    async def _embed_into(
        self, workspace: KeptWorkspace, file: SourceFile, flags: Collection[FaultKind]
    ) -> None:
        from_cache = file.cache is not None
        pieces = file.cache or await self._pieces(workspace.slug, file, flags)
        doc_id = self.state.uuid()
        stored = await self.vectors.insert(
            workspace.slug, doc_id, file, pieces, from_cache=from_cache
        )
        gap = self.vectors.database.row_seconds
        if gap:
            self.journal.record("vectors.stored", slug=workspace.slug, location=file.location)
            await asyncio.sleep(gap)
        file.cache = pieces
        if gap:
            await asyncio.sleep(gap)
        if self.state.workspaces.get(workspace.slug) is not workspace:
            raise TableError("the workspace was deleted meanwhile")
        self.state.add_row(workspace, doc_id, file, len(pieces))
        self.journal.record(
            "document.embedded" if stored else "vectors.lost",
            slug=workspace.slug,
            location=file.location,
            vectors=len(pieces),
            cached=from_cache,
        )

    async def _pieces(
        self, slug: str, file: SourceFile, flags: Collection[FaultKind]
    ) -> tuple[Embedded, ...]:
        shown = file.metadata
        head = text.header(shown["title"], shown["published"], shown["chunkSource"])
        pieces = [head + piece for piece in text.split(file.text, self._split_size)]
        if not pieces:
            raise EmbedderError("there is nothing to embed in a blank text")
        vectors = await self.embed(pieces, slug, flags)
        return tuple(map(Embedded, pieces, vectors))


def wanted_slugs(add_to_workspaces: str) -> list[str]:
    """The slugs of ``addToWorkspaces``: trimmed and lower-cased, empty ones dropped."""
    slugs = (slug.strip(text.BLANKS) for slug in add_to_workspaces.split(","))
    return [slug.lower() for slug in slugs if slug]


def storable(title: object, content: object) -> bool:
    """Whether the collector can process it; otherwise 500 "A processing error occurred."."""
    if not isinstance(title, str) or not isinstance(content, str):
        return False
    return names.fits_file_system(names.file_slug(title))
