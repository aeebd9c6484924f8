"""The index's memory: a budget over all workspaces, and what is kept beside the rows."""

from __future__ import annotations

import asyncio
import gc
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from structlog.testing import capture_logs

from consumer.model.fault import Failure
from consumer.model.identity import IdentityTemplate
from consumer.model.listing import LONGEST_LISTING, Listed
from consumer.model.marker import StoredUnit
from consumer.model.names import Identity, Slug
from consumer.pipeline.index import Index
from consumer.pipeline.index_rows import IndexedRows
from consumer.telemetry.metrics import PREFIX, Metrics
from tests.unit.pipeline.doubles import TRACE, Clock, Gate, Storage, index_of, stored

B = Slug("b")
A = Slug("a")
NEW = Identity("new")
DOCS = Slug("docs")


def _units(slug: str) -> list[StoredUnit]:
    return [stored(f"{slug}-{number}", "text") for number in range(50)]


def _size(units: list[StoredUnit]) -> int:
    rows = IndexedRows(IdentityTemplate.parse("{id}"))
    for unit in units:
        rows.put(unit)
    return rows.size


ONE = _size(_units("a"))  # bytes of each workspace here


def _metric(metrics: Metrics, name: str) -> float:
    return metrics.registry.get_sample_value(f"{PREFIX}_{name}") or 0.0


@dataclass
class Shelves(Storage):
    """A workspace of its own for each slug, and a gate."""

    shelves: dict[str, list[StoredUnit]] = field(default_factory=dict)
    gates: dict[str, Gate] = field(default_factory=lambda: defaultdict(Gate))

    async def scan(
        self,
        slug: str,
        take: Callable[[StoredUnit], None],
        *,
        unless: str | None = None,
        trace_id: str,
    ) -> Listed | None:
        self.units, self.listing_gate = self.shelves[slug], self.gates[slug]
        return await super().scan(slug, take, unless=unless, trace_id=trace_id)


def _shelves(*slugs: str) -> Shelves:
    return Shelves(shelves={slug: _units(slug) for slug in slugs})


async def _ask(index: Index, *slugs: str) -> None:
    for slug in slugs:
        assert len(await index.units(Slug(slug), Identity(f"{slug}-7"), trace_id=TRACE)) == 1


async def test_the_longest_unused_workspace_makes_room() -> None:
    """Used means asked for; it is read again when it is asked for again."""
    metrics, storage = Metrics(), _shelves("a", "b", "c")
    index = index_of(storage, max_bytes=ONE * 5 // 2, metrics=metrics)
    await _ask(index, "a", "b", "a", "c")
    assert _metric(metrics, "index_workspaces") == 2
    assert _metric(metrics, "index_bytes") <= ONE * 5 // 2
    await _ask(index, "a", "c", "b")

    assert storage.calls == [f"listing {slug}" for slug in ("a", "b", "c", "b")]
    assert _metric(metrics, "index_evictions_total") == 2


async def test_growing_by_own_writes_makes_room_as_well() -> None:
    """Otherwise a first load of everything would never meet the budget."""
    metrics, storage = Metrics(), _shelves("a", "b")
    index = index_of(storage, max_bytes=ONE * 5 // 2, metrics=metrics)
    await _ask(index, "a", "b")
    for number in range(50):
        index.stored(B, stored(f"more-{number}", "text"))

    assert _metric(metrics, "index_workspaces") == 1
    assert len(await index.units(B, Identity("more-49"), trace_id=TRACE)) == 1


async def test_one_that_is_larger_than_the_budget_is_kept_and_said_once() -> None:
    """Without it every chunk would be uploaded again: memory is the smaller evil."""
    metrics, storage = Metrics(), _shelves("a", "b")
    index = index_of(storage, max_bytes=ONE // 2, metrics=metrics)
    with capture_logs() as lines:
        await _ask(index, "a", "a", "a", "b", "a")

    assert storage.calls == [f"listing {slug}" for slug in ("a", "b", "a")]
    told = [line for line in lines if line["event"] == "index.over_budget"]
    assert [(line["workspace"], line["bytes"], line["budget"]) for line in told] == [
        ("a", ONE, ONE // 2)
    ]


async def test_a_listing_on_its_way_and_its_writes_outlive_an_eviction() -> None:
    """Room made for others meanwhile must not lose what was just stored."""
    clock, storage = Clock(), _shelves("a", "b")
    index = index_of(storage, clock, max_age=60, max_bytes=ONE * 3 // 2)
    await _ask(index, "a")
    clock.now += 61
    gate = storage.gates["a"]
    gate.close()
    asking = asyncio.create_task(index.units(A, NEW, trace_id=TRACE))
    await gate.arrived.acquire()
    await gate.arrived.acquire()
    await _ask(index, "b")
    index.stored(A, stored("new", "text"))
    gate.open()

    assert len(await asking) == 1
    assert storage.calls.count("listing a") == 2


async def test_what_is_forgotten_is_not_paid_for() -> None:
    """The gauge would otherwise grow with every rebalance."""
    metrics, storage = Metrics(), _shelves("a", "b")
    index = index_of(storage, metrics=metrics)
    await _ask(index, "a", "b")
    index.stored(A, stored("new", "text"))
    index.removed(await index.units(B, Identity("b-1"), trace_id=TRACE))
    index.forget(A)
    assert 0 < _metric(metrics, "index_bytes") < ONE
    index.forget()

    assert _metric(metrics, "index_bytes") == 0
    assert _metric(metrics, "index_workspaces") == 0


async def test_a_source_that_is_stored_under_another_identity_is_seen() -> None:
    """In the listing, and among what was stored since."""
    index = index_of(Storage(units=[stored("old", "one")]))
    url = "https://docs.example/old"
    assert index.sharing_source(DOCS, url, NEW) is None, "nothing is known yet"
    await index.units(DOCS, Identity("old"), trace_id=TRACE)
    index.stored(DOCS, stored("other", "two"))

    assert index.sharing_source(DOCS, url, NEW) == "old"
    assert index.sharing_source(DOCS, url, Identity("old")) is None
    assert index.sharing_source(DOCS, "https://docs.example/other", NEW) == "other"
    assert index.sharing_source(DOCS, "https://docs.example/none", NEW) is None


async def test_identities_made_of_the_source_share_none() -> None:
    """There is nothing to hint at."""
    index = index_of(Storage(units=[stored("old", "one")]), identity="{source_url}")
    await index.units(DOCS, Identity("any"), trace_id=TRACE)

    assert index.sharing_source(DOCS, "https://docs.example/old", NEW) is None


class CutShort(Storage):
    """Listings that end after many rows, in a frame that holds them."""

    async def scan(self, slug: str, take: Any, *, unless: str | None = None, trace_id: str) -> Any:
        for unit in _units(slug):
            take(unit)
        raise Failure("cut short")


async def test_a_listing_that_failed_leaves_nothing_in_memory() -> None:
    """A failure is kept for those who ask at the same time, without what was half read."""
    index = index_of(CutShort())
    for slug in ("w1", "w2", "w3"):
        with pytest.raises(Failure, match="cut short"):
            await index.units(Slug(slug), Identity("d"), trace_id=TRACE)
    gc.collect()

    assert not [each for each in gc.get_objects() if isinstance(each, IndexedRows)]
    assert [str(failure) for failure in index._failed.values()] == ["cut short"] * 3


@pytest.mark.parametrize(("size", "warnings"), [(LONGEST_LISTING // 2, 0), (LONGEST_LISTING, 1)])
async def test_a_workspace_that_can_soon_not_be_listed_is_named_once(
    size: int, warnings: int
) -> None:
    """Beyond the longest string of the server it takes no document any more."""

    class Large(Storage):
        async def scan(self, *args: Any, **options: Any) -> Listed:
            return Listed(1, 400_000, None, size)

    index = index_of(Large())
    with capture_logs() as logs:
        for _ in range(2):
            await index.read_anew(DOCS, trace_id=TRACE)

    said = [line for line in logs if line["event"] == "workspace.large"]
    assert len(said) == warnings
