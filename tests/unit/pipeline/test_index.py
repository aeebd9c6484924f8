"""The index: what a listing says, kept current through every race with our own writes."""

from __future__ import annotations

import asyncio

import pytest

from consumer.model.fault import Failure
from consumer.model.marker import StoredUnit
from consumer.pipeline.index import Index
from tests.unit.pipeline.doubles import TRACE, Clock, Storage, index_of, stored


async def _texts(index: Index, identity: str = "a") -> set[str]:
    return {unit.location for unit in await index.units("docs", identity, trace_id=TRACE)}


def _at(*units: StoredUnit) -> set[str]:
    return {unit.location for unit in units}


async def test_a_workspace_is_listed_once_for_all_who_ask_at_once() -> None:
    """Single flight: a listing of a large workspace is expensive."""
    storage = Storage(units=[stored("a", "one"), stored("b", "two")])
    index = index_of(storage)
    found = await asyncio.gather(*(_texts(index, name) for name in ("a", "b", "a", "none")))

    assert [len(each) for each in found] == [1, 1, 1, 0]
    assert storage.calls == ["listing docs"]


async def test_an_old_listing_is_read_anew() -> None:
    """People reset workspaces in the UI: a picture is believed for so long and no longer."""
    clock, storage = Clock(), Storage(units=[stored("a", "one")])
    index = index_of(storage, clock, max_age=60)
    await _texts(index)
    storage.units.clear()
    clock.now += 60
    assert len(await _texts(index)) == 1
    clock.now += 1

    assert await _texts(index) == set()


async def test_own_writes_are_known_without_a_listing() -> None:
    """Stored and removed units are noted as they happen."""
    first, second = stored("a", "one"), stored("a", "two")
    storage = Storage(units=[first])
    index = index_of(storage)
    await _texts(index)
    index.stored("docs", second)
    index.removed("docs", [first])

    assert await _texts(index) == _at(second)
    assert len(storage.calls) == 1


async def test_a_unit_stored_while_the_listing_was_under_way_is_not_lost() -> None:
    """The answer may be older than the write: taken alone it would upload the chunk again."""
    storage = Storage()
    index = index_of(storage)
    storage.listing_gate.close()
    asking = asyncio.create_task(_texts(index))
    await storage.listing_gate.arrived.acquire()
    unit = stored("a", "one")
    index.stored("docs", unit)
    storage.listing_gate.open()

    assert await asking == _at(unit)
    assert await _texts(index) == _at(unit)


async def test_a_unit_removed_while_the_listing_was_under_way_stays_removed() -> None:
    """The other way round it would count as stored although it is gone."""
    unit = stored("a", "one")
    storage = Storage(units=[unit])
    index = index_of(storage)
    storage.listing_gate.close()
    asking = asyncio.create_task(_texts(index))
    await storage.listing_gate.arrived.acquire()
    index.removed("docs", [unit])
    storage.listing_gate.open()

    assert await asking == set()


async def test_a_listing_that_was_under_way_when_all_was_forgotten_is_not_kept() -> None:
    """It may be older than the reason to forget: others may have written in between."""
    storage = Storage()
    index = index_of(storage)
    storage.listing_gate.close()
    asking = asyncio.create_task(_texts(index))
    await storage.listing_gate.arrived.acquire()
    storage.units.append(stored("a", "by another"))
    index.forget()
    storage.listing_gate.open()
    await asking

    assert len(await _texts(index)) == 1


async def test_forgetting_one_workspace_leaves_the_others() -> None:
    """Only what is in doubt is read anew."""
    storage = Storage()
    index = index_of(storage)
    for slug in ("docs", "more", "docs"):
        await index.units(slug, "a", trace_id=TRACE)
    index.forget("docs")
    for slug in ("docs", "more"):
        await index.units(slug, "a", trace_id=TRACE)

    assert storage.calls == ["listing docs", "listing more", "listing docs"]


async def test_a_listing_that_fails_is_asked_for_again() -> None:
    """Failure of one is nobody else's; the next one asks anew."""
    unit = stored("a", "one")
    storage = Storage(units=[unit], listing_fails=[Failure("down")])
    index = index_of(storage)
    with pytest.raises(Failure):
        await _texts(index)
    index.stored("docs", unit)

    assert await _texts(index) == _at(unit)


async def test_removing_what_is_not_known_changes_nothing() -> None:
    """A removal is repeated after a lost answer."""
    unit = stored("a", "one")
    index = index_of(Storage(units=[unit]))
    await _texts(index)
    index.removed("docs", [unit])
    index.removed("docs", [unit, stored("b", "never")])

    assert await _texts(index) == set()
