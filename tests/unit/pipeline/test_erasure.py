"""What an event ends is found no more, or it is told that it stays."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace

import pytest

from consumer.model.copies import content_of
from consumer.model.event import TombstoneEvent
from consumer.model.fault import Failure, Fault
from consumer.model.listing import FILE_STORE
from consumer.model.marker import StoredUnit
from consumer.model.names import Identity, Slug, TraceId
from consumer.model.precedence import Occurrence
from consumer.pipeline.erasure import Ending, Erased, Eraser
from consumer.pipeline.in_flight import InFlightBounds, InFlightLimit
from consumer.pipeline.right_to_work import DocumentRight
from consumer.resilience.fence import Fence, FenceClosedError
from consumer.resilience.retry import RetryPolicy
from consumer.telemetry.metrics import Metrics
from tests.unit.pipeline.doubles import (
    Storage,
    doubts_of,
    eraser_of,
    gates_of,
    index_of,
    remover_of,
    stored,
    version,
)
from tests.virtual.loop import virtual_clock, virtually

DOCS = Slug("docs")
A = Identity("a")
TRACE = TraceId("t")
ONE, TWO = stored("a", "one"), stored("a", "two")


class Scene:
    """An eraser over one workspace in memory."""

    def __init__(self, *units: StoredUnit, clock: Callable[[], float] = time.monotonic) -> None:
        self.storage = Storage(units=list(units))
        self.index = index_of(self.storage)
        self.doubts = doubts_of()
        gates = gates_of(self.storage)
        policy = RetryPolicy()
        remover = remover_of(self.storage, self.index, gates, clock=clock, policy=policy)
        self.eraser: Eraser = eraser_of(
            self.storage, self.index, gates, remover, doubts=self.doubts
        )
        self.assignment = Fence("lost")

    async def erase(
        self,
        *units: StoredUnit,
        slug: Slug = DOCS,
        like: Sequence[StoredUnit] = (),
        wanted: Sequence[str] = (),
    ) -> Erased:
        contents = {content_of(unit) for unit in (*units, *like)}
        ending = Ending(
            A,
            Occurrence(version(9), removes=True),
            units,
            lambda unit: content_of(unit) in contents,
            ["the title"],
            like,
            is_listed=not like,
            wanted=wanted,
        )
        limit = InFlightLimit(InFlightBounds(1, 1_000), Metrics())
        place = await limit.place()
        fences = self.assignment, Fence("stop"), Fence("newer")
        right = DocumentRight(*fences, place, nullcontext)
        return await self.eraser.erase(slug, ending, right, trace_id=TRACE)


async def test_what_is_removed_and_not_found_is_erased() -> None:
    """It was looked for by the file's name and by what the event holds."""
    scene = Scene(ONE, TWO)

    assert await scene.erase(ONE) == Erased(1)
    assert scene.storage.units == [TWO]
    assert scene.storage.looked_for == [([ONE.location], ["the title"])]


async def test_what_is_still_found_is_kept_and_named() -> None:
    """With the workspace and the only cure."""
    scene = Scene(ONE, TWO)
    scene.storage.vectors_kept = [ONE]
    erased = await scene.erase(ONE)

    assert erased.chunks == 1
    assert [chunk.chunk_id for chunk in erased.kept] == [ONE.marker.chunks[0].id]
    assert "workspace docs" in erased.kept[0].message
    assert "cure" in erased.kept[0].message


@pytest.mark.parametrize("found", [TWO, stored("b", "one")])
async def test_what_is_found_of_others_is_none_of_it(found: StoredUnit) -> None:
    """Of what is listed, and of other documents."""
    scene = Scene(ONE, TWO)
    scene.storage.vectors_kept = [found]

    assert await scene.erase(ONE) == Erased(1)


@pytest.mark.parametrize(
    ("wanted", "named"), [([], "ab"), (["one"], "b"), (["one", "two"], "ab"), (["other"], "ab")]
)
@virtually
async def test_a_pack_that_stays_is_told_for_what_is_not_wanted_of_it(
    wanted: list[str], named: str
) -> None:
    """The others are stored as they should be; of a mere double something has to be told."""
    marks = [replace(u.marker.chunks[0], id=id) for u, id in ((ONE, "a"), (TWO, "b"))]
    pack = replace(ONE, marker=replace(ONE.marker, chunks=tuple(marks)))
    scene = Scene(pack, clock=virtual_clock())
    scene.storage.forbids = [pack]
    digests = [digest for text in wanted for digest in stored("a", text).digests]
    erased = await scene.erase(pack, wanted=digests)

    assert [each.chunk_id for each in erased.kept] == list(named)


@virtually
async def test_what_anythingllm_does_not_let_us_remove_is_kept_and_named() -> None:
    """Its status, the message, and how often it came."""
    scene = Scene(ONE, TWO, clock=virtual_clock())
    scene.storage.forbids = [ONE]
    erased = await scene.erase(ONE)

    assert erased.chunks == 0
    assert [(c.chunk_id, c.http_status) for c in erased.kept] == [(ONE.marker.chunks[0].id, 403)]
    assert "not allowed" in erased.kept[0].message
    assert "times within" in erased.kept[0].message


async def test_what_went_by_the_list_of_files_is_looked_for_in_no_workspace() -> None:
    """Nobody knows in which it was."""
    scene = Scene(ONE)
    scene.storage.vectors_kept = [ONE]

    assert await scene.erase(ONE, slug=FILE_STORE) == Erased(1)


@pytest.mark.parametrize(
    "fails", [[], [Failure("not now", fault=Fault.THEIRS)]], ids=["it looks", "it removes"]
)
async def test_who_is_stopped_meanwhile_knows_the_event_as_begun(fails: list[Failure]) -> None:
    """It is looked for again, and holds back no commit but for what came before it.

    What went before finds nobody by its row any more.
    """
    scene = Scene(ONE)
    scene.storage.removal_fails = list(fails)
    scene.storage.removing.close()
    erasing = asyncio.create_task(scene.erase(ONE))
    await scene.storage.removing.arrived.acquire()
    scene.assignment.close()
    scene.storage.removing.open()
    with pytest.raises(FenceClosedError):
        await erasing

    assert scene.doubts.begun_before(TombstoneEvent(DOCS, A, version(9)))


async def test_what_went_elsewhere_is_looked_for_where_nothing_can_be_listed() -> None:
    """By the title of what went; and a listing that never comes holds nothing up."""
    scene = Scene()
    scene.storage.vectors_kept = [ONE]
    scene.storage.listing_fails = [Failure("not this one")] * 9
    erased = await scene.erase(like=[ONE])

    assert scene.storage.looked_for == [([ONE.location], ["the title"])]
    assert [chunk.chunk_id for chunk in erased.kept] == [ONE.marker.chunks[0].id]
